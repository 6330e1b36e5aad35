"""From task-api's snapshots to what is kept of them."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from event_contracts.series import SeriesSnapshot
from event_contracts.tasks import ReminderDefinition, TaskSnapshot
from recurrence.domain.position import KnownSeries, Position
from recurrence.domain.schedule import AHEAD_OF_A_REMINDER
from recurrence.domain.wall_time import resolve


def position_of(task: TaskSnapshot) -> Position | None:
    """Give the position of an instance; None for a task that belongs to no series."""
    if task.series_id is None or task.series_version is None or task.occurrence_key is None:
        return None
    return Position(
        task_id=task.task_id,
        series_id=task.series_id,
        user_id=task.user_id,
        epoch=task.epoch,
        version=task.version,
        series_version=task.series_version,
        occurrence_key=task.occurrence_key,
        is_open=task.is_open,
        closed_by=task.closed_by,
        closed_version=task.closed_version,
        closed_at=task.closed_at,
        ahead=_ahead(task),
    )


def _ahead(task: TaskSnapshot) -> timedelta:
    """How long before its time the next one is to be there: at it when nothing reminds of it."""
    if not task.reminders:
        return timedelta()
    leads = [lead for reminder in task.reminders if (lead := _lead(task, reminder)) is not None]
    return max([timedelta(), *leads]) + AHEAD_OF_A_REMINDER


def _lead(task: TaskSnapshot, reminder: ReminderDefinition) -> timedelta | None:
    """How long before the due it fires; an all-day task counts from the day's begin, which is before its due."""
    if reminder.offset is not None:
        return reminder.offset
    due = task.due_at
    if due is None and task.due_date is not None:
        due = resolve(datetime.combine(task.due_date, time.min), ZoneInfo(task.timezone)).utc
    return None if due is None or reminder.at is None else due - reminder.at


def known(series: SeriesSnapshot) -> KnownSeries:
    """Give what is kept of a series, its tip included."""
    return KnownSeries(
        series_id=series.series_id,
        user_id=series.user_id,
        epoch=series.epoch,
        version=series.version,
        rrule=series.rrule,
        start=series.start,
        timezone=series.timezone,
        policies=series.policies,
        exdates=series.exdates,
        paused=series.paused,
        ended=series.ended,
        resumed_at=series.resumed_at,
        tip=_tip_of(series),
    )


def _tip_of(series: SeriesSnapshot) -> Position | None:
    tip = series.tip
    if tip is None:
        return None
    return Position(
        task_id=tip.task_id,
        series_id=series.series_id,
        user_id=series.user_id,
        epoch=series.epoch,
        version=tip.version,
        series_version=series.version,
        occurrence_key=tip.occurrence_key,
        is_open=tip.is_open,
        closed_by=tip.closed_by,
        closed_version=tip.closed_version,
        closed_at=tip.closed_at,
    )
