"""The next instance of a series: the predecessor's fields on the next slot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from event_contracts.moments import resolve
from event_contracts.values import TaskStatus, parse_local
from task_api.domain.ids import new_id
from task_api.domain.task import Reminder, Task


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the next instance goes: its key on the series' grid, its due in one of the two forms, and the zone that
    key and due are meant in."""

    key: str
    timezone: str
    due_at: datetime | None = None
    due_date: date | None = None


def succeed(predecessor: Task, slot: Slot, at: datetime) -> Task:
    """Give the instance that follows `predecessor`, set at `at`; its number is 1 until it has its own.

    Title, description, priority, tags and metadata are the predecessor's as they are now. Reminders come along with
    new ids: those before due as they are, those at an instant shifted by what due moved on the wall clock.
    """
    return Task(
        id=new_id(),
        user_id=predecessor.user_id,
        number=1,
        version=1,
        title=predecessor.title,
        timezone=slot.timezone,
        created_at=at,
        updated_at=at,
        description=predecessor.description,
        status=TaskStatus.PENDING,
        priority=predecessor.priority,
        tags=predecessor.tags,
        due_at=slot.due_at,
        due_date=slot.due_date,
        metadata=predecessor.metadata,
        series_id=predecessor.series_id,
        occurrence_key=slot.key,
        predecessor_task_id=predecessor.id,
        reminders=tuple(_carried(reminder, predecessor, slot, at) for reminder in predecessor.reminders),
    )


def revive(withdrawn: Task, predecessor: Task, slot: Slot, at: datetime) -> Task:
    """Give the withdrawn successor of `predecessor` as its next version: open again, and anew in all else."""
    return replace(
        succeed(predecessor, slot, at),
        id=withdrawn.id,
        number=withdrawn.number,
        version=withdrawn.version + 1,
        created_at=withdrawn.created_at,
    )


def _carried(reminder: Reminder, predecessor: Task, slot: Slot, at: datetime) -> Reminder:
    moment = None
    if reminder.at is not None:
        local = reminder.at.astimezone(ZoneInfo(predecessor.timezone)).replace(tzinfo=None)
        moment = resolve(local + _distance(predecessor, slot), slot.timezone)
    return Reminder(id=new_id(), set_at=at, offset=reminder.offset, at=moment, channels=reminder.channels)


def _distance(predecessor: Task, slot: Slot) -> timedelta:
    """How far due moves on the wall clock: to the second between two times of day, else in whole days."""
    old = _wall(predecessor.due_at, predecessor.due_date, predecessor.timezone)
    new = _wall(slot.due_at, slot.due_date, slot.timezone)
    if old is None or new is None:
        old, new = parse_local(predecessor.occurrence_key or slot.key), parse_local(slot.key)
    if isinstance(old, datetime) and isinstance(new, datetime):
        return new - old
    return _midnight(new) - _midnight(old)


def _wall(due_at: datetime | None, due_date: date | None, zone: str) -> date | datetime | None:
    return due_date if due_at is None else due_at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def _midnight(day: date | datetime) -> datetime:
    return datetime.combine(day.date() if isinstance(day, datetime) else day, time(), UTC)
