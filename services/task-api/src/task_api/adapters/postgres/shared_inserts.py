"""The port NewTasks: tasks of several requests go to PostgreSQL in one round trip, and are committed together.

Whoever comes while such a flight is under way gathers for the next one; nobody waits for others to come.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import asyncpg  # type: ignore[import-untyped, unused-ignore]
from sqlalchemy.ext.asyncio import AsyncEngine

from task_api.adapters.postgres.database import PostgresDatabase, storage_errors
from task_api.adapters.postgres.write_statements import SHARED_INSERT, insertion_values
from task_api.application.ports import Owner, SeriesWrite, TaskWrite
from task_api.application.usage_metrics import count_writes
from task_api.domain.task import Task

MOST = 32
"""Tasks of one flight: the first of them is answered with the last."""


@dataclass(frozen=True, slots=True)
class _Flight:
    """What gathers for one round trip, by task; `landed` gives the numbers of those that were inserted."""

    arguments: dict[UUID, list[Any]]
    landed: asyncio.Task[dict[UUID, int]]


class SharedInserts:
    """Inserts what is alike and stands in nobody's way together, and the rest each by itself.

    By itself goes what begins a series, what the database has refused in company, and whose account or counter
    somebody else has locked: the others do not wait for those. `database` gives connections of `engine`.
    """

    def __init__(self, engine: AsyncEngine, database: PostgresDatabase) -> None:
        self._plain = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._database = database
        self._gathering: _Flight | None = None
        self._turn = asyncio.Lock()

    async def owner(self, user_id: UUID) -> Owner | None:
        """Read the account's settings and the epoch."""
        async with self._database.single() as work:
            return await work.owner(user_id)

    async def write(self, change: TaskWrite, owner: Owner, series: SeriesWrite | None = None) -> Task | None:
        """Insert a task with all that belongs to it; None when the owner's settings are others by now."""
        if series is None and (number := await self._together(change, owner)) is not None:
            count_writes([change])
            return replace(change.after, number=number)
        async with self._database.single() as work:
            return await work.write(change, owner, series)

    async def _together(self, change: TaskWrite, owner: Owner) -> int | None:
        task_id = change.after.id
        arguments = SHARED_INSERT.arguments(insertion_values(change, owner, None))
        flight = self._gathering
        if flight is None or len(flight.arguments) == MOST:
            flight = self._gathering = self._call()
        flight.arguments[task_id] = arguments
        try:
            return (await asyncio.shield(flight.landed)).get(task_id)
        except asyncpg.PostgresError:
            # Nothing of the flight stands. By itself each hears what is wrong with it, if anything is.
            return None
        except asyncio.CancelledError:
            flight.arguments.pop(task_id, None)  # stays away if the flight has not left yet
            raise

    def _call(self) -> _Flight:
        arguments: dict[UUID, list[Any]] = {}
        # Of nobody's context: what is traced or logged there is not the first one's alone.
        landed = asyncio.get_running_loop().create_task(self._fly(arguments), context=Context())
        return _Flight(arguments, landed)

    async def _fly(self, arguments: dict[UUID, list[Any]]) -> dict[UUID, int]:
        async with self._turn:
            if self._gathering is not None and self._gathering.arguments is arguments:
                self._gathering = None  # it leaves
            if not arguments:
                return {}  # all gave up
            with storage_errors():
                async with self._plain.connect() as connection:
                    rows = await SHARED_INSERT.together(connection, list(arguments.values()))
        return {row["id"]: row["number"] for row in rows}
