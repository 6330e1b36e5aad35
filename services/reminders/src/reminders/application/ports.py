"""What the use cases need of the world."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from event_contracts.reminders import ReminderDue, ReminderScheduled
from event_contracts.tasks import TaskSnapshot
from reminders.domain.document import Document
from service_kit.due_index import Claim, Lease
from service_kit.marker import Marker


@dataclass(frozen=True)
class StoredDocument:
    """A document and the ETag that a write on top of it must name."""

    document: Document
    etag: str


class Documents(Protocol):
    """Schedule documents of one generation. Writes raise StateConflict or StateUnavailable, reads the latter."""

    async def get(self, generation: str, task_id: UUID) -> StoredDocument | None: ...

    async def get_many(self, generation: str, task_ids: Iterable[UUID]) -> dict[UUID, StoredDocument]: ...

    async def write(self, generation: str, document: Document, etag: str | None) -> None:
        """First-write: on top of `etag`, or as a new document when it is None. A deleted task's goes by itself."""
        ...


class Markers(Protocol):
    """The marker of the valid generation."""

    async def read(self) -> Marker | None: ...

    async def create(self, epoch: int, run_id: str) -> Marker: ...

    async def renew_run_id(self, marker: Marker, run_id: str) -> Marker: ...


class Index(Protocol):
    """The due index. Raises RedisError when Redis is away."""

    async def add(self, members: Mapping[str, datetime]) -> int: ...

    async def claim(self, limit: int = 200) -> Claim: ...

    async def ack_many(self, leases: Sequence[Lease]) -> list[bool]: ...

    async def release(self, lease: Lease, until: datetime) -> bool: ...

    async def next_due(self) -> datetime | None: ...


class Announcer(Protocol):
    """Publishes; raises SidecarError when nothing is known of what became of the events."""

    async def scheduled(self, events: Sequence[ReminderScheduled]) -> None: ...

    async def due(self, events: Sequence[ReminderDue]) -> Collection[tuple[UUID, datetime]]:
        """Publish in one request; the (reminder id, fire time) that the broker took."""
        ...


@dataclass(frozen=True)
class SnapshotPage:
    """A page of open tasks as task-api has them now."""

    tasks: Sequence[TaskSnapshot]
    next_cursor: str | None


class TaskApi(Protocol):
    """What task-api answers its siblings. Raises SidecarError when it cannot be reached."""

    async def task(self, task_id: UUID) -> TaskSnapshot | None: ...

    async def epoch(self) -> int: ...

    async def page(self, cursor: str | None) -> SnapshotPage: ...


class RebuildLock(Protocol):
    """Lets one replica rebuild at a time; it expires by itself when its holder dies."""

    async def take(self) -> bool: ...

    async def keep(self) -> bool:
        """Prolong it; False when it was lost."""
        ...

    async def give_back(self) -> None: ...

    async def store_run_id(self) -> str:
        """The run id of the Redis that is there now: another one after each start of it."""
        ...
