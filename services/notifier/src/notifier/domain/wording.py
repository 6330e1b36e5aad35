"""What a reminder says. Plain text: whoever puts it into HTML or a header escapes it there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from event_contracts.tasks import TaskSnapshot
from notifier.domain.notifications import Notification

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


@dataclass(frozen=True, slots=True)
class Message:
    """A reminder in words. `due` is the task's due as data: an RFC 3339 instant or `YYYY-MM-DD`."""

    notification_id: UUID
    task_id: UUID
    reminder_id: UUID
    user_id: UUID
    title: str
    body: str
    description: str | None
    due: str | None
    fire_at: datetime


def reminder_message(notification: Notification, task: TaskSnapshot) -> Message:
    """Say what the reminder is about, with the task's text and due as they are now."""
    return Message(
        notification_id=notification.notification_id,
        task_id=notification.task_id,
        reminder_id=notification.reminder_id,
        user_id=notification.user_id,
        title=task.title,
        body=_due_sentence(task) or "You asked to be reminded of this task.",
        description=task.description,
        due=_due_data(task),
        fire_at=notification.fire_at,
    )


def _due_data(task: TaskSnapshot) -> str | None:
    if task.due_at is not None:
        return task.due_at.isoformat().replace("+00:00", "Z")
    return task.due_date.isoformat() if task.due_date is not None else None


def _due_sentence(task: TaskSnapshot) -> str | None:
    if task.due_at is not None:
        local = task.due_at.astimezone(ZoneInfo(task.timezone))
        return f"Due on {_day(local.date())} at {local:%H:%M} ({task.timezone})."
    return f"Due on {_day(task.due_date)}." if task.due_date is not None else None


def _day(day: date) -> str:
    return f"{_DAYS[day.weekday()]}, {day.day} {_MONTHS[day.month - 1]} {day.year}"
