"""Tasks, reminders and people for the notifier's tests."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from gettext import NullTranslations
from typing import Any
from uuid import UUID, uuid4

from event_contracts.envelope import CloudEvent
from event_contracts.reminders import ReminderDue
from event_contracts.tasks import ReminderDefinition, TaskSnapshot
from event_contracts.values import Actor, ActorKind, Channel, ClosedBy, Priority, TaskStatus
from notifier.domain.contact import Contact
from notifier.domain.notifications import Notification
from notifier.domain.timing import QuietHours
from notifier.domain.wording import Message, reminder_message

USER = UUID("0197a1c0-0000-7000-8000-000000000001")
START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
_PERSON = Actor(kind=ActorKind.USER, id=str(USER))
_RECURRENCE = Actor(kind=ActorKind.SERVICE, id="recurrence")


def reminder(**fields: Any) -> ReminderDefinition:
    """A reminder at START that was set a day before it."""
    given = {"reminder_id": uuid4(), "set_at": START - timedelta(days=1)} | fields
    if "offset" not in given:
        given.setdefault("at", START)
    return ReminderDefinition.model_validate(given)


def snapshot(**fields: Any) -> TaskSnapshot:
    """An open task of version 1, due an hour after START, with one reminder at START."""
    return TaskSnapshot.model_validate(
        {
            "task_id": uuid4(),
            "user_id": USER,
            "number": 1,
            "version": 1,
            "epoch": 1,
            "title": "Water the plants",
            "status": TaskStatus.PENDING,
            "priority": Priority.MEDIUM,
            "due_at": START + timedelta(hours=1),
            "timezone": "Europe/Berlin",
            "day_start": time(9),
            "reminders": (reminder(),),
            "created_at": START - timedelta(days=1),
            "updated_at": START - timedelta(days=1),
            "actor": Actor(kind=ActorKind.USER, id=str(USER)),
        }
        | fields
    )


def later(task: TaskSnapshot, **fields: Any) -> TaskSnapshot:
    """The same task one version on."""
    return task.model_copy(update={"version": task.version + 1} | fields)


def completed(task: TaskSnapshot) -> TaskSnapshot:
    return later(
        task,
        status=TaskStatus.COMPLETED,
        closed_by=ClosedBy.COMPLETED,
        closed_version=task.version + 1,
        closed_at=START,
    )


def reopened(task: TaskSnapshot) -> TaskSnapshot:
    return later(task, status=TaskStatus.PENDING, closed_by=None, closed_version=None, closed_at=None)


def deleted(task: TaskSnapshot) -> TaskSnapshot:
    return later(task, deleted_at=START, closed_by=ClosedBy.WITHDRAWN)


def occurrence(**fields: Any) -> TaskSnapshot:
    """A task as recurrence's offer made it, at START; it has no reminders."""
    made = {"series_id": uuid4(), "series_version": 1, "occurrence_key": "2026-01-05", "reminders": ()}
    return snapshot(**(made | {"actor": _RECURRENCE, "updated_at": START} | fields))


def renamed(task: TaskSnapshot) -> TaskSnapshot:
    """By the person."""
    return later(task, title=f"{task.title}!", actor=_PERSON)


def withdrawn(task: TaskSnapshot) -> TaskSnapshot:
    """The person undid the completion that it followed."""
    return later(
        task, status=TaskStatus.ARCHIVED, closed_by=ClosedBy.WITHDRAWN, closed_at=START, actor=_PERSON
    )


def made_again(task: TaskSnapshot, **fields: Any) -> TaskSnapshot:
    """The withdrawn occurrence is open again, by recurrence."""
    back = {"status": TaskStatus.PENDING, "closed_by": None, "closed_at": None, "actor": _RECURRENCE}
    return later(task, **(back | fields))


ON_TIME = timedelta(milliseconds=21)


def due(task: TaskSnapshot, fire_at: datetime = START, late: timedelta = ON_TIME) -> ReminderDue:
    """The news that the task's first reminder fired for `fire_at`."""
    return ReminderDue(
        reminder_id=task.reminders[0].reminder_id,
        task_id=task.task_id,
        user_id=task.user_id,
        fire_at=fire_at,
        fired_at=fire_at + late,
    )


def event(kind: str, data: Any, **fields: Any) -> CloudEvent[Any]:
    """An event of type `kind` around `data`."""
    given = {"id": str(uuid4()), "source": "/tests", "type": kind, "time": START, "data": data} | fields
    return CloudEvent[Any](**given)


def notification(
    task: TaskSnapshot, fire_at: datetime = START, late: timedelta | None = ON_TIME
) -> Notification:
    fired_at = None if late is None else fire_at + late
    return Notification(uuid4(), task.task_id, task.reminders[0].reminder_id, task.user_id, fire_at, fired_at)


def message(task: TaskSnapshot | None = None, *, late: timedelta | None = None, **fields: Any) -> Message:
    task = task or snapshot(**fields)
    return reminder_message(notification(task), task, NullTranslations(), late)


def contact(**fields: Any) -> Contact:
    given: dict[str, Any] = {
        "user_id": USER,
        "email": "ada@example.org",
        "first_name": "Ada",
        "locale": "en",
        "timezone": "Europe/Berlin",
        "channels": (Channel.INBOX, Channel.EMAIL),
    }
    return Contact(**(given | fields))


def quiet_around(now: datetime, left: timedelta = timedelta(hours=1)) -> QuietHours:
    """Quiet hours that began an hour ago and end when `left` is over; whole seconds, as the contract's wall times."""
    start, until = now - timedelta(hours=1), now + left
    return QuietHours(start.time().replace(microsecond=0), until.time().replace(microsecond=0))
