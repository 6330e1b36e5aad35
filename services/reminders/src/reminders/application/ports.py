"""What the use cases need of the world."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from event_contracts.origin import Origin
from event_contracts.reminders import ReminderDue, ReminderScheduled
from event_contracts.tasks import TaskSnapshot
from reminders.domain.document import Document
from service_kit.due_index import Claim, Lease


@dataclass(frozen=True)
class StoredDocument:
    """A document and the ETag that a write on top of it must name; None when there is nothing below."""

    document: Document
    etag: str | None


class Documents(Protocol):
    """Schedule documents of one generation. Writes raise StateConflict or StateUnavailable, reads the latter."""

    async def get(self, generation: str, task_id: UUID) -> StoredDocument | None: ...

    async def get_many(self, generation: str, task_ids: Iterable[UUID]) -> dict[UUID, StoredDocument]: ...

    async def write_many(self, generation: str, documents: Sequence[StoredDocument]) -> None:
        """First-write, each on top of its ETag. Raises when one was not written; any of the others may be.

        That of a closed task goes by itself, once nothing older than its end can come any more.
        """
        ...


class Index(Protocol):
    """The due index. Raises RedisError when Redis is away."""

    async def add(self, members: Mapping[str, datetime]) -> int: ...

    async def missing(self, members: Collection[str]) -> set[str]:
        """Those that are not in it."""
        ...

    async def claim(self, limit: int = 200) -> Claim: ...

    async def ack_many(self, leases: Sequence[Lease]) -> list[bool]: ...

    async def release(self, lease: Lease, until: datetime) -> bool: ...

    async def next_due(self) -> datetime | None: ...


class Upcoming(Protocol):
    """The members of each person by fire time, those of what has changed since too. Raises RedisError."""

    async def note(
        self, generation: str, members: Mapping[UUID, Mapping[str, datetime]], now: datetime
    ) -> set[UUID]:
        """Note, by person, those that are ahead of `now`; who of them was erased, and so has nothing noted."""
        ...

    async def following(self, user_id: UUID, from_ms: int, skip: int, limit: int) -> list[str]:
        """By fire time, from `from_ms` (epoch milliseconds) on, without the first `skip`."""
        ...

    async def forget(self, generation: str, user_id: UUID) -> None:
        """Remove what is there of a person who was erased, and let nothing of theirs in while it could still come."""
        ...


class Announcer(Protocol):
    """Publishes, each event with the origin that it carries on.

    Raises SidecarError when nothing is known of what became of the events.
    """

    async def scheduled(self, events: Sequence[tuple[ReminderScheduled, Origin | None]]) -> None: ...

    async def due(
        self, events: Sequence[tuple[ReminderDue, Origin | None]]
    ) -> Collection[tuple[UUID, datetime]]:
        """Publish in one request; the (reminder id, fire time) that the broker took."""
        ...


@dataclass(frozen=True)
class SnapshotPage:
    """A page of tasks as task-api has them now."""

    tasks: Sequence[TaskSnapshot]
    next_cursor: str | None


class TaskApi(Protocol):
    """What task-api answers its siblings. Raises SidecarError when it cannot be reached."""

    async def task(self, task_id: UUID) -> TaskSnapshot | None: ...

    async def some_tasks(self, task_ids: Collection[UUID]) -> dict[UUID, TaskSnapshot]:
        """Those that there are, by id, deleted ones that are still kept included."""
        ...

    async def epoch(self) -> int: ...

    async def page(self, cursor: str | None, since: datetime | None = None) -> SnapshotPage:
        """The open tasks; with `since` all that changed from then on, closed and deleted ones too."""
        ...
