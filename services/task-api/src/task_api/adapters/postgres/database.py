"""Units of work on PostgreSQL. Locks are FOR NO KEY UPDATE: they exclude each other, not foreign-key checks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg  # type: ignore[import-untyped, unused-ignore]
import orjson
from sqlalchemy import ARRAY, Select, Uuid, and_, any_, func, literal, select, update
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from task_api.adapters.postgres import write_statements
from task_api.adapters.postgres.outbox_append import enqueue
from task_api.adapters.postgres.rows import EPOCH, REMINDERS, Row, reminder_of, series_of, task_of
from task_api.adapters.postgres.tables import series, task_history, tasks, users
from task_api.application.ports import Locked, Owner, SeriesWrite, TaskWrite
from task_api.domain.errors import ConcurrentChange, StorageUnavailable
from task_api.domain.series import Series
from task_api.domain.task import Reminder, Task

_LIVE = tasks.c.closed_by.is_distinct_from("withdrawn")
_BUSY = frozenset(
    {
        "40P01",  # deadlock detected
        "53300",  # too many connections
        "55P03",  # lock not available
        "57014",  # query canceled: statement_timeout
        "57P01",  # terminated by the administrator
        "57P02",
        "57P03",  # starting up
    }
)


def connect(database_url: str, *, pool_size: int, lock_timeout: str = "5s") -> AsyncEngine:
    """Give the engine of `postgresql+asyncpg://…`; nothing is connected yet.

    Statements are prepared once per connection. A lock is awaited for `lock_timeout` and a statement for 10 s, so
    that one that hangs frees its connection.
    """
    return create_async_engine(
        database_url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_use_lifo=True,
        json_serializer=write_statements.json_text,
        json_deserializer=orjson.loads,
        connect_args={
            "timeout": 3,
            "command_timeout": 15,
            "server_settings": {
                "application_name": "task-api",
                "timezone": "UTC",
                "lock_timeout": lock_timeout,
                "statement_timeout": "10s",
                "idle_in_transaction_session_timeout": "15s",
            },
        },
    )


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
    ) as error:
        raise StorageUnavailable(type(error).__name__) from error
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None)
        gone = error.connection_invalidated or (
            state is None and isinstance(error, InterfaceError | OperationalError)
        )
        if gone or state in _BUSY:
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
                yield PostgresTransaction(connection)

    @asynccontextmanager
    async def single(self) -> AsyncIterator[PostgresTransaction]:
        """Open a connection whose statements each commit by themselves: without BEGIN and COMMIT on the way."""
        with storage_errors():
            async with self._plain.connect() as connection:
                yield PostgresTransaction(connection)

    async def ping(self) -> None:
        """Return when the database answers."""
        with storage_errors():
            async with self._plain.connect() as connection:
                await connection.execute(select(1))


def _locking(query: Select[Any]) -> Select[Any]:
    return query.with_for_update(key_share=True)


class PostgresTransaction:
    """The port Transaction on one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    @property
    def connection(self) -> AsyncConnection:
        """The open connection, for adapters that write in the same unit of work."""
        return self._connection

    async def owner(self, user_id: UUID) -> Owner | None:
        """Read the account's settings and the epoch."""
        row = await self._one(select(users, EPOCH).where(users.c.id == user_id))
        return None if row is None else owner_of(row)

    async def lock_series(self, series_id: UUID) -> Series | None:
        """Lock and read a series."""
        row = await self._one(_locking(select(series).where(series.c.id == series_id)))
        return None if row is None else series_of(row)

    async def lock_series_of(self, user_id: UUID, task_id: UUID) -> Series | None:
        """Lock and read the series of this user's task."""
        its_series = select(tasks.c.series_id).where(tasks.c.id == task_id, tasks.c.user_id == user_id)
        row = await self._one(_locking(select(series).where(series.c.id == its_series.scalar_subquery())))
        return None if row is None else series_of(row)

    async def series(self, series_id: UUID) -> Series | None:
        """Read a series."""
        row = await self._one(select(series).where(series.c.id == series_id))
        return None if row is None else series_of(row)

    async def lock_task(self, user_id: UUID, task_id: UUID) -> Locked | None:
        """Lock and read a task with its reminders, and its owner."""
        row = await self._one(
            _locking(select(tasks).where(tasks.c.id == task_id, tasks.c.user_id == user_id))
        )
        if row is None:
            return None
        # A statement of its own, after the lock: what another writer committed while we waited must be seen.
        beside = await self._one(
            select(users, EPOCH, REMINDERS)
            .select_from(users.join(tasks, tasks.c.user_id == users.c.id))
            .where(tasks.c.id == task_id)
        )
        if beside is None:
            return None
        return Locked(task_of(row, reminders_of(beside)), owner_of(beside))

    async def lock_successor(self, series_id: UUID, task_id: UUID) -> Task | None:
        """Lock and read the live instance after `task_id`."""
        found = await self._lock_all(
            and_(tasks.c.series_id == series_id, tasks.c.predecessor_task_id == task_id, _LIVE)
        )
        return found[0] if found else None

    async def is_touched(self, task_id: UUID) -> bool:
        """Whether the newest version is not a service's."""
        row = await self._one(
            select(task_history.c.actor["kind"].astext.label("kind"))
            .where(task_history.c.task_id == task_id)
            .order_by(task_history.c.version.desc())
            .limit(1)
        )
        return row is not None and row["kind"] != "service"

    async def lock_open_instances(self, series_id: UUID) -> Sequence[Task]:
        """Lock and read the open instances of a series, by id."""
        return await self._lock_all(and_(tasks.c.series_id == series_id, tasks.c.closed_by.is_(None)))

    async def lock_open_all_day(self, user_id: UUID) -> Sequence[Task]:
        """Lock and read the user's open tasks with a due date, by id."""
        return await self._lock_all(
            and_(tasks.c.user_id == user_id, tasks.c.due_date.is_not(None), tasks.c.closed_by.is_(None))
        )

    async def lock_all_day_series(self, user_id: UUID, zone: str) -> Sequence[Series]:
        """Lock and read the user's all-day series of a zone that have not ended, by id."""
        rows = await self._connection.execute(
            _locking(
                select(series)
                .where(
                    series.c.user_id == user_id,
                    series.c.timezone == zone,
                    series.c.ended_at.is_(None),
                    func.length(series.c.start_local) == len("YYYY-MM-DD"),
                )
                .order_by(series.c.id)
            )
        )
        return [series_of(row) for row in rows.mappings()]

    async def series_versions(self, series_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Read the versions of some series."""
        rows = await self._connection.execute(
            select(series.c.id, series.c.version).where(
                series.c.id == any_(literal(list(series_ids), ARRAY(Uuid)))
            )
        )
        return {row.id: row.version for row in rows}

    async def tip(self, series_id: UUID) -> Task | None:
        """Read the instance with the greatest key, withdrawn ones aside."""
        row = await self._one(
            select(tasks)
            .where(tasks.c.series_id == series_id, _LIVE)
            .order_by(tasks.c.occurrence_key.desc())
            .limit(1)
        )
        return None if row is None else task_of(row)

    async def write(self, change: TaskWrite, owner: Owner, series: SeriesWrite | None = None) -> Task | None:
        """Write one version of a task with all that belongs to it."""
        if change.before is None:
            statement, values = write_statements.insertion(change, owner, series)
            number = (await self._connection.execute(statement, values)).scalar_one_or_none()
            return None if number is None else replace(change.after, number=number)
        statement, values = write_statements.update(change, change.before, series)
        if (await self._connection.execute(statement, values)).scalar_one_or_none() is None:
            raise ConcurrentChange("the task was changed in between")
        return change.after

    async def write_series(self, change: SeriesWrite) -> None:
        """Update a series and append its outbox row."""
        assert change.before is not None  # noqa: S101 - a new series is written with its first task
        done = await self._connection.execute(
            update(series)
            .where(series.c.id == change.after.id, series.c.version == change.before.version)
            .values(write_statements.series_row(change.after))
        )
        if done.rowcount != 1:
            raise ConcurrentChange("the series was changed in between")
        await enqueue(self._connection, [change.announcement])

    async def _one(self, query: Select[Any]) -> Row | None:
        row: Row | None = (await self._connection.execute(query)).mappings().one_or_none()
        return row

    async def _lock_all(self, condition: Any) -> list[Task]:
        locked = await self._connection.execute(_locking(select(tasks).where(condition).order_by(tasks.c.id)))
        rows = locked.mappings().all()
        if not rows:
            return []
        beside = await self._connection.execute(
            select(tasks.c.id, REMINDERS).where(
                tasks.c.id == any_(literal([row["id"] for row in rows], ARRAY(Uuid)))
            )
        )
        reminders = {row["id"]: reminders_of(row) for row in beside.mappings()}
        return [task_of(row, reminders[row["id"]]) for row in rows]


def owner_of(row: Row) -> Owner:
    """Give the owner of a `users` row that has the epoch beside it."""
    return Owner(row["id"], row["timezone"], row["day_start"], row["default_reminder"], row["epoch"])


def reminders_of(row: Row) -> tuple[Reminder, ...]:
    """Give the reminders of a row that has the column REMINDERS."""
    return tuple(reminder_of(item) for item in orjson.loads(row["reminders"]))
