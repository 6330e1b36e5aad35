"""Reads for people: one query each, whatever a page holds, and always of one user."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Uuid, and_, bindparam, func, literal, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from event_contracts.values import Actor, TaskStatus
from task_api.adapters.postgres.database import storage_errors
from task_api.adapters.postgres.direct import Direct
from task_api.adapters.postgres.rows import Row, changes_of, joined_recurrence, reminders_of, task_of
from task_api.adapters.postgres.tables import (
    series,
    series_history,
    task_activity,
    task_history,
    tasks,
    users,
)
from task_api.adapters.postgres.task_filters import LIVE, OVERDUE, conditions, values_of
from task_api.adapters.postgres.task_pages import COUNTER, VIEW, counted, found, listed
from task_api.application.ports import (
    Activity,
    Changes,
    Order,
    Page,
    Position,
    Revision,
    Stats,
    TagCount,
    TaskFilter,
    TaskView,
)
from task_api.domain.task import Task

_TAGS_MAX = 1_000
_COUNTED = Direct(select(COUNTER))
_LIVE_TASK = Direct(
    VIEW.where(
        tasks.c.id == bindparam("task_id", type_=Uuid),
        tasks.c.user_id == bindparam("user_id", type_=Uuid),
        LIVE,
    )
)
_DAY = func.date_trunc("day", func.timezone(users.c.timezone, tasks.c.completed_at))


def _view(row: Row) -> TaskView:
    return TaskView(task_of(row, reminders_of(row)), joined_recurrence(row))


class PostgresTaskReader:
    """The port TaskReader; each read is a statement of its own, outside any transaction."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def task(self, user_id: UUID, task_id: UUID) -> TaskView | None:
        """Read a task that is not deleted."""
        row = await self._row(_LIVE_TASK, task_id=task_id, user_id=user_id)
        return None if row is None else _view(row)

    async def successor(self, user_id: UUID, task_id: UUID) -> TaskView | None:
        """Read the live instance that followed this one in its series."""
        found = await self._views(
            VIEW.where(
                tasks.c.predecessor_task_id == task_id,
                tasks.c.user_id == user_id,
                LIVE,
            )
        )
        return found[0] if found else None

    async def page(
        self,
        user_id: UUID,
        only: TaskFilter,
        order: Order,
        after: Position | None,
        limit: int,
        offset: int = 0,
    ) -> Page:
        """Read up to `limit` tasks in this order, after the position or the first `offset`."""
        values = values_of(user_id, only)
        statement = listed(
            frozenset(values), order, deleted=only.deleted, later=after is not None, skipping=offset > 0
        )
        return await self._page(statement, values, after, limit, offset)

    async def search(
        self, user_id: UUID, words: str, tags: Sequence[str], after: Position | None, limit: int
    ) -> Page:
        """Read up to `limit` of the newest thousand tasks that hold the words, the best first."""
        values = values_of(user_id, TaskFilter(tags=tuple(tags), words=words))
        return await self._page(found(frozenset(values), later=after is not None), values, after, limit)

    async def total(self, user_id: UUID, only: TaskFilter) -> int:
        """Count what the filter lets through."""
        values = values_of(user_id, only)
        row = await self._row(counted(frozenset(values), deleted=only.deleted), **values)
        assert row is not None  # noqa: S101 - it counts
        return int(row["total"])

    async def changes(self, user_id: UUID) -> Changes:
        """Read the counter, 0 before the first change, and the epoch beside it."""
        row = await self._row(_COUNTED, user_id=user_id)
        assert row is not None  # noqa: S101 - it reads no table
        return _changes(row)

    async def tags(self, user_id: UUID) -> Sequence[TagCount]:
        """Read the most used tags of live tasks."""
        each = (
            select(func.unnest(tasks.c.tags).label("tag"))
            .where(tasks.c.user_id == user_id, LIVE)
            .subquery("each")
        )
        count = func.count()
        rows = await self._rows(
            select(each.c.tag, count.label("tasks"))
            .group_by(each.c.tag)
            .order_by(count.desc(), each.c.tag)
            .limit(_TAGS_MAX)
        )
        return [TagCount(row["tag"], row["tasks"]) for row in rows]

    async def tagged(self, user_id: UUID, tag: str, limit: int) -> Sequence[UUID]:
        """Read the ids of live tasks with the tag."""
        values = values_of(user_id, TaskFilter(tags=(tag,)))
        rows = await self._rows(select(tasks.c.id).where(*conditions(values)).limit(limit), **values)
        return [row["id"] for row in rows]

    async def stats(self, user_id: UUID, now: datetime, days: int) -> Stats:
        """Count live tasks by status, and the completed ones of the last days by their day."""
        live = (tasks.c.user_id == user_id, LIVE)
        seconds = func.extract("epoch", tasks.c.completed_at - tasks.c.created_at)
        counts = await self._rows(
            select(
                tasks.c.status,
                func.count().label("tasks"),
                func.count().filter(OVERDUE).label("overdue"),
                func.avg(seconds).label("average"),
            )
            .where(*live)
            .group_by(tasks.c.status),
            now=now,
        )
        first = func.date_trunc("day", func.timezone(users.c.timezone, literal(now))) - text(
            f"interval '{days - 1} days'"
        )
        by_day = await self._rows(
            select(_DAY.label("day"), func.count().label("tasks"))
            .select_from(tasks.join(users, users.c.id == tasks.c.user_id))
            .where(*live, tasks.c.status == TaskStatus.COMPLETED.value, first <= _DAY)
            .group_by(_DAY)
            .order_by(_DAY)
        )
        found = {row["status"]: row for row in counts}
        done = found.get(TaskStatus.COMPLETED.value)
        return Stats(
            by_status={
                status: found[status.value]["tasks"] if status.value in found else 0 for status in TaskStatus
            },
            overdue=sum(row["overdue"] for row in counts),
            completed={row["day"].date(): row["tasks"] for row in by_day},
            average_seconds=None if done is None else float(done["average"]),
        )

    async def activity(
        self, user_id: UUID, task_id: UUID, after: Position | None, limit: int
    ) -> Sequence[Activity] | None:
        """Read the ledger of a task in the order of time; None when there is no such task."""
        line = task_activity
        later = line.c.task_id == tasks.c.id
        if after is not None:
            later = and_(later, tuple_(line.c.at, line.c.id) > tuple_(literal(after.key), literal(after.id)))
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

    async def series_history(
        self, user_id: UUID, series_id: UUID, after: int, limit: int
    ) -> Sequence[Revision] | None:
        """Read the versions above `after`; None when there is no such series."""
        line = series_history
        its_lines = and_(line.c.series_id == series.c.id, line.c.version > after)
        rows = await self._rows(
            select(line)
            .select_from(series.outerjoin(line, its_lines))
            .where(series.c.id == series_id, series.c.user_id == user_id)
            .order_by(line.c.version)
            .limit(limit)
        )
        if not rows:
            return None
        return [_revision(row) for row in rows if row["version"] is not None]

    async def revisions(self, user_id: UUID, task_id: UUID) -> tuple[Task, Sequence[Revision]] | None:
        """Read a task with its whole history."""
        found = await self._views(VIEW.where(tasks.c.id == task_id, tasks.c.user_id == user_id))
        if not found:
            return None
        rows = await self._rows(
            select(task_history).where(task_history.c.task_id == task_id).order_by(task_history.c.version)
        )
        return found[0].task, [_revision(row) for row in rows]

    async def _page(
        self, statement: Direct, values: dict[str, Any], after: Position | None, limit: int, offset: int = 0
    ) -> Page:
        """Read a page of `task_pages`."""
        values |= {"limit": limit, "offset": offset}
        if after is not None:
            values |= {"after_key": after.key, "after_id": after.id}
        with storage_errors():
            async with self._engine.connect() as connection:
                rows = await statement.rows(connection, values)
        items = [row for row in rows if row["id"] is not None]
        return Page(
            [_view(row) for row in items],
            [Position(row["sort_key"], row["id"]) for row in items],
            _changes(rows[0]),
        )

    async def _views(self, query: Select[Any]) -> list[TaskView]:
        return [_view(row) for row in await self._rows(query)]

    async def _row(self, statement: Direct, **values: Any) -> Row | None:
        with storage_errors():
            async with self._engine.connect() as connection:
                return await statement.row(connection, values)

    async def _rows(self, query: Select[Any], **values: Any) -> Sequence[Row]:
        with storage_errors():
            async with self._engine.connect() as connection:
                rows: Sequence[Row] = (await connection.execute(query, values)).mappings().all()
                return rows


def _changes(row: Row) -> Changes:
    return Changes(row["changes"], row["epoch"])


def _revision(row: Row) -> Revision:
    return Revision(row["version"], row["at"], Actor.model_validate(row["actor"]), changes_of(row["changes"]))
