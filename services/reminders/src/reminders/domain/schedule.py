"""When a reminder fires. Wall-clock arithmetic in the task's zone, instants out; time is always passed in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from event_contracts.tasks import ReminderDefinition, TaskSnapshot


def due_instant(task: TaskSnapshot) -> datetime | None:
    """The instant a task is due: `due_at`, or `due_date` at the user's `day_start` in the task's zone; UTC or None.

    A wall-clock time that the clocks leave out moves forward by the gap, one that comes twice is its first coming
    (RFC 5545, 3.3.5).
    """
    if task.due_at is not None:
        return task.due_at
    if task.due_date is None:
        return None
    return _at_wall_clock(datetime.combine(task.due_date, task.day_start), task.timezone)


def fire_time(reminder: ReminderDefinition, task: TaskSnapshot) -> datetime | None:
    """When `reminder` fires, UTC: snoozed, absolute, or that long before due; None without a due to count from.

    Whole days of an offset are wall-clock days: "a day before" a Monday nine o'clock is Sunday nine o'clock, also
    when the clocks change in between. What is left of the offset is exact.
    """
    if reminder.snoozed_until is not None:
        return reminder.snoozed_until
    if reminder.at is not None:
        return reminder.at
    due = due_instant(task)
    if due is None or reminder.offset is None:
        return None
    days, rest = divmod(reminder.offset, timedelta(days=1))
    if days:
        wall = due.astimezone(ZoneInfo(task.timezone)).replace(tzinfo=None) - timedelta(days=days)
        due = _at_wall_clock(wall, task.timezone)
    return due - rest


def missed(fire_at: datetime, set_at: datetime, due: datetime | None) -> bool:
    """Whether a reminder was already past when it was set, so that it does not fire.

    Compared with the commit time of the change that set it, never with a consumer's clock: a reminder that became
    past while the system was down was not. One for a task that was not yet due when it was set fires once, late.
    """
    return fire_at <= set_at and (due is None or due <= set_at)


def _at_wall_clock(wall: datetime, zone: str) -> datetime:
    return wall.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)
