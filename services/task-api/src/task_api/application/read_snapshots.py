"""What siblings may ask to build up again what they lost: tasks by their ids, a series, and all page by page."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from event_contracts.series import SeriesSnapshot
from event_contracts.tasks import TaskSnapshot
from event_contracts.values import Channel

PAGE_MAX = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one notification of a reminder fared on one channel, and by which try; `read_at` is when it was read.

    `destination_id` is that of the webhook, chat or browser: none for inbox and mail, nor where it was not told.
    """

    notification_id: UUID
    channel: Channel
    outcome: str
    attempt: int
    reason: str | None
    at: datetime
    read_at: datetime | None
    destination_id: UUID | None


@dataclass(frozen=True, slots=True)
class Announced:
    """What notifier was to tell of: a reminder that fired, or an occurrence that was made, at that key.

    `outcomes` are all that were told of this reminder, those of other fire times too, or of this occurrence, those of
    other keys too. An occurrence fired, so to speak, when it was made.
    """

    id: UUID
    reminder_id: UUID | None
    occurrence_key: str | None
    task_id: UUID
    user_id: UUID
    fire_at: datetime
    fired_at: datetime
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class AfterAnnouncement:
    """Where a page of announcements ended: they are read in the order in which they fired."""

    fired_at: datetime
    id: UUID


ItemT = TypeVar("ItemT", TaskSnapshot, SeriesSnapshot, Announced)


@dataclass(frozen=True, slots=True)
class Page(Generic[ItemT]):
    """Some items; the last one says where the next page begins, when `more`. `epoch` is that of the read."""

    items: list[ItemT]
    more: bool
    epoch: int


class SnapshotReader(Protocol):
    """Reads for siblings, of any user. Each takes one query. Raises StorageUnavailable.

    Without `since` a page holds what is live; with it everything that changed since then, closed and deleted too.
    """

    async def epoch(self) -> int:
        """Read the epoch of the database."""

    async def task(self, task_id: UUID) -> TaskSnapshot | None:
        """Read a task, deleted ones included."""

    async def some_tasks(self, task_ids: Collection[UUID]) -> list[TaskSnapshot]:
        """Read those of these tasks that there are, deleted ones included, in no order."""

    async def series(self, series_id: UUID) -> SeriesSnapshot | None:
        """Read a series with its tip."""

    async def tasks(self, after: UUID | None, limit: int, since: datetime | None) -> Page[TaskSnapshot]:
        """Read tasks in the order of their ids; the live ones are those with reminders or a series."""

    async def all_series(
        self, after: UUID | None, limit: int, since: datetime | None
    ) -> Page[SeriesSnapshot]:
        """Read series in the order of their ids; the live ones are those that have not ended."""

    async def announcements(
        self, after: AfterAnnouncement | None, limit: int, since: datetime | None, *, occurrences: bool
    ) -> Page[Announced]:
        """Read the reminders that fired, and the occurrences that were made if wanted, since then or ever."""
