"""What task-api says of a task: always the whole task as it stands, never a difference to be applied.

Consumers order snapshots by (epoch, version) and let `status` drive their effects, whichever topic brought them.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from annotated_types import Ge, Le, Len
from pydantic import Field, model_validator

from event_contracts.moments import before_due, due_instant
from event_contracts.values import (
    Actor,
    Channel,
    ClosedBy,
    OccurrenceKey,
    Payload,
    Priority,
    TaskStatus,
    UtcInstant,
    WallTime,
    Zone,
)

TITLE_MAX = 255
DESCRIPTION_MAX = 5_000
TAGS_MAX = 20
REMINDERS_MAX = 50

ReminderOffset = Annotated[timedelta, Ge(timedelta(0)), Le(timedelta(days=366))]
"""Time before due, ISO 8601 (`PT30M`). Whole days are wall-clock days in the task's zone, the rest is exact."""


class ReminderDefinition(Payload):
    """One reminder as the user set it: `offset` before due, or `at` an instant; reminders computes when it fires.

    `set_at` is the commit time of the last change that moved its fire time: a fire time at or before it was
    already past when it was set. `scheduled_for` and `fired_for` are the fire times of which reminders last told
    task-api that they are planned, and have come; only a rebuild from nothing uses them. Empty `channels` means the
    user's preference.
    """

    reminder_id: UUID
    offset: ReminderOffset | None = None
    at: UtcInstant | None = None
    channels: tuple[Channel, ...] = ()
    set_at: UtcInstant
    snoozed_until: UtcInstant | None = None
    acknowledged_at: UtcInstant | None = None
    scheduled_for: UtcInstant | None = None
    fired_for: UtcInstant | None = None

    @model_validator(mode="after")
    def _one_moment(self) -> ReminderDefinition:
        if (self.offset is None) == (self.at is None):
            raise ValueError("a reminder has either offset or at")
        return self


class FieldChange(Payload):
    """One field's value before and after, as JSON values."""

    old: Any = None
    new: Any = None


class TaskSnapshot(Payload):
    """A whole task. `due_at` is an instant, `due_date` an all-day date in `timezone`; never both.

    `version` rises by one with every change of the task; `epoch` rises when PostgreSQL was restored.
    `closed_version` is the version with which it was closed. `series_version` is the series' version at commit.
    `changes` names what this version changed and is empty in a snapshot that was asked for.
    """

    task_id: UUID
    user_id: UUID
    number: int = Field(ge=1)
    version: int = Field(ge=1)
    epoch: int = Field(ge=1)
    title: Annotated[str, Len(1, TITLE_MAX)]
    description: str | None = Field(default=None, max_length=DESCRIPTION_MAX)
    status: TaskStatus
    priority: Priority
    tags: Annotated[tuple[str, ...], Len(0, TAGS_MAX)] = ()
    closed_by: ClosedBy | None = None
    closed_version: int | None = Field(default=None, ge=1)
    closed_at: UtcInstant | None = None
    due_at: UtcInstant | None = None
    due_date: date | None = None
    timezone: Zone
    day_start: WallTime
    reminders: Annotated[tuple[ReminderDefinition, ...], Len(0, REMINDERS_MAX)] = ()
    series_id: UUID | None = None
    series_version: int | None = Field(default=None, ge=1)
    occurrence_key: OccurrenceKey | None = None
    predecessor_task_id: UUID | None = None
    created_at: UtcInstant
    updated_at: UtcInstant
    deleted_at: UtcInstant | None = None
    changes: dict[str, FieldChange] = Field(default_factory=dict)
    actor: Actor

    @model_validator(mode="after")
    def _one_due(self) -> TaskSnapshot:
        if self.due_at is not None and self.due_date is not None:
            raise ValueError("a task has due_at or due_date, not both")
        return self

    @property
    def is_open(self) -> bool:
        """Whether the task still asks for something: neither closed nor deleted."""
        return self.closed_by is None and self.deleted_at is None

    @property
    def order(self) -> tuple[int, int]:
        """The position among all snapshots of this task: (epoch, version)."""
        return (self.epoch, self.version)

    @property
    def due(self) -> datetime | None:
        """The instant it is due, in UTC, an all-day task at `day_start` in its zone; None without a due."""
        return due_instant(self.due_at, self.due_date, self.timezone, self.day_start)

    def fire_time(self, reminder: ReminderDefinition) -> datetime | None:
        """When `reminder` fires, in UTC: snoozed, absolute, or that long before due; None without a due."""
        fixed = reminder.snoozed_until or reminder.at
        if fixed is not None:
            return fixed
        if reminder.offset is None or (due := self.due) is None:
            return None
        return before_due(due, reminder.offset, self.timezone)


TaskEventType = Literal["task.created.v1", "task.updated.v1", "task.completed.v1", "task.deleted.v1"]
