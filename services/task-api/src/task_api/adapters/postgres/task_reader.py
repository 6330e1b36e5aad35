"""Reads for people: one query each, whatever a page holds, and always of one user."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Date,
    Float,
    Select,
    SmallInteger,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.types import TypeEngine

from event_contracts.values import Actor, Priority, TaskStatus
from task_api.adapters.postgres.database import storage_errors
from task_api.adapters.postgres.direct import Direct
from task_api.adapters.postgres.rows import (
    EPOCH,
    RECURRENCE_COLUMNS,
    REMINDERS,
    Row,
    changes_of,
    joined_recurrence,
    reminder_of,
    task_of,
)
from task_api.adapters.postgres.search_words import query_of
from task_api.adapters.postgres.tables import (
    series,
    series_history,
    task_activity,
    task_history,
    tasks,
    user_changes,
    users,
)
from task_api.application.ports import (
    Activity,
    Changes,
    Order,
    Page,
    Position,
    Revision,
    Sort,
    Stats,
    TagCount,
    TaskFilter,
    TaskView,
)
from task_api.domain.task import Task

SEARCHED = 1_000
"""How many of the newest tasks that hold the words are ranked: what a search costs has a bound."""
_TAGS_MAX = 1_000
_GENERATED = frozenset({"search", "title_key", "priority_rank", "due_instant", "purged_at"})
_SHOWN = tuple(column for column in tasks.c if column.name not in _GENERATED)
# What never changes is put together once: SQLAlchemy takes longer to build a statement than PostgreSQL to answer it.
_COLUMNS = select(*_SHOWN, REMINDERS, *RECURRENCE_COLUMNS)
_VIEW = _COLUMNS.select_from(tasks.outerjoin(series, series.c.id == tasks.c.series_id))
_COUNTER = select(
    func.coalesce(
        select(user_changes.c.number)
        .where(user_changes.c.user_id == bindparam("user_id", type_=Uuid))
        .scalar_subquery(),
        0,
    ).label("changes"),
    EPOCH,
).subquery("counter")
_COUNTED = Direct(select(_COUNTER))
_LIVE_TASK = Direct(
    _VIEW.where(
        tasks.c.id == bindparam("task_id", type_=Uuid),
        tasks.c.user_id == bindparam("user_id", type_=Uuid),
        tasks.c.deleted_at.is_(None),
    )
)
_NEVER: ColumnElement[Any] = literal_column("'infinity'::timestamptz", tasks.c.due_instant.type)
_RANKS = {priority: rank for rank, priority in enumerate(Priority, start=1)}
_KEYS: dict[Sort, ColumnElement[Any]] = {
    Sort.CREATED_AT: tasks.c.created_at,
    Sort.UPDATED_AT: tasks.c.updated_at,
    Sort.DUE: func.coalesce(tasks.c.due_instant, _NEVER),
    Sort.PRIORITY: tasks.c.priority_rank,
    Sort.TITLE: tasks.c.title_key,
}
_DAY = func.date_trunc("day", func.timezone(users.c.timezone, tasks.c.completed_at))


def _view(row: Row) -> TaskView:
    reminders = tuple(reminder_of(item) for item in orjson.loads(row["reminders"]))
    return TaskView(task_of(row, reminders), joined_recurrence(row))


def _any(column: ColumnElement[Any], values: Sequence[Any], kind: TypeEngine[Any]) -> ColumnElement[bool]:
    if len(values) == 1:
        return column == literal(values[0], kind)
    return column == any_(literal(values, ARRAY(kind)))


def _conditions(user_id: UUID, only: TaskFilter) -> list[ColumnElement[bool]]:
    task = tasks.c
    conditions = [
        task.user_id == user_id,
        task.deleted_at.is_not(None) if only.deleted else task.deleted_at.is_(None),
    ]
    if only.deleted:
        conditions.append(task.purged_at.is_(None))
    if only.status:
        conditions.append(_any(task.status, [str(status) for status in only.status], Text()))
    if only.priority:
        # By its rank, which an index has.
        ranks = [_RANKS[priority] for priority in only.priority]
        conditions.append(_any(task.priority_rank, ranks, SmallInteger()))
    if only.tags:
        conditions.append(task.tags.contains(list(only.tags)))
    if only.series_id is not None:
        conditions.append(task.series_id == only.series_id)
    if only.number is not None:
        conditions.append(task.number == only.number)
    # As the index has it, so that what is out of the range is not read; nothing without a due is in one.
    due = _KEYS[Sort.DUE]
    if only.due_before is not None:
        conditions.append(due < only.due_before)
    if only.due_after is not None:
        conditions += [due >= only.due_after, due < _NEVER]
    if only.updated_since is not None:
        conditions.append(task.updated_at >= only.updated_since)
    if only.overdue_at is not None:
        conditions.append(_overdue(only.overdue_at))
    if only.words is not None:
        conditions.append(task.search.op("@@")(query_of(only.words)))
    return conditions


def _overdue(now: datetime) -> ColumnElement[bool]:
    """Open and due before now; an all-day task once its day is over where it was set."""
    task = tasks.c
    today = cast(func.timezone(task.timezone, literal(now)), Date)
    return and_(
        task.closed_by.is_(None),
        task.due_instant < now,
        or_(task.due_at.is_not(None), task.due_date < today),
    )


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
            _VIEW.where(
                tasks.c.predecessor_task_id == task_id,
                tasks.c.user_id == user_id,
                tasks.c.deleted_at.is_(None),
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
        key = _KEYS[order.sort]
        page = select(tasks.c.id, _told(order.sort).label("sort_key"), key.label("order_key")).where(
            *_conditions(user_id, only)
        )
        if after is not None:
            here, there = tuple_(key, tasks.c.id), tuple_(_bound(order.sort, after), literal(after.id))
            page = page.where(here < there if order.descending else here > there)
        ends = (key.desc(), tasks.c.id.desc()) if order.descending else (key, tasks.c.id)
        page = page.order_by(*ends).limit(limit).offset(offset or None)
        return await self._page(user_id, page, descending=order.descending)

    async def search(
        self, user_id: UUID, words: str, tags: Sequence[str], after: Position | None, limit: int
    ) -> Page:
        """Read up to `limit` of the newest thousand tasks that hold the words, the best first."""
        query = query_of(words)
        hits = (
            select(tasks.c.id, func.ts_rank_cd(tasks.c.search, query).label("rank"))
            .where(*_conditions(user_id, TaskFilter(tags=tuple(tags))), tasks.c.search.op("@@")(query))
            .order_by(tasks.c.created_at.desc(), tasks.c.id.desc())
            .limit(SEARCHED)
            .subquery("hits")
        )
        rank = cast(hits.c.rank, Float(53))
        page = (
            select(hits.c.id, rank.label("sort_key"), rank.label("order_key"))
            .order_by(rank.desc(), hits.c.id.desc())
            .limit(limit)
        )
        if after is not None:
            page = page.where(
                tuple_(rank, hits.c.id) < tuple_(literal(after.key, Float(53)), literal(after.id))
            )
        return await self._page(user_id, page, descending=True)

    async def total(self, user_id: UUID, only: TaskFilter) -> int:
        """Count what the filter lets through."""
        (row,) = await self._rows(
            select(func.count().label("total")).select_from(tasks).where(*_conditions(user_id, only))
        )
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
            .where(tasks.c.user_id == user_id, tasks.c.deleted_at.is_(None))
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
        rows = await self._rows(
            select(tasks.c.id).where(*_conditions(user_id, TaskFilter(tags=(tag,)))).limit(limit)
        )
        return [row["id"] for row in rows]

    async def stats(self, user_id: UUID, now: datetime, days: int) -> Stats:
        """Count live tasks by status, and the completed ones of the last days by their day."""
        live = (tasks.c.user_id == user_id, tasks.c.deleted_at.is_(None))
        seconds = func.extract("epoch", tasks.c.completed_at - tasks.c.created_at)
        counts = await self._rows(
            select(
                tasks.c.status,
                func.count().label("tasks"),
                func.count().filter(_overdue(now)).label("overdue"),
                func.avg(seconds).label("average"),
            )
            .where(*live)
            .group_by(tasks.c.status)
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
        found = await self._views(_VIEW.where(tasks.c.id == task_id, tasks.c.user_id == user_id))
        if not found:
            return None
        rows = await self._rows(
            select(task_history).where(task_history.c.task_id == task_id).order_by(task_history.c.version)
        )
        return found[0].task, [_revision(row) for row in rows]

    async def _page(self, user_id: UUID, page: Select[Any], *, descending: bool) -> Page:
        """The tasks that `page` names by id, sort_key and order_key, with the counter of changes, all as of one moment;
        an empty page has the counter too."""
        named = page.subquery("page")
        ends: list[ColumnElement[Any]] = [named.c.order_key, named.c.id]
        rows = await self._rows(
            _COLUMNS.add_columns(named.c.sort_key, _COUNTER.c.changes, _COUNTER.c.epoch)
            .select_from(
                _COUNTER.outerjoin(named, true())
                .outerjoin(tasks, tasks.c.id == named.c.id)
                .outerjoin(series, series.c.id == tasks.c.series_id)
            )
            .order_by(*(end.desc() if descending else end for end in ends)),
            user_id=user_id,
        )
        items = [row for row in rows if row["id"] is not None]
        return Page(
            [_view(row) for row in items],
            [Position(row["sort_key"], row["id"]) for row in items],
            _changes(rows[0]),
        )

    async def _views(self, query: Select[Any], **values: UUID) -> list[TaskView]:
        return [_view(row) for row in await self._rows(query, **values)]

    async def _row(self, statement: Direct, **values: UUID) -> Row | None:
        with storage_errors():
            async with self._engine.connect() as connection:
                return await statement.row(connection, values)

    async def _rows(self, query: Select[Any], **values: UUID) -> Sequence[Row]:
        with storage_errors():
            async with self._engine.connect() as connection:
                rows: Sequence[Row] = (await connection.execute(query, values)).mappings().all()
                return rows


def _changes(row: Row) -> Changes:
    return Changes(row["changes"], row["epoch"])


def _told(sort: Sort) -> ColumnElement[Any]:
    """The sort key as a cursor keeps it: infinity has no place in a datetime, so the due is kept as text."""
    return cast(_KEYS[sort], Text) if sort is Sort.DUE else _KEYS[sort]


def _bound(sort: Sort, after: Position) -> ColumnElement[Any]:
    if sort is Sort.DUE:
        return cast(literal(str(after.key), Text), tasks.c.due_instant.type)
    return literal(after.key, _KEYS[sort].type)


def _revision(row: Row) -> Revision:
    return Revision(row["version"], row["at"], Actor.model_validate(row["actor"]), changes_of(row["changes"]))
