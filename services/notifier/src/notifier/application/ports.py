"""What the use cases need from outside, in their own words. Adapters raise the errors of application.errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from event_contracts.tasks import TaskSnapshot
from event_contracts.values import Channel
from notifier.domain.contact import Contact
from notifier.domain.inbox import Page
from notifier.domain.notifications import Delivery, Notification, Progress, Verdict
from notifier.domain.task_record import TaskRecord
from notifier.domain.wording import Message


class Clock(Protocol):
    """The time, in UTC."""

    async def now(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that is this process's own until its lease runs out; `token` is the adapter's proof of that."""

    delivery: Delivery
    token: object = field(repr=False)


class Deliveries(Protocol):
    """The delivery index: one entry per notification and channel, from the news until its verdict is published."""

    async def enqueue(self, notification: Notification, channel: Channel) -> bool:
        """Queue it unless it ever was, in one step; True when it is new. A copy of the news changes nothing."""
        ...

    async def claim(self, channel: Channel, limit: int) -> Sequence[Claimed]:
        """Take at most `limit` entries that are due, each for the length of the lease."""
        ...

    async def record(self, claimed: Claimed, verdict: Verdict) -> Verdict | None:
        """Write the verdict down unless one is there, and give the one that stands; None when the entry is gone."""
        ...

    async def put_off(self, claimed: Claimed, progress: Progress, until: datetime) -> None:
        """Give it back until then, if it is still ours."""
        ...

    async def finish(self, claimed: Claimed) -> bool:
        """Take it out for good; its verdict is published. False when another one did."""
        ...

    async def depth(self, channel: Channel) -> int: ...

    async def forget(self, user_id: UUID) -> None:
        """Erase every entry and trace of this person's notifications."""
        ...


class Inbox(Protocol):
    """Each person's list of notifications."""

    async def add(self, message: Message, at: datetime) -> None:
        """Put it in, once however often it is asked; nothing happens for a person who was erased."""
        ...

    async def contains(self, user_id: UUID, notification_id: UUID) -> bool: ...

    async def clear(self, user_id: UUID, task_id: UUID, at: datetime) -> int:
        """Mark what this task announced, and what is unread yet, as read by itself; give how many that were."""
        ...

    async def page(self, user_id: UUID, *, before: str | None, limit: int, unread_only: bool) -> Page:
        """Give the newest first, older than the position `before`."""
        ...

    async def mark_read(self, user_id: UUID, notification_id: UUID, at: datetime) -> bool:
        """Mark one as read and note that this is to be told; False when there is no such notification."""
        ...

    async def mark_all_read(self, user_id: UUID, at: datetime) -> int:
        """Mark all that is unread, and note it like mark_read; give how many that were."""
        ...

    async def erase(self, user_id: UUID) -> None:
        """Erase everything, and let nothing in any more."""
        ...


class ReadMarks(Protocol):
    """What people read and task-api was not told yet."""

    async def claim(self, limit: int) -> Sequence[tuple[UUID, UUID, datetime, object]]:
        """Take (user id, notification id, when it was read, token) of at most `limit` marks."""
        ...

    async def finish(self, tokens: Sequence[object]) -> None: ...


class TaskApi(Protocol):
    """task-api, asked by service invocation. Raises TaskApiUnavailable."""

    async def task(self, task_id: UUID) -> TaskSnapshot | None: ...

    async def contact(self, user_id: UUID) -> Contact | None: ...

    async def epoch(self) -> int: ...

    def forget(self, user_id: UUID) -> None:
        """Drop what is remembered of a person."""
        ...


@dataclass(frozen=True, slots=True)
class LoadedRecord:
    """A record as it was read, with what its next write needs. `epoch` is the marker's."""

    task_id: UUID
    generation: str
    epoch: int
    record: TaskRecord | None
    etag: str | None


class TaskRecords(Protocol):
    """One document per task, each write guarded against others' writes."""

    async def load(self, task_id: UUID) -> LoadedRecord:
        """Read it. Raises NotReady while the marker is missing."""
        ...

    async def save(self, loaded: LoadedRecord, record: TaskRecord) -> None:
        """Write it if nobody wrote since it was loaded. Raises RecordWriteFailed."""
        ...


class Mailer(Protocol):
    """Sends one reminder by mail. Raises ChannelUnavailable, ChannelRefused."""

    async def send(self, message: Message, contact: Contact, at: datetime) -> None: ...


class Events(Protocol):
    """What this service tells the others. Raises PublishFailed."""

    async def delivered(self, delivery: Delivery, verdict: Verdict) -> None:
        """Tell how a channel ended; the same verdict always has the same event id."""
        ...

    async def read(self, user_id: UUID, marks: Mapping[UUID, datetime]) -> None: ...


class Sender(Protocol):
    """One channel's way of sending, for the delivery of that channel."""

    async def sent_before(self, notification: Notification) -> bool:
        """Whether the message is out for sure already; False where that cannot be known."""
        ...

    async def send(self, message: Message, task: TaskSnapshot, contact: Contact | None) -> None:
        """Send it. Raises ChannelUnavailable, ChannelRefused."""
        ...
