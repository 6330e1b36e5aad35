"""What is said to people. Plain text: whoever puts it into HTML or a header escapes it there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Protocol
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from event_contracts.moments import written
from event_contracts.tasks import TaskSnapshot
from notifier.domain.notifications import Delivery, Notification


class Words(Protocol):
    """A language, by the interface of the standard library's gettext; English is the key of every text."""

    def gettext(self, message: str, /) -> str: ...

    def ngettext(self, msgid1: str, msgid2: str, n: int, /) -> str: ...


@dataclass(frozen=True, slots=True)
class Message:
    """A notification in words. `due` is the task's due as data: an RFC 3339 instant or `YYYY-MM-DD`.

    `task_id` is None for a test, which is of no task; `reminder_id` is None for that and for the word on a new
    occurrence. `late` is how late it comes, where that is worth a word (domain.lateness). With `parts` it is a digest:
    what it tells of, by its time; what is beside them is for channels that only show a title and a text.
    """

    notification_id: UUID
    task_id: UUID | None
    reminder_id: UUID | None
    user_id: UUID
    subject: str
    title: str
    body: str
    description: str | None
    due: str | None
    fire_at: datetime
    late: timedelta | None = None
    parts: tuple[Message, ...] = ()


def digest_message(leader: Delivery, parts: tuple[Message, ...], words: Words) -> Message:
    """Say several things at once. `leader` is the first that was held, which may be one of them no more.

    Its identity is the digest's own, and the same on every try: told by itself later, the first is no copy of it.
    """
    first, held = leader.notification, leader.progress.held_until
    title = _count(parts, words) % {"number": len(parts)}
    return Message(
        notification_id=uuid5(first.notification_id, f"digest {held.isoformat() if held else ''}"),
        task_id=first.task_id,
        reminder_id=first.reminder_id,
        user_id=first.user_id,
        subject=title,
        title=title,
        body="\n".join(f"• {part.title}: {part.body}" for part in parts),
        description=None,
        due=None,
        fire_at=min(part.fire_at for part in parts),
        parts=parts,
    )


def _count(parts: tuple[Message, ...], words: Words) -> str:
    kinds = {part.reminder_id is None for part in parts}
    if kinds == {False}:
        return words.ngettext("%(number)d reminder", "%(number)d reminders", len(parts))
    if kinds == {True}:
        return words.ngettext("%(number)d new occurrence", "%(number)d new occurrences", len(parts))
    return words.ngettext("%(number)d notification", "%(number)d notifications", len(parts))


def message_of(
    notification: Notification, task: TaskSnapshot, words: Words, late: timedelta | None
) -> Message:
    """Say what there is to tell, with the task's text and due as they are now; `late` is of a reminder alone."""
    if notification.is_of_occurrence:
        return occurrence_message(notification, task, words)
    return reminder_message(notification, task, words, late)


def occurrence_message(notification: Notification, task: TaskSnapshot, words: Words) -> Message:
    """Say that the next occurrence of a series is there."""
    there = words.gettext("The next one is there.")
    due = _due_sentence(task, words)
    return replace(
        reminder_message(notification, task, words),
        subject=words.gettext("The next one is there: %(title)s") % {"title": task.title},
        body=f"{there} {due}" if due else there,
    )


def reminder_message(
    notification: Notification, task: TaskSnapshot, words: Words, late: timedelta | None = None
) -> Message:
    """Say what the reminder is about, with the task's text and due as they are now, and how late it comes."""
    about = _due_sentence(task, words) or words.gettext("You asked to be reminded of this task.")
    return Message(
        notification_id=notification.notification_id,
        task_id=notification.task_id,
        reminder_id=notification.reminder_id,
        user_id=notification.user_id,
        subject=words.gettext("Reminder: %(title)s") % {"title": task.title},
        title=task.title,
        body=about if late is None else f"{about} {_late_sentence(late, words)}",
        description=task.description,
        due=_due_data(task),
        fire_at=notification.fire_at,
        late=late,
    )


def test_message(notification_id: UUID, user_id: UUID, at: datetime, words: Words) -> Message:
    """Say that a channel works; it is about no task."""
    return Message(
        notification_id=notification_id,
        task_id=None,
        reminder_id=None,
        user_id=user_id,
        subject=words.gettext("Test of your notifications"),
        title=words.gettext("Test of your notifications"),
        body=words.gettext("You asked for this message. Reminders reach you the same way."),
        description=None,
        due=None,
        fire_at=at,
    )


def _due_data(task: TaskSnapshot) -> str | None:
    if task.due_at is not None:
        return written(task.due_at)
    return task.due_date.isoformat() if task.due_date is not None else None


def _due_sentence(task: TaskSnapshot, words: Words) -> str | None:
    if task.due_at is not None:
        local = task.due_at.astimezone(ZoneInfo(task.timezone))
        said = {"day": _day(local.date(), words), "time": f"{local:%H:%M}", "zone": task.timezone}
        return words.gettext("Due on %(day)s at %(time)s (%(zone)s).") % said
    if task.due_date is None:
        return None
    return words.gettext("Due on %(day)s.") % {"day": _day(task.due_date, words)}


def _late_sentence(late: timedelta, words: Words) -> str:
    return words.gettext("This reminder comes %(duration)s late.") % {"duration": _duration(late, words)}


def _duration(span: timedelta, words: Words) -> str:
    """A minute or more, in two units at most."""
    days, rest = divmod(span, timedelta(days=1))
    hours, rest = divmod(rest, timedelta(hours=1))
    minutes = rest // timedelta(minutes=1)
    parts = (
        (days, words.ngettext("%(number)d day", "%(number)d days", days)),
        (hours, words.gettext("%(number)d h")),
        (minutes, words.gettext("%(number)d min")),
    )
    first = next(index for index, (number, _) in enumerate(parts) if number)
    return " ".join(text % {"number": number} for number, text in parts[first : first + 2] if number)


def _day(day: date, words: Words) -> str:
    said = {
        "weekday": _weekdays(words)[day.weekday()],
        "day": day.day,
        "month": _months(words)[day.month - 1],
        "year": day.year,
    }
    return words.gettext("%(weekday)s, %(day)d %(month)s %(year)d") % said


def _weekdays(words: Words) -> tuple[str, ...]:
    return (
        words.gettext("Monday"),
        words.gettext("Tuesday"),
        words.gettext("Wednesday"),
        words.gettext("Thursday"),
        words.gettext("Friday"),
        words.gettext("Saturday"),
        words.gettext("Sunday"),
    )


def _months(words: Words) -> tuple[str, ...]:
    return (
        words.gettext("January"),
        words.gettext("February"),
        words.gettext("March"),
        words.gettext("April"),
        words.gettext("May"),
        words.gettext("June"),
        words.gettext("July"),
        words.gettext("August"),
        words.gettext("September"),
        words.gettext("October"),
        words.gettext("November"),
        words.gettext("December"),
    )
