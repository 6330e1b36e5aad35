"""A task and its reminders. Every change gives a new Task with the next version; equal means nothing changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from event_contracts.moments import before_due, due_instant, is_past_when_set, written
from event_contracts.values import Channel, ClosedBy, Priority, TaskStatus
from task_api.domain.errors import NotRecurring, TransitionRefused

OPEN_STATUSES = frozenset({TaskStatus.PENDING, TaskStatus.IN_PROGRESS})
_ERASED_TITLE = "(erased)"


@dataclass(frozen=True, slots=True)
class Change:
    """One field's value before and after, as JSON values."""

    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Reminder:
    """Fires `offset` before due, or at `at`. `set_at` is when its fire time last moved.

    `fired_for` and `scheduled_for` are the fire times that the reminders service reported.
    """

    id: UUID
    set_at: datetime
    offset: timedelta | None = None
    at: datetime | None = None
    channels: tuple[Channel, ...] = ()
    snoozed_until: datetime | None = None
    acknowledged_at: datetime | None = None
    fired_for: datetime | None = None
    scheduled_for: datetime | None = None

    def planned(self, due: datetime | None, zone: str) -> datetime | None:
        """Give the fire time as it was set, snoozing aside; None for an offset without a due."""
        if self.at is not None:
            return self.at
        if self.offset is None or due is None:
            return None
        return before_due(due, self.offset, zone)

    def fire_time(self, due: datetime | None, zone: str) -> datetime | None:
        """Give when it fires: the end of the snooze, else the planned time."""
        return self.snoozed_until or self.planned(due, zone)


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it stands. `due_at` is an instant, `due_date` an all-day date; never both.

    `closed_version` is the version with which it was closed; `predecessor_task_id` the instance before it.
    """

    id: UUID
    user_id: UUID
    number: int
    version: int
    title: str
    timezone: str
    created_at: datetime
    updated_at: datetime
    description: str | None = None
    status: TaskStatus = TaskStatus.PENDING
    priority: Priority = Priority.MEDIUM
    tags: tuple[str, ...] = ()
    due_at: datetime | None = None
    due_date: date | None = None
    closed_by: ClosedBy | None = None
    closed_version: int | None = None
    closed_at: datetime | None = None
    completed_at: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    series_id: UUID | None = None
    occurrence_key: str | None = None
    predecessor_task_id: UUID | None = None
    deleted_at: datetime | None = None
    reminders: tuple[Reminder, ...] = ()

    @property
    def is_open(self) -> bool:
        return self.closed_by is None and self.deleted_at is None

    @property
    def has_due(self) -> bool:
        return self.due_at is not None or self.due_date is not None

    def due(self, day_start: time) -> datetime | None:
        """Give the instant it is due, all-day tasks at `day_start` in their zone."""
        return due_instant(self.due_at, self.due_date, self.timezone, day_start)


def revise(
    before: Task, after: Task, at: datetime, day_start: time, *, old_day_start: time | None = None
) -> Task:
    """Give `after` as the next version of `before`: reminders whose planned time moved are set anew at `at`.

    One that moved to a time to come is no longer snoozed or acknowledged. One that moved to a time that is past asks
    for nothing new: its snooze stands, and so does that it was acknowledged. Returns `before` itself when nothing
    differs and the day's start is the same.
    """
    if after == before and _alike(after.metadata, before.metadata) and old_day_start in (None, day_start):
        return before
    old_due, new_due = before.due(old_day_start or day_start), after.due(day_start)
    known = {reminder.id: reminder for reminder in before.reminders}
    reminders = []
    for reminder in after.reminders:
        old = known.get(reminder.id)
        if old is None:
            reminders.append(replace(reminder, set_at=at))
        elif old.planned(old_due, before.timezone) != (planned := reminder.planned(new_due, after.timezone)):
            reminders.append(_moved(reminder, planned, at))
        elif old.snoozed_until != reminder.snoozed_until:
            reminders.append(replace(reminder, set_at=at))
        else:
            reminders.append(reminder)
    return replace(after, version=before.version + 1, updated_at=at, reminders=tuple(reminders))


def _moved(reminder: Reminder, planned: datetime | None, at: datetime) -> Reminder:
    if planned is None or planned > at:
        return replace(reminder, set_at=at, snoozed_until=None, acknowledged_at=None)
    return reminder if reminder.snoozed_until is not None else replace(reminder, set_at=at)


def past_when_set(
    before: Task | None, after: Task, day_start: time, old_day_start: time | None = None
) -> list[datetime]:
    """Give the fire times of the reminders that `after` sets and that will not go out, for they are past already.

    Those of a task that is not due yet go out once all the same. One that was due while the task was open, before it
    was moved, is not among them: it went out, or is on its way.
    """
    if not after.is_open:
        return []
    due, at = after.due(day_start), after.updated_at
    was_due = set()
    if before is not None and before.is_open:
        old_due = before.due(old_day_start or day_start)
        times = {one.id: one.fire_time(old_due, before.timezone) for one in before.reminders}
        was_due = {identity for identity, time in times.items() if time is not None and time <= at}
    set_now = [one for one in after.reminders if one.set_at == at and one.acknowledged_at is None]
    return [
        fire_at
        for one in set_now
        if one.id not in was_due
        and (fire_at := one.fire_time(due, after.timezone)) not in (None, one.fired_for)
        and is_past_when_set(fire_at, at, due)
    ]


def _alike(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same. To Python 1, 1.0 and True are equal; to a client they are not."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_alike(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return type(one) is type(other) and bool(one == other)


def _close(task: Task, by: ClosedBy, at: datetime, **fields: Any) -> Task:
    version = task.version + 1
    closing: dict[str, Any] = {}
    if task.closed_by is None:
        closing = {"closed_by": by, "closed_version": version, "closed_at": at}
    return replace(task, version=version, updated_at=at, **closing, **fields)


def _abandoned(task: Task) -> ClosedBy:
    """A slot of a series that is given up makes room for the next one; any other task is just taken away."""
    return ClosedBy.SKIPPED if task.series_id is not None else ClosedBy.WITHDRAWN


def complete(task: Task, at: datetime) -> Task:
    """Close an open task as done; a completed one stays as it is. Raises TransitionRefused for an archived one."""
    if task.status is TaskStatus.COMPLETED:
        return task
    if task.status is TaskStatus.ARCHIVED:
        raise TransitionRefused(
            task.status, TaskStatus.COMPLETED, "an archived task is reopened before it is completed"
        )
    return _close(task, ClosedBy.COMPLETED, at, status=TaskStatus.COMPLETED, completed_at=at)


def archive(task: Task, at: datetime) -> Task:
    """Put a task away; an open one is closed by that, the slot of a series counts as skipped."""
    if task.status is TaskStatus.ARCHIVED:
        return task
    return _close(task, _abandoned(task), at, status=TaskStatus.ARCHIVED, completed_at=None)


def skip(task: Task, at: datetime) -> Task:
    """Give up this slot of the series. A skipped one stays as it is.

    Raises NotRecurring for a task without a series, TransitionRefused for one that is closed otherwise.
    """
    if task.series_id is None:
        raise NotRecurring("only an instance of a recurring task can be skipped")
    if task.closed_by is ClosedBy.SKIPPED:
        return task
    if task.closed_by is not None:
        raise TransitionRefused(task.status, TaskStatus.ARCHIVED, "only an open instance can be skipped")
    return archive(task, at)


def reopen(task: Task, at: datetime, status: TaskStatus = TaskStatus.PENDING) -> Task:
    """Make a closed task open again; its reminders count as set anew at `at`. An open one stays as it is."""
    if task.closed_by is None:
        return task
    return replace(
        task,
        version=task.version + 1,
        updated_at=at,
        status=status,
        closed_by=None,
        closed_version=None,
        closed_at=None,
        completed_at=None,
        reminders=tuple(replace(reminder, set_at=at) for reminder in task.reminders),
    )


def delete(task: Task, at: datetime, by: ClosedBy | None = None) -> Task:
    """Take a task away; what it was closed by before stays. `by` is why, when not by the person's own delete."""
    return _close(task, by or _abandoned(task), at, deleted_at=at)


def wordless(task: Task) -> Task:
    """Give the task without what its owner wrote; a title is never empty, so a word of ours stands in its place."""
    return replace(task, title=_ERASED_TITLE, description=None, tags=(), metadata={})


def erase(task: Task, at: datetime) -> Task:
    """Take a task away with the account of its owner, and its words with it.

    Whatever it was before, nothing follows from it.
    """
    version = task.version + 1
    return replace(
        wordless(task),
        version=version,
        updated_at=at,
        deleted_at=at,
        closed_by=ClosedBy.ERASED,
        closed_version=version,
        closed_at=at,
    )


def restore(task: Task, at: datetime) -> Task:
    """Bring a deleted task back: open when the deletion closed it, else closed as it was. Another stays as it is.

    Raises TransitionRefused for an instance that made room for its predecessor: that one is open now.
    """
    if task.deleted_at is None:
        return task
    if task.series_id is not None and task.closed_by is ClosedBy.WITHDRAWN:
        raise TransitionRefused(
            task.status, TaskStatus.PENDING, "it comes back when the occurrence before it is completed again"
        )
    back = replace(task, deleted_at=None)
    if task.closed_at == task.deleted_at and task.status in OPEN_STATUSES:
        return reopen(back, at, task.status)
    return replace(back, version=task.version + 1, updated_at=at)


_WATCHED = (
    "title",
    "description",
    "status",
    "priority",
    "tags",
    "due_at",
    "due_date",
    "timezone",
    "series_id",
    "occurrence_key",
    "closed_by",
    "deleted_at",
)


def as_json(value: Any) -> Any:
    """Give a field's value as JSON has it."""
    if isinstance(value, datetime):
        return written(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    return value


def _told(reminder: Reminder) -> dict[str, Any]:
    told: dict[str, Any] = {"id": str(reminder.id)}
    if reminder.offset is not None:
        told["offset_seconds"] = int(reminder.offset.total_seconds())
    if reminder.at is not None:
        told["at"] = as_json(reminder.at)
    if reminder.channels:
        told["channels"] = list(reminder.channels)
    if reminder.snoozed_until is not None:
        told["snoozed_until"] = as_json(reminder.snoozed_until)
    if reminder.acknowledged_at is not None:
        told["acknowledged_at"] = as_json(reminder.acknowledged_at)
    return told


def told(task: Task, field_name: str) -> Any:
    """Give a field's value as history tells it: JSON, and of reminders what a person said."""
    if field_name == "reminders":
        return [_told(reminder) for reminder in task.reminders]
    return as_json(getattr(task, field_name))


def differences(before: Task, after: Task) -> dict[str, Change]:
    """Name the fields that a person would say changed, with both values as JSON."""
    changes = {
        name: Change(told(before, name), told(after, name))
        for name in _WATCHED
        if getattr(before, name) != getattr(after, name)
    }
    if not _alike(before.metadata, after.metadata):
        changes["metadata"] = Change(told(before, "metadata"), told(after, "metadata"))
    old, new = told(before, "reminders"), told(after, "reminders")
    if old != new:
        changes["reminders"] = Change(old, new)
    return changes
