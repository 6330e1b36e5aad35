"""Reads for people: one query each, whatever a page holds, and always of one user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ARRAY, ColumnElement, Select, Text, and_, any_, func, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from event_contracts.values import Actor
from task_api.adapters.postgres.database import storage_errors
from task_api.adapters.postgres.rows import (
    RECURRENCE_COLUMNS,
    REMINDERS,
    Row,
    changes_of,
    joined_recurrence,
    reminder_of,
    task_of,
)
from task_api.adapters.postgres.tables import series, task_activity, task_history, tasks, users
from task_api.application.ports import Activity, Position, Revision, TaskFilter, TaskView

_VIEW = select(tasks, REMINDERS, *RECURRENCE_COLUMNS).select_from(
    tasks.outerjoin(series, series.c.id == tasks.c.series_id)
)


def _view(row: Row) -> TaskView:
    reminders = tuple(reminder_of(item) for item in orjson.loads(row["reminders"]))
    return TaskView(task_of(row, reminders), joined_recurrence(row))


def _any(column: ColumnElement[str], words: Sequence[str]) -> ColumnElement[bool]:
    return column == any_(literal([str(word) for word in words], ARRAY(Text)))


def _conditions(only: TaskFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if only.status:
        conditions.append(_any(tasks.c.status, only.status))
    if only.priority:
        conditions.append(_any(tasks.c.priority, only.priority))
    if only.tags:
        conditions.append(tasks.c.tags.contains(list(only.tags)))
    if only.series_id is not None:
        conditions.append(tasks.c.series_id == only.series_id)
    # An all-day task is due at the start of its owner's day, in its own zone.
    all_day = func.timezone(tasks.c.timezone, tasks.c.due_date + users.c.day_start)
    if only.due_before is not None:
        conditions.append(or_(tasks.c.due_at < only.due_before, all_day < only.due_before))
    if only.due_after is not None:
        conditions.append(or_(tasks.c.due_at >= only.due_after, all_day >= only.due_after))
    return conditions


class PostgresTaskReader:
    """The port TaskReader; each read is a statement of its own, outside any transaction."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def task(self, user_id: UUID, task_id: UUID) -> TaskView | None:
        """Read a task that is not deleted."""
        found = await self._views(
            _VIEW.where(tasks.c.id == task_id, tasks.c.user_id == user_id, tasks.c.deleted_at.is_(None))
        )
        return found[0] if found else None

    async def successor(self, user_id: UUID, task_id: UUID) -> TaskView | None:
        """Read the live instance that followed this one in its series."""
        found = await self._views(
            _VIEW.where(
                tasks.c.predecessor_task_id == task_id,
                tasks.c.user_id == user_id,
                tasks.c.deleted_at.is_(None),
            )
        )
        return found[0] if found else None

    async def page(
        self, user_id: UUID, only: TaskFilter, after: Position | None, limit: int
    ) -> Sequence[TaskView]:
        """Read up to `limit` tasks, newest first, after the position."""
        query = _VIEW
        if only.due_before is not None or only.due_after is not None:
            query = query.join(users, users.c.id == tasks.c.user_id)
        query = query.where(tasks.c.user_id == user_id, tasks.c.deleted_at.is_(None), *_conditions(only))
        if after is not None:
            query = query.where(
                tuple_(tasks.c.created_at, tasks.c.id) < tuple_(literal(after.at), literal(after.id))
            )
        return await self._views(query.order_by(tasks.c.created_at.desc(), tasks.c.id.desc()).limit(limit))

    async def activity(
        self, user_id: UUID, task_id: UUID, after: Position | None, limit: int
    ) -> Sequence[Activity] | None:
        """Read the ledger of a task in the order of time; None when there is no such task."""
        line = task_activity
        later = line.c.task_id == tasks.c.id
        if after is not None:
            later = and_(later, tuple_(line.c.at, line.c.id) > tuple_(literal(after.at), literal(after.id)))
        rows = await self._rows(
            select(line)
            .select_from(tasks.outerjoin(line, later))
            .where(tasks.c.id == task_id, tasks.c.user_id == user_id)
            .order_by(line.c.at, line.c.id)
            .limit(limit)
        )
        if not rows:
            return None
        return [
            Activity(row["id"], row["at"], row["kind"], row["detail"])
            for row in rows
            if row["id"] is not None
        ]

    async def history(
        self, user_id: UUID, task_id: UUID, after: int, limit: int
    ) -> Sequence[Revision] | None:
        """Read the versions above `after`; None when there is no such task."""
        line = task_history
        rows = await self._rows(
            select(line)
            .select_from(tasks.outerjoin(line, and_(line.c.task_id == tasks.c.id, line.c.version > after)))
            .where(tasks.c.id == task_id, tasks.c.user_id == user_id)
            .order_by(line.c.version)
            .limit(limit)
        )
        if not rows:
            return None
        return [_revision(row) for row in rows if row["id"] is not None]

    async def _views(self, query: Select[Any]) -> list[TaskView]:
        return [_view(row) for row in await self._rows(query)]

    async def _rows(self, query: Select[Any]) -> Sequence[Row]:
        with storage_errors():
            async with self._engine.connect() as connection:
                rows: Sequence[Row] = (await connection.execute(query)).mappings().all()
                return rows


def _revision(row: Row) -> Revision:
    return Revision(row["version"], row["at"], Actor.model_validate(row["actor"]), changes_of(row["changes"]))
