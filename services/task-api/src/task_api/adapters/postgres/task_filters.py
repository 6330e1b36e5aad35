"""Which tasks a list has, as conditions of a statement.

A filter is taken apart into values with names. The names alone decide the statement's text, so that each text is put
together once and not for every request: that took as long as all else that a search did (bench/README.md).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Date,
    DateTime,
    Integer,
    SmallInteger,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    or_,
)
from sqlalchemy.types import TypeEngine

from event_contracts.values import Priority
from task_api.adapters.postgres.search_words import query_of, words_of
from task_api.adapters.postgres.tables import tasks
from task_api.application.ports import TaskFilter

NEVER: ColumnElement[Any] = literal_column("'infinity'::timestamptz", tasks.c.due_instant.type)
DUE: ColumnElement[Any] = func.coalesce(tasks.c.due_instant, NEVER)
"""A task's due as the index has it; without one it is due never."""
LIVE = tasks.c.deleted_at.is_(None)
_IN_BIN = and_(tasks.c.deleted_at.is_not(None), tasks.c.purged_at.is_(None))
_RANKS = {priority: rank for rank, priority in enumerate(Priority, start=1)}
_INSTANT = DateTime(timezone=True)


def _overdue() -> ColumnElement[bool]:
    """Open and due before `now`; an all-day task once its day is over where it was set."""
    task, now = tasks.c, bindparam("now", type_=_INSTANT)
    today = cast(func.timezone(task.timezone, now), Date)
    return and_(
        task.closed_by.is_(None),
        task.due_instant < now,
        or_(task.due_at.is_not(None), task.due_date < today),
    )


OVERDUE = _overdue()


def _equal(column: ColumnElement[Any], name: str, kind: TypeEngine[Any]) -> ColumnElement[bool]:
    return column == bindparam(name, type_=kind)


def _any(column: ColumnElement[Any], name: str, kind: TypeEngine[Any]) -> ColumnElement[bool]:
    return column == any_(bindparam(name, type_=ARRAY(kind)))


_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "user_id": _equal(tasks.c.user_id, "user_id", Uuid()),
    "status": _equal(tasks.c.status, "status", Text()),
    "statuses": _any(tasks.c.status, "statuses", Text()),
    # By its rank, which an index has.
    "rank": _equal(tasks.c.priority_rank, "rank", SmallInteger()),
    "ranks": _any(tasks.c.priority_rank, "ranks", SmallInteger()),
    "tags": tasks.c.tags.contains(bindparam("tags", type_=ARRAY(Text))),
    "series_id": _equal(tasks.c.series_id, "series_id", Uuid()),
    "number": _equal(tasks.c.number, "number", Integer()),
    # As the index has it, so that what is out of the range is not read; nothing without a due is in one.
    "due_before": bindparam("due_before", type_=_INSTANT) > DUE,
    "due_after": and_(bindparam("due_after", type_=_INSTANT) <= DUE, DUE < NEVER),
    "updated_since": tasks.c.updated_at >= bindparam("updated_since", type_=_INSTANT),
    "now": OVERDUE,
}
_SEARCHED = frozenset({"words", "beginning"})


def values_of(user_id: UUID, only: TaskFilter) -> dict[str, Any]:
    """Give the values that one user's tasks are compared with, by the names that `conditions` knows."""
    values: dict[str, Any] = {"user_id": user_id}
    if only.status:
        values |= _one_or_many("status", "statuses", [str(status) for status in only.status])
    if only.priority:
        values |= _one_or_many("rank", "ranks", [_RANKS[priority] for priority in only.priority])
    if only.tags:
        values["tags"] = list(only.tags)
    if only.words is not None:
        values |= words_of(only.words)
    given = {
        "series_id": only.series_id,
        "number": only.number,
        "due_before": only.due_before,
        "due_after": only.due_after,
        "updated_since": only.updated_since,
        "now": only.overdue_at,
    }
    return values | {name: value for name, value in given.items() if value is not None}


def _one_or_many(one: str, many: str, values: list[Any]) -> dict[str, Any]:
    return {one: values[0]} if len(values) == 1 else {many: values}


def conditions(names: Collection[str], *, deleted: bool = False) -> list[ColumnElement[bool]]:
    """Give the conditions on `tasks` whose values have these names; `deleted` are the tasks in the bin."""
    found = [_IN_BIN if deleted else LIVE]
    found += [condition for name, condition in _CONDITIONS.items() if name in names]
    if _SEARCHED & set(names):
        found.append(tasks.c.search.op("@@")(query_of(names)))
    return found
