"""Statements that go to the driver by themselves: what becomes of lost connections, of errors, of odd values."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg  # type: ignore[import-untyped, unused-ignore]
import pytest
import pytest_asyncio
from sqlalchemy import Integer, Text, bindparam, literal, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from task_api.adapters.postgres.database import connect, storage_errors
from task_api.adapters.postgres.direct import Direct
from task_api.domain.errors import StorageUnavailable

_BACKEND = Direct(text("SELECT pg_backend_pid() AS pid"))
_END_ITSELF = Direct(text("SELECT pg_terminate_backend(pg_backend_pid())"))


@pytest_asyncio.fixture(loop_scope="session")
async def lone(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine with one connection."""
    engine = connect(database_url, pool_size=1)
    yield engine.execution_options(isolation_level="AUTOCOMMIT")
    await engine.dispose()


async def _ask(engine: AsyncEngine, statement: Direct, **values: Any) -> Any:
    with storage_errors():
        async with engine.connect() as connection:
            row = await statement.row(connection, values)
            assert row is not None
            return row


async def test_values_arrive_as_their_types(lone: AsyncEngine) -> None:
    statement = Direct(
        select(
            bindparam("details", type_=JSONB).label("details"),
            bindparam("number", type_=Integer).label("number"),
            literal("always", Text).label("constant"),
        )
    )
    row = await _ask(lone, statement, details={"a": ["ü", None]}, number=None)
    assert dict(row) == {"details": {"a": ["ü", None]}, "number": None, "constant": "always"}


async def test_a_connection_that_was_lost_meanwhile_costs_nobody_an_error(
    lone: AsyncEngine, rows: Any
) -> None:
    before = (await _ask(lone, _BACKEND))["pid"]
    async with lone.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
    await rows("SELECT pg_terminate_backend(:pid, 5000)", pid=before)
    async with asyncio.timeout(5):
        while not driver.is_closed():  # noqa: ASYNC110 - the end of the connection is on its way to us
            await asyncio.sleep(0.01)
    assert (await _ask(lone, _BACKEND))["pid"] != before


async def test_one_that_is_lost_while_it_is_asked_is_not_used_again(lone: AsyncEngine) -> None:
    before = (await _ask(lone, _BACKEND))["pid"]
    with pytest.raises(StorageUnavailable):
        await _ask(lone, _END_ITSELF)
    async with lone.connect() as connection:
        after = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    assert after != before


async def test_a_statement_that_takes_too_long_is_given_up_and_its_connection_goes_on(
    lone: AsyncEngine,
) -> None:
    before = (await _ask(lone, _BACKEND))["pid"]
    await _ask(lone, Direct(text("SELECT set_config('statement_timeout', '50ms', false)")))
    with pytest.raises(StorageUnavailable, match="57014"):
        await _ask(lone, Direct(text("SELECT pg_sleep(5)")))
    assert (await _ask(lone, _BACKEND))["pid"] == before


async def test_what_does_not_fit_is_no_outage(lone: AsyncEngine) -> None:
    statement = Direct(select(bindparam("number", type_=Integer)))
    with pytest.raises(asyncpg.DataError, match="int32"):
        await _ask(lone, statement, number=2**40)
