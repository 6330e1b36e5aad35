"""The commands that work on task-api's database: `outbox` and `epoch`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID, uuid4

import asyncpg  # type: ignore[import-untyped, unused-ignore]
import pytest
from typer.testing import CliRunner

from task_api.migrations.runner import migrate
from task_api.settings import asyncpg_url
from taskstream_cli.__main__ import app
from taskstream_cli.epoch import raise_epoch, read_epoch
from taskstream_cli.failing import Unable
from taskstream_cli.outbox import discard, listed, retry


@pytest.fixture
async def url(fresh_database: Callable[[], Awaitable[str]]) -> str:
    url = await fresh_database()
    await migrate(asyncpg_url(url))
    return url


@pytest.fixture
async def database(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


async def _row(database: asyncpg.Connection, *, parked: bool, age: int = 0) -> UUID:
    row_id = uuid4()
    await database.execute(
        "INSERT INTO outbox (id, topic, key, event, created_at, attempts, last_error, parked_at) VALUES "
        "($1, 'task-created', 'k', '{}', now() - make_interval(secs => $2), 10, 'too large', "
        "CASE WHEN $3 THEN now() END)",
        row_id,
        float(age),
        parked,
    )
    return row_id


async def test_parked_and_old_rows_are_listed(url: str, database: asyncpg.Connection) -> None:
    parked, old = await _row(database, parked=True), await _row(database, parked=False, age=90)
    await _row(database, parked=False)
    rows = await listed(url, older_than=60, limit=10)
    assert [(row.id, row.parked) for row in rows] == [(old, False), (parked, True)]
    shown = await asyncio.to_thread(CliRunner().invoke, app, ["outbox", "list", "--database-url", url])
    assert shown.exit_code == 0
    assert str(parked) in shown.output
    assert "too large" in shown.output


async def test_what_is_retried_is_due_and_has_no_failure_against_it(
    url: str, database: asyncpg.Connection
) -> None:
    parked, waiting = await _row(database, parked=True), await _row(database, parked=False)
    with pytest.raises(Unable, match=str(waiting)):
        await retry(url, [parked, waiting])
    assert await database.fetchval("SELECT parked_at IS NOT NULL FROM outbox WHERE id = $1", parked)
    assert await retry(url, [parked]) == [parked]
    assert await database.fetchval(
        "SELECT parked_at IS NULL AND attempts = 0 AND next_attempt_at <= clock_timestamp() "
        "FROM outbox WHERE id = $1",
        parked,
    )
    assert await retry(url, None) == []


async def test_what_is_discarded_is_gone_and_the_audit_log_says_why(
    url: str, database: asyncpg.Connection
) -> None:
    parked, waiting = await _row(database, parked=True), await _row(database, parked=False)
    with pytest.raises(Unable, match=str(waiting)):
        await discard(url, [parked, waiting], "a test")
    assert await database.fetchval("SELECT count(*) FROM outbox") == 2
    assert await discard(url, None, "a test") == [parked]
    assert await database.fetchval("SELECT id FROM outbox") == waiting
    detail = await database.fetchval("SELECT detail::text FROM audit_log WHERE action = 'outbox_discarded'")
    assert str(parked) in detail
    assert "a test" in detail


async def test_a_database_that_still_replays_its_log_says_so(url: str) -> None:
    """Until it has, PostgreSQL lets everybody read and nobody write."""
    replaying = f"{url}?default_transaction_read_only=on"
    words = ["epoch", "raise", "--yes", "--database-url", replaying]
    shown = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert shown.exit_code == 1
    assert "it replays its log first" in shown.output


async def test_the_same_backup_restored_twice_has_two_epochs(url: str, database: asyncpg.Connection) -> None:
    """The services know the first one, and would take the second for what they have."""
    before, _ = await read_epoch(url)
    first = await raise_epoch(url, "restored")
    assert first > before
    assert await raise_epoch(url, "restored, within the same second") > first
    await asyncio.sleep(2.1)
    await database.execute("UPDATE epoch SET value = $1", before)
    assert await raise_epoch(url, "restored again") > first
    assert await database.fetchval("SELECT count(*) FROM audit_log WHERE action = 'epoch_raised'") == 3


def test_an_address_that_is_none_is_said_so() -> None:
    refused = CliRunner().invoke(app, ["outbox", "status", "--database-url", "nonsense"])
    assert refused.exit_code == 1
    assert "DATABASE_URL is not valid" in refused.output
