"""What siblings may ask: one task, one series, one person's address, and page by page what a rebuild needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from event_contracts.series import SeriesSnapshot
from event_contracts.tasks import TaskSnapshot
from event_contracts.values import Channel

PAGE_MAX = 500

SnapshotT = TypeVar("SnapshotT", TaskSnapshot, SeriesSnapshot)


@dataclass(frozen=True, slots=True)
class Contact:
    """Where and how a person is reached; `first_name` is None when it was never given."""

    user_id: UUID
    email: str
    first_name: str | None
    locale: str
    timezone: str
    channels: tuple[Channel, ...]


@dataclass(frozen=True, slots=True)
class Page(Generic[SnapshotT]):
    """Some snapshots in the order of their ids; `after` continues, None at the end. `epoch` is that of the read."""

    items: list[SnapshotT]
    after: UUID | None
    epoch: int


class SnapshotReader(Protocol):
    """Reads for siblings, of any user. Each takes one query. Raises StorageUnavailable."""

    async def epoch(self) -> int:
        """Read the epoch of the database."""

    async def task(self, task_id: UUID) -> TaskSnapshot | None:
        """Read a task, deleted ones included."""

    async def series(self, series_id: UUID) -> SeriesSnapshot | None:
        """Read a series with its tip."""

    async def contact(self, user_id: UUID) -> Contact | None:
        """Read how a person is reached."""

    async def tasks(self, after: UUID | None, limit: int) -> Page[TaskSnapshot]:
        """Read the open tasks that have reminders or a series."""

    async def all_series(self, after: UUID | None, limit: int) -> Page[SeriesSnapshot]:
        """Read the series that have not ended."""
