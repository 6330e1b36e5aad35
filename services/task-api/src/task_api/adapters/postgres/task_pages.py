"""The statements of lists and searches: which ids a page has, then what is shown of those tasks, all in one.

Each is put together once for a set of names of `task_filters`, and then asked in the driver's own form.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    Integer,
    Select,
    Text,
    Uuid,
    bindparam,
    cast,
    func,
    select,
    true,
    tuple_,
)

from task_api.adapters.postgres.direct import Direct
from task_api.adapters.postgres.rows import EPOCH, RECURRENCE_COLUMNS, REMINDERS
from task_api.adapters.postgres.search_words import query_of
from task_api.adapters.postgres.tables import series, tasks, user_changes
from task_api.adapters.postgres.task_filters import DUE, conditions
from task_api.application.ports import Order, Sort

SEARCHED = 1_000
"""How many of the newest tasks that hold the words are ranked: what a search costs has a bound."""
_KEPT = 256
"""How many statements of each kind are kept; apps ask for a few dozen."""
_GENERATED = frozenset({"search", "title_key", "priority_rank", "due_instant", "purged_at"})
_SHOWN = tuple(column for column in tasks.c if column.name not in _GENERATED)
_COLUMNS = select(*_SHOWN, REMINDERS, *RECURRENCE_COLUMNS)
VIEW = _COLUMNS.select_from(tasks.outerjoin(series, series.c.id == tasks.c.series_id))
"""What is shown of a task, to be narrowed down."""
COUNTER = select(
    func.coalesce(
        select(user_changes.c.number)
        .where(user_changes.c.user_id == bindparam("user_id", type_=Uuid))
        .scalar_subquery(),
        0,
    ).label("changes"),
    EPOCH,
).subquery("counter")
"""How often the tasks of `user_id` were changed, and the epoch."""
_KEYS: dict[Sort, ColumnElement[Any]] = {
    Sort.CREATED_AT: tasks.c.created_at,
    Sort.UPDATED_AT: tasks.c.updated_at,
    Sort.DUE: DUE,
    Sort.PRIORITY: tasks.c.priority_rank,
    Sort.TITLE: tasks.c.title_key,
}
_LIMIT, _OFFSET = bindparam("limit", type_=Integer), bindparam("offset", type_=Integer)
_AFTER_ID = bindparam("after_id", type_=Uuid)


@lru_cache(_KEPT)
def listed(names: frozenset[str], order: Order, *, deleted: bool, later: bool, skipping: bool) -> Direct:
    """Give the statement of a list, `later` than `after_key` and `after_id` or `skipping` the first `offset`; it takes
    a `limit`."""
    key = _KEYS[order.sort]
    # A cursor keeps a due as text: infinity has no place in a datetime.
    told = cast(key, Text) if order.sort is Sort.DUE else key
    page = select(tasks.c.id, told.label("sort_key"), key.label("order_key")).where(
        *conditions(names, deleted=deleted)
    )
    if later:
        bound = cast(bindparam("after_key", type_=told.type), key.type)
        here, there = tuple_(key, tasks.c.id), tuple_(bound, _AFTER_ID)
        page = page.where(here < there if order.descending else here > there)
    ends = (key.desc(), tasks.c.id.desc()) if order.descending else (key, tasks.c.id)
    page = page.order_by(*ends).limit(_LIMIT)
    return _shown(page.offset(_OFFSET) if skipping else page, descending=order.descending)


@lru_cache(_KEPT)
def found(names: frozenset[str], *, later: bool) -> Direct:
    """Give the statement of a search, the best first, `later` than `after_key` and `after_id`; it takes a `limit`."""
    query = query_of(names)
    hits = (
        select(tasks.c.id, func.ts_rank_cd(tasks.c.search, query).label("rank"))
        .where(*conditions(names))
        .order_by(tasks.c.created_at.desc(), tasks.c.id.desc())
        .limit(SEARCHED)
        .subquery("hits")
    )
    rank = cast(hits.c.rank, Float(53))
    page = select(hits.c.id, rank.label("sort_key"), rank.label("order_key"))
    if later:
        bound = bindparam("after_key", type_=Float(53))
        page = page.where(tuple_(rank, hits.c.id) < tuple_(bound, _AFTER_ID))
    return _shown(page.order_by(rank.desc(), hits.c.id.desc()).limit(_LIMIT), descending=True)


@lru_cache(_KEPT)
def counted(names: frozenset[str], *, deleted: bool) -> Direct:
    """Give the statement that counts what a list has, as `total`."""
    return Direct(
        select(func.count().label("total")).select_from(tasks).where(*conditions(names, deleted=deleted))
    )


def _shown(page: Select[Any], *, descending: bool) -> Direct:
    """The tasks that `page` names by id, sort_key and order_key, with the counter of changes, all as of one moment;
    an empty page has the counter too."""
    named = page.subquery("page")
    ends: list[ColumnElement[Any]] = [named.c.order_key, named.c.id]
    return Direct(
        _COLUMNS.add_columns(named.c.sort_key, COUNTER.c.changes, COUNTER.c.epoch)
        .select_from(
            COUNTER.outerjoin(named, true())
            .outerjoin(tasks, tasks.c.id == named.c.id)
            .outerjoin(series, series.c.id == tasks.c.series_id)
        )
        .order_by(*(end.desc() if descending else end for end in ends))
    )
