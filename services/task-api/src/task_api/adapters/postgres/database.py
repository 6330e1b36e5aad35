"""The engine, what its errors mean, and where units of work come from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped, unused-ignore]
import orjson
from sqlalchemy import AdaptedConnection, event, select
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from task_api.adapters.postgres.rows import json_text
from task_api.adapters.postgres.tls import tls
from task_api.adapters.postgres.transaction import PostgresTransaction
from task_api.application.usage_metrics import count_writes
from task_api.domain.errors import StorageUnavailable

_CANNOT_ANSWER = frozenset(
    {
        "28000",  # it does not let us in like this: without TLS, say
        "28P01",  # nor with this password
        "40P01",  # deadlock detected
        "53300",  # too many connections
        "55P03",  # lock not available
        "57014",  # query canceled: statement_timeout
        "57P01",  # terminated by the administrator
        "57P02",
        "57P03",  # starting up
    }
)


def connect(
    database_url: str, *, pool_size: int, lock_timeout: str = "5s", authority: str | None = None
) -> AsyncEngine:
    """Give the engine of `postgresql+asyncpg://…`; nothing is connected yet.

    Statements are prepared once per connection, and never compiled: that pays for queries of many seconds, and where
    statistics are missing the planner takes some of ours for such; each then cost a second. A lock is awaited for
    `lock_timeout` and a statement for 30 s, so that one that hangs frees its connection. `authority` is what `tls`
    verifies the server by.
    """
    engine = create_async_engine(
        database_url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_use_lifo=True,
        json_serializer=json_text,
        json_deserializer=orjson.loads,
        connect_args={
            **tls(database_url, authority),
            "timeout": 3,
            "command_timeout": 35,
            "server_settings": {
                "application_name": "task-api",
                "timezone": "UTC",
                "jit": "off",
                "lock_timeout": lock_timeout,
                "statement_timeout": "30s",
                "idle_in_transaction_session_timeout": "30s",
            },
        },
    )
    event.listen(engine.sync_engine, "checkout", _still_there)
    return engine


def _still_there(connection: AdaptedConnection, *_: object) -> None:
    """Have the pool make another connection for one that was lost while nobody used it: the driver knows by itself."""
    driver: Any = connection.driver_connection
    if driver.is_closed():
        raise DisconnectionError("lost while nobody used it")


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn what says that the database cannot answer now into StorageUnavailable; other errors pass."""
    try:
        yield
    except (
        OSError,
        PoolTimeoutError,
        asyncpg.PostgresConnectionError,
        asyncpg.CannotConnectNowError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,  # the server's farewell had just come, and its end of the connection not yet
    ) as error:
        raise StorageUnavailable(type(error).__name__) from error
    except asyncpg.PostgresError as error:
        if error.sqlstate in _CANNOT_ANSWER:
            raise StorageUnavailable(error.sqlstate) from error
        raise
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None)
        gone = error.connection_invalidated or (
            state is None and isinstance(error, InterfaceError | OperationalError)
        )
        if gone or state in _CANNOT_ANSWER:
            raise StorageUnavailable(state or type(error.orig).__name__) from error
        raise


class PostgresDatabase:
    """Opens units of work on one engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._plain = engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[PostgresTransaction]:
        """Open a unit of work: committed when the block ends, rolled back when it raises."""
        with storage_errors():
            async with self._engine.begin() as connection:
                work = PostgresTransaction(connection)
                yield work
        count_writes(work.written)

    @asynccontextmanager
    async def single(self) -> AsyncIterator[PostgresTransaction]:
        """Open a connection whose statements each commit by themselves: without BEGIN and COMMIT on the way."""
        with storage_errors():
            async with self._plain.connect() as connection:
                work = PostgresTransaction(connection, commits_each=True)
                yield work
        count_writes(work.written)

    async def ping(self) -> None:
        """Return when the database answers."""
        with storage_errors():
            async with self._plain.connect() as connection:
                await connection.execute(select(1))
