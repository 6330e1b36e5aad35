"""Rows to snapshots, the one mapping there is: for events, for siblings' questions and for rebuilds.

The read models take one query each, however many tasks or reminders a page holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, exists, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from event_contracts.series import RecurrencePolicies, SeriesSnapshot, SeriesTip
from event_contracts.tasks import FieldChange, ReminderDefinition, TaskSnapshot
from event_contracts.values import Actor, ActorKind, ClosedBy
from task_api.adapters.postgres.tables import epoch, series, task_reminders, tasks, users
from task_api.application.read_snapshots import Contact, Page

_ASKED_FOR = Actor(kind=ActorKind.SERVICE, id="task-api")
"""The actor of a snapshot that nobody's change caused."""


def reminder_definition(row: Mapping[str, Any]) -> ReminderDefinition:
    """Give the reminder of a `task_reminders` row; `offset` may also be seconds, as JSON has no interval."""
    offset = row["offset"]
    return ReminderDefinition(
        reminder_id=row["id"],
        offset=offset if offset is None or isinstance(offset, timedelta) else timedelta(seconds=float(offset)),
        at=row["at"],
        channels=tuple(row["channels"]),
        set_at=row["set_at"],
        snoozed_until=row["snoozed_until"],
        acknowledged_at=row["acknowledged_at"],
        fired_for=row["fired_for"],
    )


def task_snapshot(
    task: Mapping[str, Any],
    reminders: Sequence[Mapping[str, Any]],
    *,
    epoch: int,
    day_start: time,
    series_version: int | None,
    actor: Actor = _ASKED_FOR,
    changes: Mapping[str, FieldChange] | None = None,
) -> TaskSnapshot:
    """Give the snapshot of a `tasks` row with its `task_reminders` rows in their order.

    `day_start` is the owner's; `series_version` that of the task's series, None without one. `changes` and `actor`
    belong to the change that is being announced and stay away from a snapshot that was asked for.
    """
    return TaskSnapshot(
        task_id=task["id"],
        user_id=task["user_id"],
        number=task["number"],
        version=task["version"],
        epoch=epoch,
        title=task["title"],
        description=task["description"],
        status=task["status"],
        priority=task["priority"],
        tags=tuple(task["tags"]),
        closed_by=task["closed_by"],
        closed_version=task["closed_version"],
        closed_at=task["closed_at"],
        due_at=task["due_at"],
        due_date=task["due_date"],
        timezone=task["timezone"],
        day_start=day_start,
        reminders=tuple(reminder_definition(reminder) for reminder in reminders),
        series_id=task["series_id"],
        series_version=series_version,
        occurrence_key=task["occurrence_key"],
        predecessor_task_id=task["predecessor_task_id"],
        created_at=task["created_at"],
        updated_at=task["updated_at"],
        deleted_at=task["deleted_at"],
        changes=dict(changes or {}),
        actor=actor,
    )


def series_tip(task: Mapping[str, Any]) -> SeriesTip:
    """Give the tip that a `tasks` row is to its series."""
    return SeriesTip(
        task_id=task["id"],
        version=task["version"],
        occurrence_key=task["occurrence_key"],
        is_open=task["closed_by"] is None,
        closed_by=task["closed_by"],
        closed_at=task["closed_at"],
        closed_version=task["closed_version"],
    )


def series_snapshot(
    row: Mapping[str, Any], tip: SeriesTip | None, *, epoch: int, actor: Actor = _ASKED_FOR
) -> SeriesSnapshot:
    """Give the snapshot of a `series` row with its tip, the open or last closed instance."""
    return SeriesSnapshot(
        series_id=row["id"],
        user_id=row["user_id"],
        version=row["version"],
        epoch=epoch,
        rrule=row["rrule"],
        policies=RecurrencePolicies(
            anchor=row["anchor"],
            month_end=row["month_end"],
            overdue=row["overdue"],
            dst_gap=row["dst_gap"],
            pile_up=row["pile_up"],
        ),
        timezone=row["timezone"],
        start=row["start_local"],
        exdates=tuple(row["exdates"]),
        paused=row["paused_at"] is not None,
        resumed_at=row["resumed_at"],
        ended=row["ended_at"] is not None,
        tip=tip,
        updated_at=row["updated_at"],
        actor=actor,
    )
