"""A row that goes is looked for in all tables that may refer to it: by an index, or a deletion reads them whole."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import text
from tests.integration.task_api.conftest import Person
from tests.integration.task_api.crowds import (
    FEW,
    analyze,
    asking,
    buffers,
    fill,
    plan_of,
    read_whole,
    reading,
)

from event_contracts.users import UserDeleted
from task_api.adapters.postgres.calendar_feed import PostgresCalendarFeed
from task_api.adapters.postgres.erasures import PostgresErasing
from task_api.adapters.postgres.transaction import PostgresTransaction
from task_api.application.ports import Announcement

# An index serves when it begins with the columns and holds every row that has them. A deletion asks for `column = $1`,
# from which nothing follows but that the column is not null.
_WITHOUT_AN_INDEX = """
    SELECT conrelid::regclass::text AS "table", conname FROM pg_constraint AS key
    WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND NOT EXISTS (
        SELECT FROM pg_index AS i
        WHERE i.indrelid = key.conrelid AND i.indisvalid
            AND (SELECT array_agg(part ORDER BY part) FROM unnest(key.conkey) AS part) = (
                SELECT array_agg(part ORDER BY part)
                FROM unnest((i.indkey::int2[])[0:cardinality(key.conkey) - 1]) AS part
            )
            AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) = (
                SELECT '(' || attname || ' IS NOT NULL)' FROM pg_attribute
                WHERE attrelid = key.conrelid AND attnum = key.conkey[1] AND cardinality(key.conkey) = 1
            ))
    )
"""
_MAY_DO_WITHOUT: dict[str, str] = {}
"""Foreign keys that no index serves, by name, and why that is no harm."""


async def test_every_foreign_key_has_an_index(rows: Any) -> None:
    found = {row["conname"] for row in await rows(_WITHOUT_AN_INDEX)}
    assert found == _MAY_DO_WITHOUT.keys()


async def test_the_test_above_sees_what_no_index_serves(engine: Any) -> None:
    """None at all, one in the second place, and one that leaves rows out for another reason."""
    async with engine.begin() as connection:
        for statement in (
            "CREATE TABLE whom (id int PRIMARY KEY)",
            "CREATE TABLE a (whom int REFERENCES whom, other int)",
            "CREATE TABLE b (whom int REFERENCES whom, other int)",
            "CREATE TABLE c (whom int REFERENCES whom, other int)",
            "CREATE TABLE d (whom int REFERENCES whom, other int)",
            "CREATE INDEX ON b (other, whom)",
            "CREATE INDEX ON c (whom) WHERE other = 1 AND whom IS NOT NULL",
            "CREATE INDEX ON d (whom, other) WHERE whom IS NOT NULL",
        ):
            await connection.execute(text(statement))
        found = await connection.execute(text(_WITHOUT_AN_INDEX))
        assert {row.table for row in found} & set("abcd") == set("abc")
        await connection.rollback()


LEDGERS = ("task_history", "task_activity", "task_reminders")


@pytest_asyncio.fixture(loop_scope="session")
async def carol(register: Any) -> Any:
    """Somebody with a few tasks, beside those who have many."""
    return await register()


@pytest.fixture
async def crowded(engine: Any, ada: Person, bob: Person) -> Any:
    """Many tasks of bob with all their ledgers, and fewer of ada; her series comes with them."""
    await fill(engine, bob.id, 3_000, ledgers=True)
    series_id = await fill(engine, ada.id, 300, ledgers=True)
    await analyze(engine)
    return series_id


async def test_an_erasure_reads_what_is_of_that_person(crowded: Any, engine: Any, ada: Person) -> None:
    """Counted with what the checks of foreign keys read: a deletion asks in every table that refers to it."""
    async with engine.begin() as connection:
        step = PostgresErasing(connection)
        async with reading(connection) as read:
            some = await step.tasks(ada.id, 50)
            await step.forget_unsent([task.id for task, _ in some])
            await step.remove_tasks([task.id for task, _ in some], [])
        assert len(some) == 50
        assert {name: read[name] for name in LEDGERS} == dict.fromkeys(LEDGERS, 50)
        # To find them, to lock them and to delete them.
        assert read["tasks"] <= 3 * 50
        await connection.execute(text("DELETE FROM tasks WHERE user_id = :id"), {"id": ada.id})
        now = datetime.now(UTC)
        gone = Announcement(uuid4(), "user-deleted", now, UserDeleted(user_id=ada.id, deleted_at=now))
        async with reading(connection) as read:
            await step.remove_account(ada.id, gone)
        assert {name: read[name] for name in ("tasks", *LEDGERS)} == dict.fromkeys(("tasks", *LEDGERS), 0)
        await connection.rollback()


async def test_the_open_instances_of_a_series_are_found_among_its_own(crowded: Any, engine: Any) -> None:
    async with engine.begin() as connection:
        async with reading(connection) as read:
            found = await PostgresTransaction(connection).lock_open_instances(crowded)
        assert len(found) == (FEW + 1) // 2
        assert read["tasks"] <= FEW
        await connection.rollback()


async def test_an_export_reads_what_is_of_that_person(crowded: Any, engine: Any, carol: Person) -> None:
    del crowded
    for n in range(3):
        await carol.create(str(n), due_date="2026-01-08", reminders=[{"offset": "PT1H"}])
    with asking(engine, *LEDGERS) as sent:
        document = (await carol.call("GET", "/api/v1/users/me/export", 200)).json()
    assert [len(document[name]) for name in ("history", "activity", "reminders")] == [3, 3, 3]
    plans = [await plan_of(engine, *one) for one in sent]
    assert len(plans) == 3
    for plan in plans:
        assert read_whole(plan).isdisjoint({"tasks", *LEDGERS})


async def test_a_feed_does_not_read_the_past_of_a_series(
    crowded: Any, engine: Any, ada: Person, rows: Any
) -> None:
    """For each dated instance it asks whether there is a later one; a series of years has hundreds behind it."""
    await rows(
        "UPDATE tasks SET series_id = :series, "
        "occurrence_key = replace((created_at AT TIME ZONE 'UTC')::text, ' ', 'T') WHERE user_id = :user",
        series=crowded,
        user=ada.id,
    )
    await rows(
        "UPDATE tasks SET status = 'completed', completed_at = created_at, closed_at = created_at, "
        "closed_by = 'completed', closed_version = 1 WHERE user_id = :user AND number < 1000299",
        user=ada.id,
    )
    await analyze(engine)
    feed = PostgresCalendarFeed(engine)
    with asking(engine, "tasks") as sent:
        found = await feed.dated(ada.id, datetime(2027, 1, 1, tzinfo=UTC), 10)
    assert [one.task.number for one in found] == [1000299]
    plan = await plan_of(engine, *sent[0])
    assert "tasks" not in read_whole(plan)
    assert buffers(plan) < 100
