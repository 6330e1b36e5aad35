"""An event that the broker refuses: it is parked, and nobody waits for it meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from tests.e2e.conftest import Json, Person
from tests.e2e.eventually import eventually

from stack import Instance
from task_api.settings import asyncpg_url

_TOO_LARGE = b'{"data":"' + b"x" * 2_000_000 + b'"}'
"""Twice what Kafka takes of one message."""


@pytest.fixture
async def database(system: Instance) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(asyncpg_url(system.database_url))
    yield engine
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM outbox WHERE key = 'unpublishable'"))
    await engine.dispose()


async def _unpublishable(database: AsyncEngine, attempts: int) -> Any:
    """Put such an event into the outbox, with so many failures that stand against it."""
    row_id = uuid4()
    async with database.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO outbox (id, topic, key, event, attempts, next_attempt_at) VALUES "
                "(:id, 'task-created', 'unpublishable', :event, :attempts, "
                "CASE WHEN :attempts > 0 THEN now() END)"
            ),
            {"id": row_id, "event": _TOO_LARGE, "attempts": attempts},
        )
    return row_id


async def _standing(database: AsyncEngine, row_id: Any) -> tuple[int, bool]:
    """How many failures stand against it, and whether it is parked."""
    async with database.connect() as connection:
        asked = text("SELECT attempts, parked_at FROM outbox WHERE id = :id")
        row = (await connection.execute(asked, {"id": row_id})).one()
        return row.attempts, row.parked_at is not None


async def _heard_of_a_new_task(person: Person) -> None:
    """A task made now is published and scheduled."""
    fire_at = datetime.now(UTC) + timedelta(hours=1)
    body: Json = {"title": "Water the plants", "reminders": [{"at": fire_at.isoformat()}]}
    task = await person.call("POST", "/api/v1/tasks", body)

    async def kinds() -> list[str]:
        return [entry["kind"] for entry in await person.activity(task["id"])]

    await eventually(
        kinds, lambda seen: "reminder_scheduled" in seen, seconds=10, what="the scheduled reminder"
    )


async def test_an_event_that_cannot_be_published_holds_nobody_up(
    database: AsyncEngine, person: Person
) -> None:
    """The tenth failure parks it: one that has nine is parked by its next, one that is new has its first counted."""
    last, first = await _unpublishable(database, attempts=9), await _unpublishable(database, attempts=0)
    for _ in range(3):
        await _heard_of_a_new_task(person)
    await eventually(
        lambda: _standing(database, last), lambda seen: seen == (10, True), seconds=10, what="the parked row"
    )
    await _heard_of_a_new_task(person)
    attempts, parked = await _standing(database, first)
    assert 1 <= attempts < 10
    assert not parked
