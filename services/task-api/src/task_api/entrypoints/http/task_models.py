"""The bodies of the task routes, in and out."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from event_contracts.rrule import TaskRRuleText
from event_contracts.series import Anchor, DstGap, MonthEnd, Overdue, PileUp, RecurrencePolicies
from event_contracts.tasks import REMINDERS_MAX
from event_contracts.values import Channel, Priority, TaskStatus, Zone
from task_api.application.create_task import NewTask
from task_api.application.edit_task import TaskEdit
from task_api.application.intake import ReminderRequest
from task_api.application.ports import TaskView
from task_api.domain.series import Recurrence
from task_api.domain.task import Reminder
from task_api.entrypoints.http.fields import (
    Answer,
    Body,
    Day,
    Description,
    Instant,
    Metadata,
    Offset,
    Tags,
    Title,
)


def _absent(value: object) -> bool:
    return value is None


class ReminderBody(Body):
    """A reminder: `offset` before due, or `at`. `channels` empty means the person's preference.

    `snoozed_until` and `acknowledged_at` are read-only here: a reminder that is sent back as it was read is fine.
    """

    offset: Offset | None = None
    at: Instant | None = None
    channels: Annotated[tuple[Channel, ...], Field(max_length=len(Channel))] = ()
    snoozed_until: Instant | None = None
    acknowledged_at: Instant | None = None

    @model_validator(mode="after")
    def _one_moment(self) -> Self:
        if (self.offset is None) == (self.at is None):
            raise ValueError("a reminder has either offset or at")
        return self

    def request(self, reminder_id: UUID | None = None) -> ReminderRequest:
        """Give what is asked for."""
        channels = tuple(dict.fromkeys(self.channels))
        return ReminderRequest(reminder_id, self.offset, self.at, channels)


class ReminderItem(ReminderBody):
    """A reminder in a task's list; with `id` it is one that the task has."""

    id: UUID | None = None


Reminders = Annotated[tuple[ReminderItem, ...], Field(max_length=REMINDERS_MAX)]


class RecurrenceBody(Body):
    """How a task recurs: an RRULE (RFC 5545, 3.3.10; HOURLY or longer), and the policies."""

    rrule: TaskRRuleText
    anchor: Anchor = Anchor.SCHEDULE
    month_end: MonthEnd = MonthEnd.CLAMP
    overdue: Overdue = Overdue.NEXT_FUTURE
    dst_gap: DstGap = DstGap.FORWARD
    pile_up: PileUp = PileUp.WAIT

    def recurrence(self) -> Recurrence:
        """Give the rule with its policies."""
        return Recurrence(self.rrule, RecurrencePolicies(**self.model_dump(exclude={"rrule"})))


_CREATE_EXAMPLES: list[dict[str, Any]] = [
    {
        "title": "Water the plants",
        "due_at": "2030-05-04T16:00:00Z",
        "timezone": "Europe/Berlin",
        "tags": ["home"],
        "reminders": [{"offset": "PT30M"}],
        "recurrence": {"rrule": "FREQ=WEEKLY;BYDAY=MO,TH"},
    },
    {"title": "Send the tax return", "due_date": "2030-07-31", "priority": "high"},
]


class TaskCreate(Body, json_schema_extra={"examples": _CREATE_EXAMPLES}):
    """A task to be made. Without `reminders` it gets the person's default reminder, if there is one and a due."""

    title: Title
    description: Description | None = None
    status: Literal[TaskStatus.PENDING, TaskStatus.IN_PROGRESS] = TaskStatus.PENDING
    priority: Priority = Priority.MEDIUM
    tags: Tags = ()
    due_at: Instant | None = None
    due_date: Day | None = None
    timezone: Zone | None = None
    metadata: Metadata = Field(default_factory=dict)
    reminders: Reminders | None = None
    recurrence: RecurrenceBody | None = None

    @model_validator(mode="after")
    def _one_due(self) -> Self:
        if self.due_at is not None and self.due_date is not None:
            raise ValueError("a task is due at due_at or on due_date, not both")
        return self

    def request(self, *, allow_past: bool) -> NewTask:
        """Give what is asked for."""
        return NewTask(
            title=self.title,
            description=self.description,
            status=self.status,
            priority=self.priority,
            tags=self.tags,
            due_at=self.due_at,
            due_date=self.due_date,
            timezone=self.timezone,
            metadata=self.metadata,
            reminders=None
            if self.reminders is None
            else tuple(reminder.request(reminder.id) for reminder in self.reminders),
            recurrence=None if self.recurrence is None else self.recurrence.recurrence(),
            allow_past=allow_past,
        )


_PATCH_EXAMPLES: list[dict[str, Any]] = [
    {"due_at": "2030-05-05T16:00:00Z", "priority": "urgent"},
    {"status": "completed"},
    {"description": None, "tags": ["home", "garden"]},
]
_EMPTY: dict[str, Any] = {"tags": (), "metadata": {}}


class TaskPatch(Body, json_schema_extra={"examples": _PATCH_EXAMPLES}):
    """What is to change: a field that is absent stays, null clears. `reminders` replaces the list; those with an `id`
    stay the reminders they are."""

    # The defaults stand for "absent" and are never read: what counts is which fields the body named.
    title: Title = "-"
    description: Description | None = None
    status: TaskStatus = TaskStatus.PENDING
    priority: Priority = Priority.MEDIUM
    tags: Tags | None = None
    due_at: Instant | None = None
    due_date: Day | None = None
    timezone: Zone = "UTC"
    metadata: Metadata | None = None
    reminders: Reminders | None = None
    recurrence: RecurrenceBody | None = None

    @model_validator(mode="after")
    def _one_due(self) -> Self:
        if self.due_at is not None and self.due_date is not None:
            raise ValueError("a task is due at due_at or on due_date, not both")
        return self

    def edit(self, *, allow_past: bool) -> TaskEdit:
        """Give what is to change."""
        named = self.model_fields_set
        fields = {
            name: _EMPTY.get(name) if getattr(self, name) is None else getattr(self, name)
            for name in named - {"status", "reminders", "recurrence"}
        }
        return TaskEdit(
            fields=fields,
            reminders=tuple(item.request(item.id) for item in self.reminders or ())
            if "reminders" in named
            else None,
            status=self.status if "status" in named else None,
            names_recurrence="recurrence" in named,
            recurrence=None if self.recurrence is None else self.recurrence.recurrence(),
            allow_past=allow_past,
        )


class CompletionBody(Body, json_schema_extra={"examples": [{"completed": True}]}):
    """Whether the task is to be completed or opened again."""

    completed: bool = True


class ReminderAnswer(Answer):
    """A reminder as it stands."""

    id: UUID
    offset: timedelta | None = Field(default=None, exclude_if=_absent)
    at: datetime | None = Field(default=None, exclude_if=_absent)
    channels: tuple[Channel, ...] = Field(default=(), exclude_if=lambda channels: not channels)
    snoozed_until: datetime | None = Field(default=None, exclude_if=_absent)
    acknowledged_at: datetime | None = Field(default=None, exclude_if=_absent)


class RecurrenceAnswer(Answer):
    """How a task recurs."""

    rrule: str
    anchor: Anchor
    month_end: MonthEnd
    overdue: Overdue
    dst_gap: DstGap
    pile_up: PileUp


_TASK_EXAMPLE: dict[str, Any] = {
    "id": "0190a6f0-3c5e-7b7a-9d7b-5b1f1c7e2a11",
    "number": 17,
    "title": "Water the plants",
    "description": None,
    "status": "pending",
    "completed": False,
    "priority": "medium",
    "tags": ["home"],
    "due_at": "2030-05-04T16:00:00Z",
    "due_date": None,
    "timezone": "Europe/Berlin",
    "completed_at": None,
    "created_at": "2030-05-01T08:00:00Z",
    "updated_at": "2030-05-01T08:00:00Z",
    "version": 1,
    "metadata": {},
    "reminders": [{"id": "0190a6f0-3c5e-7b7a-9d7b-5b1f1c7e2a12", "offset": "PT30M"}],
    "recurrence": {
        "rrule": "FREQ=WEEKLY;BYDAY=MO,TH",
        "anchor": "schedule",
        "month_end": "clamp",
        "overdue": "next_future",
        "dst_gap": "forward",
        "pile_up": "wait",
    },
    "series_id": "0190a6f0-3c5e-7b7a-9d7b-5b1f1c7e2a13",
    "occurrence_key": "2030-05-04T18:00:00",
}


class TaskAnswer(Answer, json_schema_extra={"examples": [_TASK_EXAMPLE]}):
    """A task as it stands. `completed` repeats what `status` says."""

    id: UUID
    number: int
    title: str
    description: str | None
    status: TaskStatus
    completed: bool
    priority: Priority
    tags: tuple[str, ...]
    due_at: datetime | None
    due_date: date | None
    timezone: str
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    version: int
    metadata: dict[str, Any]
    reminders: tuple[ReminderAnswer, ...]
    recurrence: RecurrenceAnswer | None
    series_id: UUID | None = Field(default=None, exclude_if=_absent)
    occurrence_key: str | None = Field(default=None, exclude_if=_absent)
    deleted_at: datetime | None = Field(default=None, exclude_if=_absent)

    @classmethod
    def of(cls, view: TaskView, **more: Any) -> Self:
        """Give a task as it is shown."""
        task = view.task
        return cls(
            id=task.id,
            number=task.number,
            title=task.title,
            description=task.description,
            status=task.status,
            completed=task.status is TaskStatus.COMPLETED,
            priority=task.priority,
            tags=task.tags,
            due_at=task.due_at,
            due_date=task.due_date,
            timezone=task.timezone,
            completed_at=task.completed_at,
            created_at=task.created_at,
            updated_at=task.updated_at,
            version=task.version,
            metadata=dict(task.metadata),
            reminders=tuple(_reminder(reminder) for reminder in task.reminders),
            recurrence=_recurrence(view.recurrence),
            series_id=task.series_id,
            occurrence_key=task.occurrence_key,
            deleted_at=task.deleted_at,
            **more,
        )


class CompletedAnswer(TaskAnswer):
    """A task, and the next instance of its series where that exists already."""

    next: TaskAnswer | None = None


class TaskPage(Answer):
    """A page of tasks; `next_cursor` leads to the one after it."""

    items: tuple[TaskAnswer, ...]
    next_cursor: str | None
    has_next: bool


def _reminder(reminder: Reminder) -> ReminderAnswer:
    return ReminderAnswer(
        id=reminder.id,
        offset=reminder.offset,
        at=reminder.at,
        channels=reminder.channels,
        snoozed_until=reminder.snoozed_until,
        acknowledged_at=reminder.acknowledged_at,
    )


def _recurrence(recurrence: Recurrence | None) -> RecurrenceAnswer | None:
    if recurrence is None:
        return None
    policies = recurrence.policies
    return RecurrenceAnswer(
        rrule=recurrence.rrule,
        anchor=policies.anchor,
        month_end=policies.month_end,
        overdue=policies.overdue,
        dst_gap=policies.dst_gap,
        pile_up=policies.pile_up,
    )
