"""Rows to entities. Reminders come along with their task as one JSON array, so that a page of tasks is one query."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ARRAY, ColumnElement, Label, Text, Uuid, any_, literal, literal_column, select

from event_contracts.series import Anchor, DstGap, MonthEnd, Overdue, PileUp, RecurrencePolicies
from event_contracts.values import Channel, ClosedBy, Priority, TaskStatus
from task_api.adapters.postgres.tables import epoch
from task_api.adapters.postgres.tables import series as series_table
from task_api.application.ports import Owner
from task_api.domain.series import Recurrence, Series
from task_api.domain.task import Change, Reminder, Task

# Looking a value up takes a tenth of the time that calling its enumeration does, and a page has hundreds.
_STATUSES = {member.value: member for member in TaskStatus}
_PRIORITIES = {member.value: member for member in Priority}
_CLOSED_BY = {member.value: member for member in ClosedBy}
_CHANNELS = {member.value: member for member in Channel}

Row = Mapping[Any, Any]
"""A row by its columns' names."""


def json_text(value: Any) -> str:
    """Give the JSON text of a value for a jsonb column."""
    return orjson.dumps(value).decode()


REMINDERS: Label[str] = literal_column(
    """
    coalesce((
        SELECT json_agg(json_build_object(
            'id', r.id, 'offset', extract(epoch FROM r."offset"), 'at', r.at, 'channels', r.channels,
            'set_at', r.set_at, 'snoozed_until', r.snoozed_until, 'acknowledged_at', r.acknowledged_at,
            'fired_for', r.fired_for, 'scheduled_for', r.scheduled_for
        ) ORDER BY r.position)
        FROM task_reminders AS r WHERE r.task_id = tasks.id
    ), '[]')::text
    """,
    Text,
).label("reminders")
"""A column that holds a task's reminders in their order, for `task_of`."""

EPOCH = select(epoch.c.value).scalar_subquery().label("epoch")
"""A column that holds the database's epoch, for `owner_of`."""


def among(column: ColumnElement[UUID], ids: Collection[UUID]) -> ColumnElement[bool]:
    """Whether a column is one of some ids, with one parameter however many they are."""
    return column == any_(literal(list(ids), ARRAY(Uuid)))


RECURRENCE_COLUMNS = tuple(
    series_table.c[name].label(f"series_{name}")
    for name in ("rrule", "anchor", "month_end", "overdue", "dst_gap", "pile_up", "ended_at")
)
"""The columns of a series that is joined to its task, for `joined_recurrence`."""


def _instant(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value).astimezone(UTC)


def reminder_of(item: Mapping[str, Any]) -> Reminder:
    """Give the reminder of one element of the REMINDERS array; its offset is in seconds."""
    offset = item["offset"]
    set_at = _instant(item["set_at"])
    assert set_at is not None  # noqa: S101 - the column is not null
    return Reminder(
        id=UUID(item["id"]),
        set_at=set_at,
        offset=None if offset is None else timedelta(seconds=float(offset)),
        at=_instant(item["at"]),
        channels=tuple(_CHANNELS[channel] for channel in item["channels"]),
        snoozed_until=_instant(item["snoozed_until"]),
        acknowledged_at=_instant(item["acknowledged_at"]),
        fired_for=_instant(item["fired_for"]),
        scheduled_for=_instant(item["scheduled_for"]),
    )


def reminders_of(row: Row) -> tuple[Reminder, ...]:
    """Give the reminders of a row that has the column REMINDERS."""
    kept = row["reminders"]
    return () if kept == "[]" else tuple(reminder_of(item) for item in orjson.loads(kept))


def changes_of(stored: Mapping[str, Mapping[str, Any]]) -> dict[str, Change]:
    """Give the field changes of a `task_history` row."""
    return {name: Change(change["old"], change["new"]) for name, change in stored.items()}


def task_of(row: Row, reminders: tuple[Reminder, ...] = ()) -> Task:
    """Give the task of a `tasks` row."""
    return Task(
        id=row["id"],
        user_id=row["user_id"],
        number=row["number"],
        version=row["version"],
        title=row["title"],
        timezone=row["timezone"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        description=row["description"],
        status=_STATUSES[row["status"]],
        priority=_PRIORITIES[row["priority"]],
        tags=tuple(row["tags"]),
        due_at=row["due_at"],
        due_date=row["due_date"],
        closed_by=None if row["closed_by"] is None else _CLOSED_BY[row["closed_by"]],
        closed_version=row["closed_version"],
        closed_at=row["closed_at"],
        completed_at=row["completed_at"],
        metadata=row["metadata"],
        series_id=row["series_id"],
        occurrence_key=row["occurrence_key"],
        predecessor_task_id=row["predecessor_task_id"],
        deleted_at=row["deleted_at"],
        reminders=reminders,
    )


def owner_of(row: Row, prefix: str = "") -> Owner:
    """Give the owner of a `users` row, or of its columns under a prefix, with EPOCH beside."""
    return Owner(
        row[f"{prefix}id"],
        row[f"{prefix}timezone"],
        row[f"{prefix}day_start"],
        row[f"{prefix}default_reminder"],
        row["epoch"],
    )


def recurrence_of(row: Row, prefix: str = "") -> Recurrence:
    """Give the rule and policies of a `series` row, or of its columns joined under a prefix."""
    return Recurrence(
        rrule=row[f"{prefix}rrule"],
        policies=RecurrencePolicies(
            anchor=Anchor(row[f"{prefix}anchor"]),
            month_end=MonthEnd(row[f"{prefix}month_end"]),
            overdue=Overdue(row[f"{prefix}overdue"]),
            dst_gap=DstGap(row[f"{prefix}dst_gap"]),
            pile_up=PileUp(row[f"{prefix}pile_up"]),
        ),
    )


def joined_recurrence(row: Row) -> Recurrence | None:
    """Give the recurrence of a row with RECURRENCE_COLUMNS; None when the task has no series, or one that has ended."""
    if row["series_rrule"] is None or row["series_ended_at"] is not None:
        return None
    return recurrence_of(row, "series_")


def series_of(row: Row) -> Series:
    """Give the series of a `series` row."""
    return Series(
        id=row["id"],
        user_id=row["user_id"],
        version=row["version"],
        recurrence=recurrence_of(row),
        timezone=row["timezone"],
        start=row["start_local"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        exdates=tuple(row["exdates"]),
        paused_at=row["paused_at"],
        resumed_at=row["resumed_at"],
        ended_at=row["ended_at"],
    )
