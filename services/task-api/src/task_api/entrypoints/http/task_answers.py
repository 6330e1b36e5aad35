"""The bodies that the task routes answer with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Self
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, Field

from event_contracts.series import Anchor, DstGap, MonthEnd, Overdue, PileUp
from event_contracts.values import Channel, Priority, TaskStatus
from task_api.application.ports import TaskView
from task_api.domain.series import Recurrence
from task_api.domain.task import Reminder
from task_api.entrypoints.http.fields import Answer
from task_api.entrypoints.http.preconditions import etag
from task_api.entrypoints.http.undo_tokens import UndoTokens

ROOT = "/api/v1/tasks"
ONE = ROOT + "/{task_id}"


def _absent(value: object) -> bool:
    return value is None


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


class TasksAnswer(Answer):
    """Some tasks as they are now."""

    items: tuple[TaskAnswer, ...]


class FailedItem(Answer):
    """Why one item could not be done: of a task that is there, by its id; of one to be created, by its place. Without
    either, it is about tasks that the answer does not name."""

    id: UUID | None = Field(default=None, exclude_if=_absent)
    index: int | None = Field(default=None, exclude_if=_absent)
    error_code: str
    detail: str


class BulkItem(Answer):
    """One task that was dealt with, and its version now."""

    id: UUID
    version: int


class BulkAnswer(Answer):
    """How many tasks were dealt with, each of them, and those that could not be."""

    updated: int
    items: tuple[BulkItem, ...]
    failed: tuple[FailedItem, ...]


class BulkCreatedAnswer(Answer):
    """How many tasks were made, each of them, and those that could not be."""

    created: int
    items: tuple[TaskAnswer, ...]
    failed: tuple[FailedItem, ...]


class TaskPage(Answer):
    """A page of tasks; `next_cursor` leads to the one after it, `total` is there when it was asked for."""

    items: tuple[TaskAnswer, ...]
    next_cursor: str | None
    has_next: bool
    total: int | None = Field(default=None, exclude_if=_absent)


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
    return None if recurrence is None else recurrence_answer(recurrence)


def recurrence_answer(recurrence: Recurrence) -> RecurrenceAnswer:
    """Give a rule and its policies as they are shown."""
    policies = recurrence.policies
    return RecurrenceAnswer(
        rrule=recurrence.rrule,
        anchor=policies.anchor,
        month_end=policies.month_end,
        overdue=policies.overdue,
        dst_gap=policies.dst_gap,
        pile_up=policies.pile_up,
    )


def task_answer(view: TaskView, undo: UndoTokens | None = None, status: int = 200) -> Response:
    """Give the response that shows a task; with `undo` it carries the token of the change that was made."""
    headers = {"ETag": etag(view.task.version)} | ({} if undo is None else undo.of(view))
    return json_answer(TaskAnswer.of(view), status, headers)


def json_answer(body: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Give a response with a model as it is: made here, it needs no second check."""
    return Response(
        body.model_dump_json(), status_code=status, media_type="application/json", headers=dict(headers or {})
    )
