"""Snapshots for siblings and for rebuilds: one query each, however many tasks, reminders or tips a page holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Select, exists, or_, select, true
from sqlalchemy.ext.asyncio import AsyncEngine

from event_contracts.series import SeriesSnapshot
from event_contracts.tasks import TaskSnapshot
from event_contracts.values import Actor, ActorKind, Channel
from task_api.adapters.postgres.database import storage_errors
from task_api.adapters.postgres.rows import REMINDERS, Row, reminder_of, series_of, task_of
from task_api.adapters.postgres.tables import epoch, series, task_reminders, tasks, users
from task_api.application import announce
from task_api.application.ports import Owner
from task_api.application.read_snapshots import Contact, Page
from task_api.domain.task import Task

ASKED_FOR = Actor(kind=ActorKind.SERVICE, id="task-api")
"""The actor of a snapshot that no change caused."""

_EPOCH = epoch.c.value.label("epoch")
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


def with_reminders(row: Row) -> Task:
    """Give the task of a `tasks` row that the REMINDERS column came along with."""
    return task_of(row, tuple(reminder_of(item) for item in orjson.loads(row["reminders"])))


class PostgresSnapshots:
    """The port SnapshotReader on one engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._plain = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def epoch(self) -> int:
        """Read the epoch of the database."""
        (row,) = await self._rows(select(_EPOCH))
        return int(row["epoch"])

    async def task(self, task_id: UUID) -> TaskSnapshot | None:
        """Read a task, deleted ones included."""
        rows = await self._rows(_TASKS.add_columns(_EPOCH).join(epoch, true()).where(tasks.c.id == task_id))
        return _task_snapshot(rows[0]) if rows else None

    async def series(self, series_id: UUID) -> SeriesSnapshot | None:
        """Read a series with its tip."""
        rows = await self._rows(
            _SERIES.add_columns(_EPOCH).join(epoch, true()).where(series.c.id == series_id)
        )
        return _series_snapshot(rows[0]) if rows else None

    async def contact(self, user_id: UUID) -> Contact | None:
        """Read how a person is reached: by inbox and e-mail, in this order."""
        columns = (users.c.id, users.c.email, users.c.first_name, users.c.locale, users.c.timezone)
        for row in await self._rows(select(*columns).where(users.c.id == user_id)):
            channels = (Channel.INBOX, Channel.EMAIL)
            return Contact(
                row["id"], row["email"], row["first_name"], row["locale"], row["timezone"], channels
            )
        return None

    async def tasks(self, after: UUID | None, limit: int) -> Page[TaskSnapshot]:
        """Read the open tasks that have reminders or a series, in the order of their ids."""
        reminded = exists().where(task_reminders.c.task_id == tasks.c.id)
        page = (
            _TASKS.where(tasks.c.closed_by.is_(None), or_(tasks.c.series_id.is_not(None), reminded))
            .where(true() if after is None else tasks.c.id > after)
            .order_by(tasks.c.id)
            .limit(limit)
        )
        found, value = await self._page(page)
        return Page([_task_snapshot(row) for row in found], _continuation(found, limit), value)

    async def all_series(self, after: UUID | None, limit: int) -> Page[SeriesSnapshot]:
        """Read the series that have not ended, in the order of their ids."""
        page = (
            _SERIES.where(series.c.ended_at.is_(None))
            .where(true() if after is None else series.c.id > after)
            .order_by(series.c.id)
            .limit(limit)
        )
        found, value = await self._page(page)
        return Page([_series_snapshot(row) for row in found], _continuation(found, limit), value)

    async def _page(self, page: Select[Any]) -> tuple[list[Mapping[str, Any]], int]:
        """The rows of a page, and the epoch, which an empty page has too."""
        rows = page.subquery("page")
        query = select(_EPOCH, rows).select_from(epoch.outerjoin(rows, true())).order_by(rows.c.id)
        answer = await self._rows(query)
        return [row for row in answer if row["id"] is not None], int(answer[0]["epoch"])

    async def _rows(self, query: Select[Any]) -> list[Mapping[str, Any]]:
        with storage_errors():
            async with self._plain.connect() as connection:
                return list((await connection.execute(query)).mappings())


def _continuation(rows: list[Mapping[str, Any]], limit: int) -> UUID | None:
    return rows[-1]["id"] if len(rows) == limit else None


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
