"""What every kind of file becomes: items that are checked like a task's body, and notes on what could not be kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, ValidationError

from event_contracts.tasks import REMINDERS_MAX
from event_contracts.values import ClosedBy, Priority, TaskStatus, Zone
from service_kit.problems import FieldError, field_errors
from task_api.application.create_task import NewTask
from task_api.application.import_tasks import Draft, Place
from task_api.entrypoints.http.fields import Body, Day, Description, Instant, Metadata, Tags, Title, at_most
from task_api.entrypoints.http.task_models import RecurrenceBody, ReminderBody

ITEMS_MAX = 20_000
"""Tasks in one file: with their rows and events they take seconds to write."""


class ImportItem(Body):
    """A task of a file, in the words of the API."""

    title: Title
    description: Description | None = None
    status: TaskStatus = TaskStatus.PENDING
    priority: Priority = Priority.MEDIUM
    tags: Tags = ()
    due_at: Instant | None = None
    due_date: Day | None = None
    timezone: Zone | None = None
    metadata: Metadata = Field(default_factory=dict)
    reminders: Annotated[
        tuple[ReminderBody, ...], Field(max_length=REMINDERS_MAX), at_most(REMINDERS_MAX)
    ] = ()
    recurrence: RecurrenceBody | None = None
    created_at: Instant | None = None
    completed_at: Instant | None = None
    closed_by: ClosedBy | None = None
    closed_at: Instant | None = None
    deleted_at: Instant | None = None

    def draft(self, item: str, key: str, same_as: UUID | None, place: Place | None) -> Draft:
        """Give what is to be imported."""
        return Draft(
            item=item,
            key=key,
            request=NewTask(
                title=self.title,
                description=self.description,
                status=self.status,
                priority=self.priority,
                tags=self.tags,
                due_at=self.due_at,
                due_date=self.due_date,
                timezone=self.timezone,
                metadata=self.metadata,
                reminders=tuple(reminder.request() for reminder in self.reminders),
                recurrence=None if self.recurrence is None else self.recurrence.recurrence(),
                allow_past=True,
            ),
            same_as=same_as,
            created_at=self.created_at,
            completed_at=self.completed_at,
            closed_by=self.closed_by,
            closed_at=self.closed_at,
            deleted_at=self.deleted_at,
            reminder_states=tuple((one.snoozed_until, one.acknowledged_at) for one in self.reminders),
            place=place,
        )


@dataclass(slots=True)
class Reading:
    """What was read of a file. Warnings are (item, sentence): the task is there, a part of it is not."""

    drafts: list[Draft] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, FieldError]] = field(default_factory=list)

    def add(
        self,
        item: str,
        key: str,
        fields: Mapping[str, Any],
        same_as: UUID | None = None,
        place: Place | None = None,
    ) -> None:
        """Check an item and keep it, or what is wrong with it. Raises UnreadableFile for one too many."""
        if len(self.drafts) + len(self.failed) >= ITEMS_MAX:
            raise too_many_tasks()
        try:
            checked = ImportItem.model_validate(fields)
        except ValidationError as error:
            self.refuse(item, error)
        else:
            self.drafts.append(checked.draft(item, key, same_as, place))

    def refuse(self, item: str, error: ValidationError) -> None:
        """Note what is wrong with an item."""
        self.failed += [(item, one) for one in field_errors(error.errors(include_url=False))]

    def warn(self, item: str, sentence: str) -> None:
        """Note what of an item is not kept."""
        self.warnings.append((item, sentence))


class UnreadableFile(ValueError):
    """The file as a whole is not what its type says; the text says why."""


def too_many_tasks() -> UnreadableFile:
    """Give the refusal of a file of more than `ITEMS_MAX` tasks. A reader that knows it early says it early."""
    return UnreadableFile(f"it holds more than {ITEMS_MAX} tasks: bring them in parts")


Reader = Callable[[bytes, str, datetime], Reading]
"""Reads a file, given its owner's time zone and the time now. Raises UnreadableFile."""
