"""So many tasks that a plan which reads them all is told from one that reads what it needs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

import asyncpg  # type: ignore[import-untyped, unused-ignore]
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

FEW = 9
"""How many of a person's tasks each of the rare things is true of: fewer than a page holds."""

# A minute lies between one task and the next, every fifth has no due date, every second is done. The dues of the first
# few and the last few are far from all others', whoever else has tasks.
_TASKS = """
    INSERT INTO tasks (id, user_id, number, title, description, status, priority, tags, due_at, due_instant, timezone,
        series_id, occurrence_key, closed_by, closed_version, closed_at, completed_at, created_at, updated_at)
    SELECT gen_random_uuid(), :user_id, 1000000 + n,
        'Task number ' || n || ' of many' || CASE WHEN n % 100 = 1 THEN ', a hundredth' ELSE '' END, 'words ' || n
            || CASE WHEN n % 10 = 1 THEN ', a tenth' ELSE '' END,
        CASE WHEN n % 2 = 0 THEN 'completed' ELSE 'pending' END,
        CASE WHEN n <= :few THEN 'urgent' ELSE (ARRAY['low', 'medium', 'high'])[1 + n % 3] END,
        ARRAY['t' || n % 1000],
        CASE WHEN n % 5 > 0 THEN due END, CASE WHEN n % 5 > 0 THEN due END, 'UTC',
        CASE WHEN n <= :few THEN cast(:series_id AS uuid) END,
        CASE WHEN n <= :few THEN replace((at AT TIME ZONE 'UTC')::text, ' ', 'T') END,
        CASE WHEN n % 2 = 0 THEN 'completed' END, CASE WHEN n % 2 = 0 THEN 1 END,
        CASE WHEN n % 2 = 0 THEN at END, CASE WHEN n % 2 = 0 THEN at END, at, at
    FROM (SELECT n, at, at + CASE WHEN n <= :few THEN interval '-30 years'
                                  WHEN n > :count - :few THEN interval '70 years' ELSE interval '0' END AS due
          FROM (SELECT n, timestamptz '2020-01-01Z' + n * interval '1 minute' AS at
                FROM generate_series(1, :count) AS n) AS numbered) AS dated
"""
_LEDGERS = (
    """
    INSERT INTO task_history (id, task_id, user_id, version, at, actor, changes)
    SELECT gen_random_uuid(), id, user_id, 1, created_at, '{}', '{}' FROM tasks WHERE user_id = :user_id
    """,
    """
    INSERT INTO task_activity (id, task_id, user_id, at, kind)
    SELECT gen_random_uuid(), id, user_id, created_at, 'created' FROM tasks WHERE user_id = :user_id
    """,
    """
    INSERT INTO task_reminders (id, task_id, user_id, position, at, set_at)
    SELECT gen_random_uuid(), id, user_id, 0, created_at, created_at FROM tasks WHERE user_id = :user_id
    """,
)
_SERIES = """
    INSERT INTO series (id, user_id, rrule, timezone, start_local, created_at, updated_at)
    VALUES (:series_id, :user_id, 'FREQ=DAILY', 'UTC', '2020-01-01', now(), now())
"""


@asynccontextmanager
async def _patiently(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection to the same database that waits for as long as it takes; each statement commits by itself."""
    patient = create_async_engine(engine.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with patient.connect() as connection:
        yield connection
    await patient.dispose()


async def empty(engine: AsyncEngine) -> None:
    """Take away what other tests left: the planner goes by what is common among all tasks, and would know other people
    than these."""
    async with _patiently(engine) as connection:
        await connection.execute(text("TRUNCATE tasks CASCADE"))


async def fill(engine: AsyncEngine, user_id: UUID, count: int, *, ledgers: bool = False) -> UUID:
    """Give a person `count` tasks, the oldest of them urgent and of a series, whose id is given back."""
    series_id = uuid4()
    async with _patiently(engine) as connection:
        names = {"user_id": user_id, "series_id": series_id}
        await connection.execute(text(_SERIES), names)
        await connection.execute(text(_TASKS), {**names, "count": count, "few": FEW})
        for ledger in _LEDGERS if ledgers else ():
            await connection.execute(text(ledger), {"user_id": user_id})
    return series_id


async def throw_away(engine: AsyncEngine, user_id: UUID) -> None:
    """Delete two of three tasks of a person, and purge every second of those to a row that says only that it was."""
    async with _patiently(engine) as connection:
        await connection.execute(
            text(
                "UPDATE tasks SET deleted_at = now(), purged_at = CASE WHEN number % 2 = 0 THEN now() END, "
                "closed_by = coalesce(closed_by, 'withdrawn'), closed_version = coalesce(closed_version, 1), "
                "closed_at = coalesce(closed_at, now()) WHERE user_id = :user_id AND number % 3 > 0"
            ),
            {"user_id": user_id},
        )
    await analyze(engine)


async def analyze(engine: AsyncEngine) -> None:
    """Let the planner know what is there."""
    async with _patiently(engine) as connection:
        await connection.execute(
            text("VACUUM ANALYZE tasks, series, task_history, task_activity, task_reminders")
        )


Sent = list[tuple[str, tuple[Any, ...]]]


@contextmanager
def asking(engine: AsyncEngine, *tables: str) -> Iterator[Sent]:
    """Note the statements that read one of these tables, with their parameters, whoever puts them to the driver."""
    sent: Sent = []
    fetch = asyncpg.Connection.fetch

    def note(statement: str, parameters: tuple[Any, ...]) -> None:
        if any(f"FROM {table}" in statement for table in tables):
            sent.append((statement, parameters))

    def note_compiled(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        note(statement, parameters)

    async def noted(self: Any, query: str, *arguments: Any, **options: Any) -> Any:
        note(query, arguments)
        return await fetch(self, query, *arguments, **options)

    event.listen(engine.sync_engine, "before_cursor_execute", note_compiled)
    try:
        with patch.object(asyncpg.Connection, "fetch", noted):
            yield sent
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note_compiled)


async def plan_of(engine: AsyncEngine, statement: str, parameters: Sequence[Any]) -> dict[str, Any]:
    """Run it, and give the plan with what each node of it touched."""
    async with engine.connect() as connection:
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        assert driver is not None
        rows = await driver.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *parameters)
        await connection.rollback()
    (explained,) = rows[0][0] if isinstance(rows[0][0], list) else json.loads(rows[0][0])
    plan: dict[str, Any] = explained["Plan"]
    return plan


def buffers(plan: dict[str, Any]) -> int:
    """How many pages of 8 kB a plan touched, however often."""
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


def read_whole(node: dict[str, Any]) -> set[str]:
    """The tables that a plan reads from end to end."""
    found = {node["Relation Name"]} if node["Node Type"] == "Seq Scan" else set()
    return found.union(*(read_whole(child) for child in node.get("Plans", [])))


@asynccontextmanager
async def reading(connection: AsyncConnection) -> AsyncIterator[Counter[str]]:
    """Count the rows of each table that a connection reads in the block, which is in one transaction; checks of foreign
    keys and triggers included."""
    read: Counter[str] = Counter()
    read.subtract(await _rows_read(connection))
    yield read
    read.update(await _rows_read(connection))


async def _rows_read(connection: AsyncConnection) -> dict[str, int]:
    """Of this connection, as far as they are not in the statistics yet."""
    found = await connection.execute(
        text(
            "SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) AS rows FROM pg_stat_xact_user_tables"
        )
    )
    return {row.relname: int(row.rows) for row in found}
