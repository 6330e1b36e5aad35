"""Does a notification still matter? Asked right before each send, of the task as it stands at that moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from event_contracts.tasks import ReminderDefinition, TaskSnapshot
from event_contracts.values import Channel, TaskStatus
from notifier.domain.contact import Contact
from notifier.domain.notifications import Notification

_SAME_MOMENT = timedelta(seconds=1)


def why_not(
    notification: Notification, channel: Channel, task: TaskSnapshot | None, contact: Contact | None
) -> str | None:
    """Give the reason not to send, in a few words for the task's activity, or None when it should go out.

    `task` and `contact` are None when task-api knows no such task or user.
    """
    if task is None:
        return "task not found"
    if task.user_id != notification.user_id:
        return "task belongs to someone else"
    if not task.is_open:
        return _why_closed(task)
    reminder = next((one for one in task.reminders if one.reminder_id == notification.reminder_id), None)
    if reminder is None:
        return "reminder removed"
    return _why_outdated(reminder, task, notification.fire_at) or _why_not_there(channel, reminder, contact)


def _why_closed(task: TaskSnapshot) -> str:
    if task.deleted_at is not None:
        return "task deleted"
    if task.status is TaskStatus.ARCHIVED:
        return "task archived"
    return f"task {task.closed_by}"


def _why_outdated(reminder: ReminderDefinition, task: TaskSnapshot, fire_at: datetime) -> str | None:
    """Say why (reminder, fire_at) is not what the person wants any more.

    A reminder means one moment at a time: snoozed_until, else `at`, else due minus offset. So the pair is current
    exactly when `fire_at` is that moment. `set_at` cannot decide it. A fire time after set_at may still be an old
    one: moved at 9:30 from 10:00 to 15:00 while the bus stood still, it fires at 10:00, later than set_at. And a
    fire time before set_at may be the current one: a reminder set after its moment on a task not yet due fires
    once. Both come out right here, because nothing but the moment is compared.

    Which error is worse? Sending an old reminder of an open task is a nuisance; dropping a current one breaks the
    promise. So a difference that has an innocent cause is none: times cut to the millisecond on their way, and,
    where whole days of an offset cross a change of the zone's UTC offset, that change.

    Acknowledging ends the moment it was said of: an acknowledgement older than set_at is of an earlier one.
    """
    if reminder.acknowledged_at is not None and reminder.acknowledged_at >= reminder.set_at:
        return "reminder acknowledged"
    wanted, slack = _wanted_moment(reminder, task, fire_at)
    if wanted is None:
        return "task has no due date any more"
    if abs(wanted - fire_at) <= slack:
        return None
    return "reminder snoozed" if reminder.snoozed_until is not None else "reminder moved"


def _wanted_moment(
    reminder: ReminderDefinition, task: TaskSnapshot, fire_at: datetime
) -> tuple[datetime | None, timedelta]:
    fixed = reminder.snoozed_until or reminder.at
    if fixed is not None:
        return fixed, _SAME_MOMENT
    due = due_instant(task)
    if due is None or reminder.offset is None:
        return None, _SAME_MOMENT
    days = timedelta(days=reminder.offset.days)
    if not days:
        return due - reminder.offset, _SAME_MOMENT
    zone = ZoneInfo(task.timezone)
    same_wall_time = (due.astimezone(zone).replace(tzinfo=None) - days).replace(tzinfo=zone)
    shift = abs(_utc_offset(due, zone) - _utc_offset(fire_at, zone))
    return same_wall_time.astimezone(UTC) - (reminder.offset - days), _SAME_MOMENT + shift


def _utc_offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)


def due_instant(task: TaskSnapshot) -> datetime | None:
    """The instant a task is due, in UTC: an all-day task at its day_start in its zone.

    A wall time that a clock change skips moves forward by the gap, one that it repeats is the first: both are what
    fold=0 means to zoneinfo.
    """
    if task.due_at is not None:
        return task.due_at
    if task.due_date is None:
        return None
    return datetime.combine(task.due_date, task.day_start, tzinfo=ZoneInfo(task.timezone)).astimezone(UTC)


def _why_not_there(channel: Channel, reminder: ReminderDefinition, contact: Contact | None) -> str | None:
    if contact is None:
        return "user not found"
    if channel not in (reminder.channels or contact.channels):
        return "not wanted"
    return None
