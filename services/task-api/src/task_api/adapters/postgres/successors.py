"""Units of work that decide on the next instance of a series."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncEngine

from task_api.adapters.postgres import activity
from task_api.adapters.postgres.database import storage_errors
from task_api.adapters.postgres.rows import REMINDERS
from task_api.adapters.postgres.snapshots import with_reminders
from task_api.adapters.postgres.tables import tasks
from task_api.adapters.postgres.transaction import PostgresTransaction
from task_api.application.record_activity import Entry
from task_api.application.usage_metrics import count_writes
from task_api.domain.task import Task

_LIVE = tasks.c.closed_by.is_distinct_from("withdrawn")


class PostgresSuccessionWork(PostgresTransaction):
    """The port SuccessionWork on one connection."""

    async def neighbours(self, series_id: UUID, predecessor_id: UUID, key: str) -> Sequence[Task]:
        """Read the predecessor, what followed it, and who has the key, with their reminders."""
        rows = await self.connection.execute(
            select(tasks, REMINDERS).where(
                tasks.c.series_id == series_id,
                or_(
                    tasks.c.id == predecessor_id,
                    tasks.c.predecessor_task_id == predecessor_id,
                    and_(tasks.c.occurrence_key == key, _LIVE),
                ),
            )
        )
        return [with_reminders(row) for row in rows.mappings()]

    async def tell(self, entry: Entry) -> bool:
        """Write a line of a task's ledger; False when it is there."""
        return await activity.tell(self.connection, entry)


class PostgresSuccession:
    """The port Succession on one engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[PostgresSuccessionWork]:
        """Open a unit of work: committed when the block ends, rolled back when it raises."""
        with storage_errors():
            async with self._engine.begin() as connection:
                work = PostgresSuccessionWork(connection)
                yield work
        count_writes(work.written)
