"""The relay on the real outbox table, several at once, and what PostgreSQL makes of a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from sqlalchemy import event, insert, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.unit.task_api.relay_behaviour import RelayBehaviour
from tests.unit.task_api.relay_parts import LANES, TOPICS, ScriptedBroker, Seconds, Standing

from task_api.adapters.postgres.database import connect
from task_api.adapters.postgres.outbox import PostgresOutbox, relay_engine
from task_api.adapters.postgres.tables import outbox
from task_api.application.relay_outbox import MAX_BYTES, MAX_EVENTS, OutboxRelay
from task_api.domain.errors import StorageUnavailable
from task_api.migrations.runner import migrate
from task_api.settings import asyncpg_url


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def relay_database(fresh_database: Callable[[], Awaitable[str]]) -> str:
    """A database whose outbox nobody else writes to."""
    url = asyncpg_url(await fresh_database())
    await migrate(url)
    return url


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def relay_tables(relay_database: str) -> AsyncIterator[AsyncEngine]:
    engine = connect(relay_database, pool_size=3)
    yield engine
    await engine.dispose()


class PostgresTable:
    """The outbox table; two relays each have their connection, as two processes would."""

    def __init__(self, url: str, engine: AsyncEngine) -> None:
        self._url = url
        self._engine = engine
        self._relay_engines: list[AsyncEngine] = []

    @property
    def outbox(self) -> PostgresOutbox:
        self._relay_engines.append(relay_engine(self._url, lanes=LANES))
        return PostgresOutbox(self._relay_engines[-1])

    async def dispose(self) -> None:
        for engine in self._relay_engines:
            await engine.dispose()

    async def add(
        self, topic: str = TOPICS[0], count: int = 1, size: int = 100, attempts: int = 0, key: str = ""
    ) -> list[UUID]:
        ids = [uuid4() for _ in range(count)]
        waits = datetime.now(UTC) if attempts else None
        added = [
            {
                "id": row_id,
                "topic": topic,
                "key": key or f"key-{row_id}",
                "event": b"x" * size,
                "attempts": attempts,
                "next_attempt_at": waits,
            }
            for row_id in ids
        ]
        async with self._engine.begin() as connection:
            await connection.execute(insert(outbox), added)
        return ids

    async def left(self) -> dict[UUID, Standing]:
        async with self._engine.connect() as connection:
            rows = await connection.execute(outbox.select())
            return {
                row.id: Standing(row.attempts, row.next_attempt_at is not None, row.parked_at is not None)
                for row in rows
            }

    async def make_due(self) -> None:
        await self.run(
            "UPDATE outbox SET next_attempt_at = clock_timestamp() WHERE next_attempt_at IS NOT NULL"
        )

    async def run(self, sql: str) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(text(sql))


@pytest_asyncio.fixture(loop_scope="session")
async def table(relay_database: str, relay_tables: AsyncEngine) -> AsyncIterator[PostgresTable]:
    made = PostgresTable(relay_database, relay_tables)
    await made.run("DELETE FROM outbox")
    yield made
    await made.dispose()


class TestPostgres(RelayBehaviour):
    """All of it on the real table."""


async def test_rows_in_another_relays_hands_are_passed_over(table: PostgresTable) -> None:
    await table.add(count=3)
    async with table.outbox.take(TOPICS, 2, 0) as held:
        async with table.outbox.take(TOPICS, 10, 10) as others:
            assert len(others.rows) == 1
        assert {row.id for row in held.rows}.isdisjoint(row.id for row in others.rows)


async def test_rows_come_topic_by_topic_oldest_first(table: PostgresTable) -> None:
    first = await table.add(count=4)
    second = await table.add(TOPICS[1], count=2)
    async with table.outbox.take(TOPICS, 3, 5) as held:
        assert [row.id for row in held.rows if row.topic == TOPICS[0]] == first[:3]
        assert [row.id for row in held.rows if row.topic == TOPICS[1]] == second


async def test_great_events_are_read_as_far_as_a_request_holds_them(table: PostgresTable) -> None:
    great = await table.add(count=3, size=MAX_BYTES + 1)
    small = await table.add(TOPICS[1], count=20, size=MAX_BYTES // 4)
    async with table.outbox.take(TOPICS, MAX_EVENTS, 0) as held:
        assert [row.id for row in held.rows if row.topic == TOPICS[0]] == great[:2]
        assert [row.id for row in held.rows if row.topic == TOPICS[1]] == small[:4]


async def test_a_wait_lasts_as_long_as_it_was_said(table: PostgresTable) -> None:
    (row,) = await table.add(attempts=1)
    assert await table.outbox.has_work(TOPICS)
    await table.run("UPDATE outbox SET next_attempt_at = clock_timestamp() + interval '1 hour'")
    assert not await table.outbox.has_work(TOPICS)
    async with table.outbox.take(TOPICS, 5, 5) as held:
        assert held.rows == []
    assert set(await table.left()) == {row}


async def test_a_failed_settlement_leaves_the_rows(table: PostgresTable, relay_tables: AsyncEngine) -> None:
    """The connection is gone when the deletes are due: the events go out once more."""
    ids = await table.add(count=2)
    broker = ScriptedBroker()
    killed: list[bool] = []

    async def kill(topic: str) -> None:
        if not killed:
            killed.append(True)
            async with relay_tables.begin() as connection:
                await connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND state = 'idle in transaction' "
                        "AND pid <> pg_backend_pid()"
                    )
                )

    broker.before_sending = lambda topic: asyncio.ensure_future(kill(topic))
    relay = OutboxRelay(table.outbox, broker, TOPICS, lanes=LANES)
    with pytest.raises(StorageUnavailable):
        await relay.drain()
    assert set(await table.left()) == set(ids)
    await relay.drain()
    assert sorted(broker.out) == sorted(ids * 2)
    assert await table.left() == {}


async def test_many_relays_publish_each_row_once(table: PostgresTable) -> None:
    ids = await table.add(count=MAX_EVENTS * 5) + await table.add(TOPICS[1], count=MAX_EVENTS)
    broker = ScriptedBroker()
    broker.before_sending = lambda topic: asyncio.ensure_future(asyncio.sleep(0))
    relays = [OutboxRelay(table.outbox, broker, TOPICS, lanes=LANES, monotonic=Seconds()) for _ in range(4)]
    await asyncio.gather(*(relay.drain() for relay in relays))
    assert sorted(broker.out) == sorted(ids)
    assert await table.left() == {}


async def test_a_poll_with_nothing_to_do_is_one_statement(relay_database: str) -> None:
    engine = relay_engine(relay_database, lanes=LANES)
    relay = OutboxRelay(PostgresOutbox(engine), ScriptedBroker(), TOPICS, lanes=LANES)
    await relay.drain()
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    await relay.drain()
    await engine.dispose()
    assert len(statements) == 1
