"""Calendar feeds on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Executable, delete, func, literal, select, union_all
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from task_api.adapters.postgres.audit_log import append_line
from task_api.adapters.postgres.database import PostgresDatabase, storage_errors
from task_api.adapters.postgres.rows import EPOCH, REMINDERS, Row, reminders_of, series_of, task_of
from task_api.adapters.postgres.tables import calendar_tokens, series, tasks, user_changes, users
from task_api.application.audit import AuditLine
from task_api.application.calendar_feed import Dated, Subscription
from task_api.application.ports import Changes

_GENERATED = frozenset({"search", "title_key", "priority_rank", "due_instant", "purged_at"})
_SHOWN = tuple(column for column in tasks.c if column.name not in _GENERATED)
_SERIES = tuple(column.label(f"of_series_{column.name}") for column in series.c)


class PostgresCalendarFeed:
    """The port CalendarStore; what only reads is a statement that commits by itself."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._database = PostgresDatabase(engine)
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def put(self, user_id: UUID, token_hash: bytes, at: datetime, line: AuditLine) -> None:
        """Insert the user's secret, or overwrite the one that is there."""
        new = {"hash": token_hash, "created_at": at}
        statement = insert(calendar_tokens).values(user_id=user_id, **new)
        async with self._database.begin() as work:
            await work.connection.execute(
                statement.on_conflict_do_update(index_elements=["user_id"], set_=new)
            )
            await work.connection.execute(append_line(line))

    async def remove(self, user_id: UUID, line: AuditLine) -> bool:
        """Delete the user's secret."""
        gone = delete(calendar_tokens).where(calendar_tokens.c.user_id == user_id)
        async with self._database.begin() as work:
            removed = await work.connection.execute(gone.returning(calendar_tokens.c.user_id))
            if removed.one_or_none() is None:
                return False
            await work.connection.execute(append_line(line))
            return True

    async def subscription(self, token_hash: bytes) -> Subscription | None:
        """Read the owner of a secret unless the account is disabled or to be erased, and the counter of changes."""
        changes = func.coalesce(user_changes.c.number, 0).label("changes")
        rows = await self._rows(
            select(users.c.id, users.c.day_start, changes, EPOCH)
            .select_from(
                calendar_tokens.join(users, users.c.id == calendar_tokens.c.user_id).outerjoin(
                    user_changes, user_changes.c.user_id == users.c.id
                )
            )
            .where(
                calendar_tokens.c.hash == token_hash,
                users.c.disabled_at.is_(None),
                users.c.erase_requested_at.is_(None),
            )
        )
        if not rows:
            return None
        row = rows[0]
        return Subscription(row["id"], row["day_start"], Changes(row["changes"], row["epoch"]))

    async def dated(self, user_id: UUID, completed_since: datetime, limit: int) -> Sequence[Dated]:
        """Read open tasks by the index of what is open and due, completed ones by that of what was changed last."""
        mine = (tasks.c.user_id == user_id, tasks.c.due_instant.is_not(None))
        shown = union_all(
            select(tasks.c.id).where(*mine, tasks.c.closed_by.is_(None)),
            select(tasks.c.id).where(
                *mine,
                tasks.c.deleted_at.is_(None),
                tasks.c.status == "completed",
                tasks.c.updated_at >= completed_since,
                tasks.c.completed_at >= completed_since,
            ),
        ).subquery("shown")
        later = tasks.alias("later")
        has_later = (
            select(literal(1))
            .where(
                later.c.series_id == tasks.c.series_id,
                later.c.closed_by.is_(None),
                # Says nothing new, but leads to the index by key: only later instances are read, not all.
                later.c.closed_by.is_distinct_from("withdrawn"),
                later.c.occurrence_key > tasks.c.occurrence_key,
            )
            .exists()
        )
        rows = await self._rows(
            select(*_SHOWN, REMINDERS, *_SERIES, has_later.label("has_later"))
            .select_from(
                shown.join(tasks, tasks.c.id == shown.c.id).outerjoin(
                    series, series.c.id == tasks.c.series_id
                )
            )
            .order_by(tasks.c.due_instant.desc(), tasks.c.id)
            .limit(limit)
        )
        return [_dated(row) for row in rows]

    async def _rows(self, statement: Executable) -> Sequence[Row]:
        with storage_errors():
            async with self._engine.connect() as connection:
                rows: Sequence[Row] = (await connection.execute(statement)).mappings().all()
                return rows


def _dated(row: Row) -> Dated:
    task = task_of(row, reminders_of(row))
    if task.series_id is None:
        return Dated(task)
    its_series: dict[str, Any] = {column.name: row[f"of_series_{column.name}"] for column in series.c}
    return Dated(task, series_of(its_series), is_last=not row["has_later"])
