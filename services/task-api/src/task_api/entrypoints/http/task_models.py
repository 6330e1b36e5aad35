"""The bodies that the task routes take."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Field, StrictBool, model_validator

from event_contracts.rrule import TaskRRuleText
from event_contracts.series import Anchor, DstGap, MonthEnd, Overdue, PileUp, RecurrencePolicies
from event_contracts.tasks import REMINDERS_MAX
from event_contracts.values import Channel, Priority, TaskStatus, Zone
from task_api.application.create_task import NewTask
from task_api.application.edit_task import TaskEdit
from task_api.application.intake import ReminderRequest
from task_api.domain.series import Recurrence
from task_api.entrypoints.http.aliases import speaks_of_todos
from task_api.entrypoints.http.fields import (
    Body,
    Day,
    Description,
    Instant,
    Metadata,
    Offset,
    Tags,
    Title,
    at_most,
)


class ReminderBody(Body, json_schema_extra={"examples": [{"offset": "PT30M", "channels": ["email"]}]}):
    """A reminder: `offset` before due, or `at`. `channels` empty means the person's preference.

    `snoozed_until` and `acknowledged_at` are read-only here: a reminder that is sent back as it was read is fine.
    """

    offset: Offset | None = None
    at: Instant | None = None
    channels: Annotated[tuple[Channel, ...], Field(max_length=len(Channel)), at_most(len(Channel))] = ()
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


SNOOZE_MAX_MINUTES = 366 * 24 * 60


class SnoozeBody(Body, json_schema_extra={"examples": [{"minutes": 10}, {"until": "2030-05-04T15:50:00Z"}]}):
    """Until when a reminder is put off: `until`, or `minutes` from now."""

    until: Instant | None = None
    minutes: Annotated[int, Field(ge=1, le=SNOOZE_MAX_MINUTES)] | None = None

    @model_validator(mode="after")
    def _one_moment(self) -> Self:
        if (self.until is None) == (self.minutes is None):
            raise ValueError("give either until or minutes")
        return self

    def moment(self) -> datetime | timedelta:
        """Give the instant, or how long from now."""
        return self.until if self.until is not None else timedelta(minutes=self.minutes or 0)


class ReminderItem(ReminderBody):
    """A reminder in a task's list; with `id` it is one that the task has, without it one that says the same, or new."""

    id: UUID | None = None


Reminders = Annotated[tuple[ReminderItem, ...], Field(max_length=REMINDERS_MAX), at_most(REMINDERS_MAX)]


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


def _with_moment(body: Any) -> Any:
    """The clients of /todos write a moment into due_date, and null to clear it."""
    if not (speaks_of_todos() and isinstance(body, dict) and "due_date" in body):
        return body
    due = body["due_date"]
    if body.get("due_at") is None and (due is None or (isinstance(due, str) and "T" in due)):
        # Still named, since PUT wants every field; a moment takes the place of a date anyhow.
        return body | {"due_at": due, "due_date": None}
    return body


def _without_its_time(body: Any) -> Any:
    """The clients of /todos write beside the status when it was completed. That is told by when we hear of it: history
    and reminders go by the same clock."""
    if speaks_of_todos() and isinstance(body, dict) and "status" in body:
        return {name: value for name, value in body.items() if name != "completed_at"}
    return body


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

    @model_validator(mode="before")
    @classmethod
    def _moment_in_due_date(cls, body: Any) -> Any:
        return _with_moment(body)

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

    @model_validator(mode="before")
    @classmethod
    def _as_todos_have_it(cls, body: Any) -> Any:
        return _without_its_time(_with_moment(body))

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


_PUT_EXAMPLE: dict[str, Any] = {
    "title": "Water the plants",
    "description": None,
    "status": "in_progress",
    "priority": "medium",
    "tags": ["home"],
    "due_at": "2030-05-04T16:00:00Z",
    "due_date": None,
    "timezone": "Europe/Berlin",
    "metadata": {},
    "reminders": [{"offset": "PT30M"}],
    "recurrence": None,
}


class TaskPut(Body, json_schema_extra={"examples": [_PUT_EXAMPLE]}):
    """A task with all that can be changed of it: every field is named, null where it is to be empty."""

    title: Title
    description: Description | None
    status: TaskStatus
    priority: Priority
    tags: Tags
    due_at: Instant | None
    due_date: Day | None
    timezone: Zone
    metadata: Metadata
    reminders: Reminders
    recurrence: RecurrenceBody | None

    @model_validator(mode="before")
    @classmethod
    def _moment_in_due_date(cls, body: Any) -> Any:
        return _with_moment(body)

    @model_validator(mode="after")
    def _one_due(self) -> Self:
        if self.due_at is not None and self.due_date is not None:
            raise ValueError("a task is due at due_at or on due_date, not both")
        return self

    def edit(self, *, allow_past: bool) -> TaskEdit:
        """Give what is to change: everything."""
        plain = set(type(self).model_fields) - {"status", "reminders", "recurrence"}
        return TaskEdit(
            fields={name: getattr(self, name) for name in plain},
            reminders=tuple(item.request(item.id) for item in self.reminders),
            status=self.status,
            names_recurrence=True,
            recurrence=None if self.recurrence is None else self.recurrence.recurrence(),
            allow_past=allow_past,
        )


BULK_MAX = 500
_Ids = Annotated[tuple[UUID, ...], Field(min_length=1, max_length=BULK_MAX), at_most(BULK_MAX)]
_IDS_EXAMPLE: dict[str, Any] = {"ids": ["0190a6f0-3c5e-7b7a-9d7b-5b1f1c7e2a11"]}


class BulkIds(Body, json_schema_extra={"examples": [_IDS_EXAMPLE]}):
    """The tasks that are meant; one that is named twice counts once."""

    @model_validator(mode="before")
    @classmethod
    def _todo_ids(cls, body: Any) -> Any:
        if speaks_of_todos() and isinstance(body, dict) and "todo_ids" in body and "ids" not in body:
            return {"ids" if name == "todo_ids" else name: value for name, value in body.items()}
        return body

    ids: _Ids
    atomic: StrictBool = False


class BulkUpdate(BulkIds, json_schema_extra={"examples": [_IDS_EXAMPLE | {"changes": {"priority": "high"}}]}):
    """The tasks that are meant, and the changes for each."""

    changes: TaskPatch


class BulkCreate(Body, json_schema_extra={"examples": [{"tasks": _CREATE_EXAMPLES}]}):
    """Tasks to be made, in their order."""

    tasks: Annotated[tuple[TaskCreate, ...], Field(min_length=1, max_length=BULK_MAX), at_most(BULK_MAX)]
    atomic: StrictBool = False


class CompletionBody(Body, json_schema_extra={"examples": [{"completed": True}]}):
    """Whether the task is to be completed or opened again."""

    completed: StrictBool = True
