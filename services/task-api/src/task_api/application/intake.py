"""What a person asks for becomes a task: the rules that need more than one field, or the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from event_contracts.rrule import RuleError, check_start, parse_rrule
from event_contracts.values import Channel
from task_api.domain.errors import DueInPast, InvalidTask
from task_api.domain.ids import new_id
from task_api.domain.moments import slot_of
from task_api.domain.series import Recurrence, Series
from task_api.domain.task import Reminder, Task


@dataclass(frozen=True, slots=True)
class ReminderRequest:
    """A reminder as asked for: `id` names one that the task has; `offset` before due, or `at`."""

    id: UUID | None = None
    offset: timedelta | None = None
    at: datetime | None = None
    channels: tuple[Channel, ...] = ()


def check_due(due_at: datetime | None, due_date: date | None, zone: str, now: datetime) -> None:
    """Raise DueInPast for a due that is over at `now`; a due date is over when its day is, in the zone."""
    if due_at is not None and due_at < now:
        raise DueInPast("due_at")
    if due_date is not None and due_date < now.astimezone(ZoneInfo(zone)).date():
        raise DueInPast("due_date")


def check_whole(task: Task) -> None:
    """Raise InvalidTask for fields that do not go together."""
    if task.due_at is not None and task.due_date is not None:
        raise InvalidTask("due_date", "one_due", "a task is due at due_at or on due_date, not both")
    if task.has_due:
        return
    if task.series_id is not None:
        raise InvalidTask("due_at", "due_required", "a recurring task needs due_at or due_date")
    for index, reminder in enumerate(task.reminders):
        if reminder.offset is not None:
            raise InvalidTask(
                f"reminders.{index}.offset",
                "due_required",
                "counts back from due, and the task has none: use at",
            )


def merge_reminders(
    requested: Sequence[ReminderRequest], known: Sequence[Reminder], at: datetime
) -> tuple[Reminder, ...]:
    """Give the task's new reminders: those with an id keep what they are, and so do those without that say what a
    known one says; others are new, the rest are gone.

    Raises InvalidTask for an id that the task does not have, or that is given twice.
    """
    by_id = {reminder.id: reminder for reminder in known}
    named = {request.id for request in requested}
    # The same request twice must not make them anew: what rang already would ring again.
    unnamed = [reminder for reminder in known if reminder.id not in named]
    merged = []
    for index, request in enumerate(requested):
        if request.id is None:
            old = next((one for one in unnamed if _says(one) == _says(request)), None)
            if old is None:
                merged.append(Reminder(new_id(), at, request.offset, request.at, request.channels))
            else:
                unnamed.remove(old)
                merged.append(old)
            continue
        old = by_id.pop(request.id, None)
        if old is None:
            raise InvalidTask(
                f"reminders.{index}.id", "unknown_reminder", "is no reminder of this task, or given twice"
            )
        merged.append(
            Reminder(
                old.id,
                old.set_at,
                request.offset,
                request.at,
                request.channels,
                old.snoozed_until,
                old.acknowledged_at,
                old.fired_for,
                old.scheduled_for,
            )
        )
    return tuple(merged)


def _says(one: Reminder | ReminderRequest) -> tuple[timedelta | None, datetime | None, frozenset[Channel]]:
    return one.offset, one.at, frozenset(one.channels)


def begin_series(task: Task, recurrence: Recurrence, at: datetime) -> Series:
    """Give the series whose first slot is the task's due, in its zone. Raises InvalidTask."""
    start = slot_of(task.due_at, task.due_date, task.timezone)
    if start is None:
        raise InvalidTask("recurrence", "due_required", "a recurring task needs due_at or due_date")
    try:
        check_start(parse_rrule(recurrence.rrule), start)
    except RuleError as error:
        raise InvalidTask("recurrence.rrule", "rrule", str(error)) from error
    return Series(
        id=new_id(),
        user_id=task.user_id,
        version=1,
        recurrence=recurrence,
        timezone=task.timezone,
        start=start,
        created_at=at,
        updated_at=at,
    )
