"""The port Transaction. Locks are FOR NO KEY UPDATE: they exclude each other, not foreign-key checks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Executable,
    Integer,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    column,
    func,
    literal,
    or_,
    select,
    update,
    values,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from task_api.adapters.postgres import write_statements
from task_api.adapters.postgres.outbox_append import enqueue
from task_api.adapters.postgres.rows import (
    EPOCH,
    REMINDERS,
    Row,
    among,
    changes_of,
    owner_of,
    reminders_of,
    series_of,
    task_of,
)
from task_api.adapters.postgres.tables import (
    idempotency_keys,
    series,
    series_history,
    task_history,
    tasks,
    users,
)
from task_api.application.ports import (
    ChangedTask,
    KeptAnswer,
    Locked,
    Owner,
    SeriesWrite,
    TaskWrite,
    UsedSlot,
)
from task_api.domain.errors import ConcurrentChange, KeyReused
from task_api.domain.series import Series
from task_api.domain.task import Change, Task

_LIVE = tasks.c.closed_by.is_distinct_from("withdrawn")
_OWNER_COLUMNS = (users.c.id, users.c.timezone, users.c.day_start, users.c.default_reminder, EPOCH)
# Put together once: SQLAlchemy takes longer to build it than PostgreSQL to answer it.
_OWNER = select(*_OWNER_COLUMNS).where(users.c.id == bindparam("user_id", type_=Uuid))


def _locking(query: Select[Any]) -> Select[Any]:
    return query.with_for_update(key_share=True)


class PostgresTransaction:
    """The port Transaction on one connection, whose statements each commit by themselves where it says so."""

    def __init__(self, connection: AsyncConnection, *, commits_each: bool = False) -> None:
        self._connection = connection
        self._commits_each = commits_each
        self._waiting: list[tuple[TaskWrite, Task]] | None = None
        self._written: list[TaskWrite] = []

    @property
    def written(self) -> Sequence[TaskWrite]:
        """The versions of tasks that were written so far; they stand once the unit of work is committed."""
        return self._written

    @property
    def connection(self) -> AsyncConnection:
        """The open connection, for adapters that write in the same unit of work."""
        return self._connection

    async def owner(self, user_id: UUID) -> Owner | None:
        """Read the account's settings and the epoch."""
        row = (await self._connection.execute(_OWNER, {"user_id": user_id})).mappings().one_or_none()
        return None if row is None else owner_of(row)

    async def lock_account(self, user_id: UUID) -> bool:
        """Lock the account's row; False when it is gone."""
        return await self._one(_locking(select(users.c.id).where(users.c.id == user_id))) is not None

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
        await self._send()
        row = await self._one(
            _locking(
                select(tasks).where(
                    tasks.c.id == task_id, tasks.c.user_id == user_id, tasks.c.purged_at.is_(None)
                )
            )
        )
        if row is None:
            return None
        # A statement of its own, after the lock: what another writer committed while we waited must be seen.
        beside = await self._one(
            select(*_OWNER_COLUMNS, REMINDERS)
            .select_from(users.join(tasks, tasks.c.user_id == users.c.id))
            .where(tasks.c.id == task_id)
        )
        if beside is None:
            return None
        return Locked(task_of(row, reminders_of(beside)), owner_of(beside))

    async def lock_tasks(self, user_id: UUID, task_ids: Sequence[UUID]) -> Sequence[Locked]:
        """Lock and read the user's tasks among those ids, by id."""
        found = await self._lock_all(
            and_(tasks.c.user_id == user_id, tasks.c.purged_at.is_(None), among(tasks.c.id, task_ids))
        )
        owner = await self.owner(user_id) if found else None
        return [] if owner is None else [Locked(task, owner) for task in found]

    async def lock_series_of_tasks(self, user_id: UUID, task_ids: Sequence[UUID]) -> dict[UUID, Series]:
        """Lock and read the series of the user's tasks among those ids, by id."""
        theirs = select(tasks.c.series_id).where(tasks.c.user_id == user_id, among(tasks.c.id, task_ids))
        rows = await self._connection.execute(
            _locking(select(series).where(series.c.id.in_(theirs)).order_by(series.c.id))
        )
        return {row["id"]: series_of(row) for row in rows.mappings()}

    async def lock_successor(self, series_id: UUID, task_id: UUID) -> Task | None:
        """Lock and read the live instance after `task_id`."""
        await self._send()
        found = await self._lock_all(
            and_(tasks.c.series_id == series_id, tasks.c.predecessor_task_id == task_id, _LIVE)
        )
        return found[0] if found else None

    async def is_touched(self, task_id: UUID) -> bool:
        """Whether the newest version that changed a field, or was a service's, is not a service's."""
        await self._send()
        kind = task_history.c.actor["kind"].astext
        # The slot is moved by an edit of the series: nobody has touched the instance for that.
        said = task_history.c.changes.op("-")(literal("occurrence_key", Text))
        row = await self._one(
            select(kind.label("kind"))
            .where(
                task_history.c.task_id == task_id,
                or_(said != literal({}, JSONB), kind == "service"),
            )
            .order_by(task_history.c.version.desc())
            .limit(1)
        )
        return row is not None and row["kind"] != "service"

    async def lock_open_instances(self, series_id: UUID) -> Sequence[Task]:
        """Lock and read the open instances of a series, by id."""
        return await self._lock_all(and_(tasks.c.series_id == series_id, tasks.c.closed_by.is_(None)))

    async def lock_open_all_day(self, user_id: UUID) -> Sequence[Task]:
        """Lock and read the user's open tasks with a due date, by id."""
        # All that are open are locked first: one that gets its due date at this moment, by somebody who still knows the
        # old start of the day, is waited for, and the second statement sees it.
        is_open = and_(tasks.c.user_id == user_id, tasks.c.closed_by.is_(None))
        await self._connection.execute(_locking(select(tasks.c.id).where(is_open).order_by(tasks.c.id)))
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
            select(series.c.id, series.c.version).where(among(series.c.id, series_ids))
        )
        return {row.id: row.version for row in rows}

    async def greatest_key(self, series_id: UUID, *, besides: UUID) -> str | None:
        """Read the greatest key of a series besides one instance's."""
        row = await self._one(
            select(func.max(tasks.c.occurrence_key).label("key")).where(
                tasks.c.series_id == series_id, tasks.c.id != besides, _LIVE
            )
        )
        return None if row is None else row["key"]

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
            insertion, values = write_statements.insertion(change, owner, series)
            if self._commits_each:
                row = await insertion.row(self._connection, values)
            else:
                row = await self._one(insertion.clause, values)
            if row is None:
                return None
            self._written.append(change)
            return replace(change.after, number=row["number"])
        if self._waiting is not None and series is None:
            self._waiting.append((change, change.before))
            self._written.append(change)
            return change.after
        statement, values = write_statements.update(change, change.before, series)
        if (await self._connection.execute(statement, values)).scalar_one_or_none() is None:
            raise ConcurrentChange("the task was changed in between")
        self._written.append(change)
        return change.after

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Hold back the updates made inside the block and send them at its end, or before a read that needs them."""
        self._waiting = []
        try:
            yield
            await self._send()
        finally:
            self._waiting = None

    async def _send(self) -> None:
        if not self._waiting:
            return
        # Locked rows cannot have moved on, so nobody has to be told how many were met.
        changes, self._waiting = self._waiting, []
        rows = [write_statements.update_values(change, before) for change, before in changes]
        await self._connection.execute(write_statements.UPDATE, rows)

    async def reserve_numbers(self, owner: Owner, count: int) -> int | None:
        """Take task numbers from the account, which stays locked."""
        found = await self._connection.execute(
            write_statements.RESERVE,
            {"user_id": owner.user_id, "number": count, **write_statements.guard(owner)},
        )
        last = found.scalar_one_or_none()
        return None if last is None else int(last) - count + 1

    async def insert_many(self, changes: Sequence[tuple[TaskWrite, SeriesWrite | None]]) -> None:
        """Insert tasks that have their numbers: those of a series with it."""
        for statement, rows in write_statements.insertions(changes):
            await self._connection.execute(statement, rows)
        self._written += [task for task, _ in changes]

    async def known_tasks(self, user_id: UUID, ids: Sequence[UUID]) -> frozenset[UUID]:
        """Read which of those ids are the user's tasks."""
        theirs = select(tasks.c.id).where(tasks.c.user_id == user_id, among(tasks.c.id, ids))
        return frozenset((await self._connection.execute(theirs)).scalars())

    async def used_slots(self, series_ids: Sequence[UUID]) -> frozenset[UsedSlot]:
        """Read the keys and predecessors of live instances."""
        found = await self._connection.execute(
            select(tasks.c.series_id, tasks.c.occurrence_key, tasks.c.predecessor_task_id).where(
                among(tasks.c.series_id, series_ids), _LIVE
            )
        )
        return frozenset(
            (series_id, held) for series_id, *holds in found for held in holds if held is not None
        )

    async def rows_of_change(self, user_id: UUID, change_id: UUID) -> Sequence[ChangedTask]:
        """Read the history rows of a change, the newest version first."""
        row = task_history.c
        rows = await self._connection.execute(
            select(row.task_id, row.version, row["at"], row.changes)
            .where(row.change_id == change_id, row.user_id == user_id)
            .order_by(row.version.desc(), row.task_id)
        )
        return [
            ChangedTask(found.task_id, found.version, found.at, changes_of(found.changes)) for found in rows
        ]

    async def series_of_change(self, user_id: UUID, change_id: UUID) -> dict[UUID, dict[str, Change]]:
        """Read the series' history rows of a change."""
        row = series_history.c
        rows = await self._connection.execute(
            select(row.series_id, row.changes)
            .join(series, series.c.id == row.series_id)
            .where(row.change_id == change_id, series.c.user_id == user_id)
        )
        return {found.series_id: changes_of(found.changes) for found in rows}

    async def fields_changed_after(self, rows: Sequence[ChangedTask]) -> dict[UUID, frozenset[str]]:
        """Read the names of the fields that newer versions changed, by task."""
        row = task_history.c
        asked = values(column("task_id", Uuid), column("version", Integer), name="asked").data(
            [(one.task_id, one.version) for one in rows]
        )
        found = await self._connection.execute(
            select(row.task_id, row.changes).join(
                asked, and_(row.task_id == asked.c.task_id, row.version > asked.c.version)
            )
        )
        touched: dict[UUID, set[str]] = {}
        for task_id, changes in found:
            touched.setdefault(task_id, set()).update(changes)
        return {task_id: frozenset(names) for task_id, names in touched.items()}

    async def claim_key(self, user_id: UUID, key: str, fingerprint: bytes, at: datetime) -> KeptAnswer | None:
        """Insert the key; where it is there already, another transaction has committed it with its answer."""
        taken = await self._connection.execute(
            insert(idempotency_keys)
            .values(user_id=user_id, key=key, fingerprint=fingerprint, created_at=at)
            .on_conflict_do_nothing()
            .returning(idempotency_keys.c.key)
        )
        if taken.scalar_one_or_none() is not None:
            return None
        row = await self._one(
            select(idempotency_keys).where(
                idempotency_keys.c.user_id == user_id, idempotency_keys.c.key == key
            )
        )
        if row is None:
            raise ConcurrentChange("the key was given up at the same moment")
        if row["fingerprint"] != fingerprint:
            raise KeyReused("this Idempotency-Key was used for another request")
        return KeptAnswer(row["status"], row["headers"], row["body"])

    async def keep_answer(self, user_id: UUID, key: str, answer: KeptAnswer) -> None:
        """Complete the key's row."""
        await self._connection.execute(
            update(idempotency_keys)
            .where(idempotency_keys.c.user_id == user_id, idempotency_keys.c.key == key)
            .values(status=answer.status, headers=answer.headers, body=answer.body)
        )

    async def write_series(self, change: SeriesWrite) -> None:
        """Update a series and append its rows of history and outbox."""
        assert change.before is not None  # noqa: S101 - a new series is written with its first task
        done = await self._connection.execute(
            update(series)
            .where(series.c.id == change.after.id, series.c.version == change.before.version)
            .values(write_statements.series_row(change.after))
        )
        if done.rowcount != 1:
            raise ConcurrentChange("the series was changed in between")
        await self._connection.execute(insert(series_history).values(write_statements.series_line(change)))
        await enqueue(self._connection, [change.announcement])

    async def _one(self, query: Executable, values: Mapping[str, Any] | None = None) -> Row | None:
        row: Row | None = (await self._connection.execute(query, values)).mappings().one_or_none()
        return row

    async def _lock_all(self, condition: Any) -> list[Task]:
        locked = await self._connection.execute(_locking(select(tasks).where(condition).order_by(tasks.c.id)))
        rows = locked.mappings().all()
        if not rows:
            return []
        beside = await self._connection.execute(
            select(tasks.c.id, REMINDERS).where(among(tasks.c.id, [row["id"] for row in rows]))
        )
        reminders = {row["id"]: reminders_of(row) for row in beside.mappings()}
        return [task_of(row, reminders[row["id"]]) for row in rows]
