"""One person's inbox as it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from notifier.domain.task_record import Order


@dataclass(frozen=True, slots=True)
class ClosedTask:
    """A task whose entries need nobody's attention any more, by which of its versions, and since when."""

    user_id: UUID
    task_id: UUID
    by: Order
    at: datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """One notification; a test is of no task. `position` orders the inbox.

    `cleared` means read by its task being done, not by a person.
    """

    position: str
    notification_id: UUID
    task_id: UUID | None
    reminder_id: UUID | None
    title: str
    body: str
    due: str | None
    fire_at: datetime
    created_at: datetime
    read_at: datetime | None
    cleared: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Entries, newest first; `next_position` is None on the last page; `unread` counts the whole inbox."""

    entries: tuple[Entry, ...]
    next_position: str | None
    unread: int
