"""Snapshots for siblings and for rebuilds: one query each, however many tasks, reminders or tips a page holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    Uuid,
    and_,
    exists,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from event_contracts.series import SeriesSnapshot
from event_contracts.tasks import TaskSnapshot
from event_contracts.values import Actor, ActorKind, Channel
from task_api.adapters.postgres.database import storage_errors
from task_api.adapters.postgres.rows import EPOCH, REMINDERS, Row, among, reminders_of, series_of, task_of
from task_api.adapters.postgres.tables import (
    epoch,
    series,
    task_activity,
    task_history,
    task_reminders,
    tasks,
    users,
)
from task_api.application import announce
from task_api.application.ports import Owner
from task_api.application.read_snapshots import AfterAnnouncement, Announced, Outcome, Page
from task_api.domain.task import Task

ASKED_FOR = Actor(kind=ActorKind.SERVICE, id="task-api")
"""The actor of a snapshot that no change caused."""

_ONE_EPOCH = select(epoch.c.value.label("epoch")).limit(1).subquery("one_epoch")
"""Limited although there is one: the planner, which has no statistics of so small a table, takes it for thousands."""
_OWNER = tuple(users.c[name].label(f"owner_{name}") for name in ("timezone", "day_start", "default_reminder"))
_TASKS = select(tasks, REMINDERS, *_OWNER, series.c.version.label("series_version")).select_from(
    tasks.join(users, users.c.id == tasks.c.user_id).outerjoin(series, series.c.id == tasks.c.series_id)
)
_TIP = (
    select(*(column.label(f"tip_{column.name}") for column in tasks.c))
    .where(tasks.c.series_id == series.c.id, tasks.c.closed_by.is_distinct_from("withdrawn"))
    .order_by(tasks.c.occurrence_key.desc())
    .limit(1)
    .lateral("tip")
)
_SERIES = select(series, *_TIP.c).select_from(series.outerjoin(_TIP, true()))
_OUTCOMES = literal_column(
    """
    coalesce((
        SELECT json_agg(json_build_object(
            'notification_id', told.detail ->> 'notification_id', 'channel', told.detail ->> 'channel',
            'kind', told.kind, 'attempt', told.detail -> 'attempt', 'reason', told.detail ->> 'reason',
            'at', told.at, 'read_at', seen.read_at, 'destination_id', told.detail ->> 'destination_id'
        ) ORDER BY told.at, told.id)
        FROM task_activity AS told
        LEFT JOIN notification_reads AS seen
            ON seen.user_id = told.user_id AND seen.notification_id = (told.detail ->> 'notification_id')::uuid
        WHERE told.task_id = said.task_id
            AND told.kind IN ('notification_delivered', 'notification_failed', 'notification_cancelled')
            AND told.detail ->> 'reminder_id' IS NOT DISTINCT FROM said.detail ->> 'reminder_id'
    ), '[]')::text
    """,
    Text,
).label("outcomes")


_AT_ID = tuple_(task_activity.c.at, task_activity.c.id)
_FIRED = select(
    task_activity.c.id,
    task_activity.c.task_id,
    task_activity.c.user_id,
    task_activity.c.at,
    task_activity.c.detail,
).where(task_activity.c.kind == literal_column("'reminder_fired'"))
# Noted with the instance before it; the task that was made is in the detail.
_GENERATED = select(
    task_activity.c.id,
    task_activity.c.detail["task_id"].astext.cast(Uuid).label("task_id"),
    task_activity.c.user_id,
    task_activity.c.at,
    task_activity.c.detail,
).where(task_activity.c.kind == literal_column("'occurrence_generated'"))


def with_reminders(row: Row) -> Task:
    """Give the task of a `tasks` row that the REMINDERS column came along with."""
    return task_of(row, reminders_of(row))


class PostgresSnapshots:
    """The port SnapshotReader on one engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._plain = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def epoch(self) -> int:
        """Read the epoch of the database."""
        (row,) = await self._rows(select(EPOCH))
        return int(row["epoch"])

    async def task(self, task_id: UUID) -> TaskSnapshot | None:
        """Read a task, deleted ones included."""
        found = await self._tasks_where(tasks.c.id == task_id)
        return found[0] if found else None

    async def some_tasks(self, task_ids: Collection[UUID]) -> list[TaskSnapshot]:
        """Read those of these tasks that there are, deleted ones included."""
        return await self._tasks_where(among(tasks.c.id, task_ids))

    async def series(self, series_id: UUID) -> SeriesSnapshot | None:
        """Read a series with its tip."""
        rows = await self._rows(_SERIES.add_columns(EPOCH).where(series.c.id == series_id))
        return _series_snapshot(rows[0]) if rows else None

    async def tasks(self, after: UUID | None, limit: int, since: datetime | None) -> Page[TaskSnapshot]:
        """Read tasks in the order of their ids; without `since` the open ones that have reminders or a series."""
        reminded = exists().where(task_reminders.c.task_id == tasks.c.id)
        wanted = (
            and_(tasks.c.closed_by.is_(None), or_(tasks.c.series_id.is_not(None), reminded))
            if since is None
            else tasks.c.id.in_(select(task_history.c.task_id).where(task_history.c.at >= since))
        )
        page = _TASKS.where(wanted, true() if after is None else tasks.c.id > after).order_by(tasks.c.id)
        found, more, value = await self._page(page, limit)
        return Page([_task_snapshot(row) for row in found], more, value)

    async def all_series(
        self, after: UUID | None, limit: int, since: datetime | None
    ) -> Page[SeriesSnapshot]:
        """Read series in the order of their ids; without `since` those that have not ended."""
        wanted = series.c.ended_at.is_(None) if since is None else series.c.updated_at >= since
        page = _SERIES.where(wanted, true() if after is None else series.c.id > after).order_by(series.c.id)
        found, more, value = await self._page(page, limit)
        return Page([_series_snapshot(row) for row in found], more, value)

    async def announcements(
        self, after: AfterAnnouncement | None, limit: int, since: datetime | None, *, occurrences: bool
    ) -> Page[Announced]:
        """Read the reminders that fired, and the occurrences that were made, in the order in which it happened."""
        kinds = (_FIRED, _GENERATED) if occurrences else (_FIRED,)
        last = None if after is None else tuple_(literal(after.fired_at), literal(after.id))
        said = union_all(
            *(
                kind.where(true() if since is None else task_activity.c.at >= since)
                .where(true() if last is None else last < _AT_ID)
                .order_by(task_activity.c.at, task_activity.c.id)
                .limit(limit)
                .subquery()
                .select()
                for kind in kinds
            )
        ).subquery("said")
        page = select(*said.c, _OUTCOMES).order_by(said.c.at, said.c.id)
        found, more, value = await self._page(page, limit, "at")
        return Page([_announced(row) for row in found], more, value)

    async def _tasks_where(self, wanted: ColumnElement[bool]) -> list[TaskSnapshot]:
        rows = await self._rows(_TASKS.add_columns(EPOCH).where(wanted))
        return [_task_snapshot(row) for row in rows]

    async def _page(
        self, page: Select[Any], limit: int, *order: str
    ) -> tuple[list[Mapping[str, Any]], bool, int]:
        """The rows of a page, whether there may be more, and the epoch, which an empty page has too."""
        rows = page.limit(limit).subquery("page")
        query = select(_ONE_EPOCH, rows).select_from(_ONE_EPOCH.outerjoin(rows, true()))
        answer = await self._rows(query.order_by(*(rows.c[name] for name in (*order, "id"))))
        found = [row for row in answer if row["id"] is not None]
        return found, len(found) == limit, int(answer[0]["epoch"])

    async def _rows(self, query: Select[Any]) -> list[Mapping[str, Any]]:
        with storage_errors():
            async with self._plain.connect() as connection:
                return list((await connection.execute(query)).mappings())


def _task_snapshot(row: Row) -> TaskSnapshot:
    owner = Owner(
        row["user_id"],
        row["owner_timezone"],
        row["owner_day_start"],
        row["owner_default_reminder"],
        row["epoch"],
    )
    return announce.task_snapshot(with_reminders(row), owner, row["series_version"], ASKED_FOR)


def _series_snapshot(row: Row) -> SeriesSnapshot:
    tip = {name.removeprefix("tip_"): value for name, value in row.items() if name.startswith("tip_")}
    newest = None if tip["id"] is None else task_of(tip)
    return announce.series_snapshot(series_of(row), newest, row["epoch"], ASKED_FOR)


def _announced(row: Row) -> Announced:
    detail = row["detail"]
    reminder = detail.get("reminder_id")
    return Announced(
        row["id"],
        None if reminder is None else UUID(reminder),
        detail.get("occurrence_key"),
        row["task_id"],
        row["user_id"],
        row["at"] if reminder is None else datetime.fromisoformat(detail["fire_at"]),
        row["at"],
        tuple(_outcome(item) for item in orjson.loads(row["outcomes"])),
    )


def _outcome(item: Row) -> Outcome:
    read_at, destination = item["read_at"], item["destination_id"]
    return Outcome(
        UUID(item["notification_id"]),
        Channel(item["channel"]),
        item["kind"].removeprefix("notification_"),
        int(item["attempt"] or 1),
        item["reason"],
        datetime.fromisoformat(item["at"]),
        None if read_at is None else datetime.fromisoformat(read_at),
        None if destination is None else UUID(destination),
    )
