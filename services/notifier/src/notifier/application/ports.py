"""What the use cases need from outside, in their own words. Adapters raise the errors of application.errors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from event_contracts.notifications import DeliveryOutcome
from event_contracts.tasks import TaskSnapshot
from event_contracts.values import Channel
from notifier.domain.announced import Announced, AnnouncedPage, Place
from notifier.domain.contact import Chat, Contact, PushSubscription, Webhook
from notifier.domain.inbox import ClosedTask, Page
from notifier.domain.lanes import Lane
from notifier.domain.links import Link
from notifier.domain.notifications import Attempt, Delivery, Notification, Progress, Verdict
from notifier.domain.task_record import Order, TaskRecord
from notifier.domain.wording import Message, Words


class Languages(Protocol):
    """The words of a person's language, by its tag; English where there are none."""

    def words(self, locale: str, /) -> Words: ...


class Clock(Protocol):
    """The time, in UTC."""

    async def now(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that is this process's own until its lease runs out; `token` is the adapter's proof of that.

    `followers` were put to it by `hold`: they go out with it, under the same lease, and have none of their own.
    """

    delivery: Delivery
    token: object = field(repr=False)
    followers: tuple[Claimed, ...] = ()


def needs_lease(claimed: Claimed, verdict: Verdict) -> bool:
    """Whether the verdict counts only while the lease is held. What was sent was sent, whoever has it by now; but who
    was held up since they found that it does not matter may be overtaken by one who sends it. A lane has one worker."""
    return verdict.outcome is DeliveryOutcome.CANCELLED and claimed.delivery.destination is None


class Deliveries(Protocol):
    """The delivery index: one entry per notification and channel, from the news until its verdict is published."""

    async def enqueue(self, notification: Notification, channel: Channel) -> bool:
        """Queue it unless it ever was, in one step; True when it is new. A copy of the news changes nothing."""
        ...

    async def enqueue_all(self, notification: Notification, channels: Sequence[Channel]) -> Sequence[bool]:
        """Queue it on each of these channels as `enqueue` does, in this order and one round trip."""
        ...

    async def claim(self, channel: Channel, limit: int) -> Sequence[Claimed]:
        """Take at most `limit` entries that are due, each for the length of the lease."""
        ...

    async def record(self, claimed: Claimed, verdict: Verdict) -> Verdict | None:
        """Write the verdict down unless one is there, and give the one that stands; None when the entry is gone.

        In the same step a verdict that is written is kept as an attempt, and, when it holds only while the task is
        closed, put on the shelf.
        """
        ...

    async def put_off(
        self, claimed: Claimed, progress: Progress, until: datetime, failed: Attempt | None = None
    ) -> None:
        """Give it back until then, if it is still ours; the try that failed, if there was one, is kept."""
        ...

    async def note(self, claimed: Claimed, progress: Progress) -> bool:
        """Keep what is known of the tries, and whether it was kept: not when somebody else has it by now."""
        ...

    async def hold(self, claimed: Claimed, progress: Progress, until: datetime) -> None:
        """Give it back so that it goes out with what else is held for this person at the same place, in one step.

        The first that is held comes back at `until`, those after it, up to a bound, follow it. Once that first one was
        claimed nothing joins it any more: what comes later begins anew.
        """
        ...

    async def attempts(self, user_id: UUID, notification_id: UUID) -> Sequence[Attempt]:
        """Give every try there was, verdicts included, oldest first; empty when this person has none such."""
        ...

    async def finish(self, claimed: Claimed) -> bool:
        """Take it out for good; its verdict is published. False when another one did, or it was queued again."""
        ...

    async def drop(self, claimed: Claimed) -> None:
        """Take it out without a verdict or a trace, if it is still ours; a copy of the news still changes nothing."""
        ...

    async def shelved(self, user_id: UUID, task_id: UUID) -> Sequence[Delivery]:
        """Give what was cancelled because this task was closed."""
        ...

    async def requeue(self, delivery: Delivery) -> bool:
        """Queue it again, without a verdict, if it is still on the shelf, in one step."""
        ...

    async def depth(self, channel: Channel) -> int: ...

    async def forget(self, user_id: UUID) -> None:
        """Erase every entry and trace of this person's notifications."""
        ...


class LaneQueue(Protocol):
    """Where notifications wait for their destination."""

    async def enqueue_in(self, lane: Lane, notification: Notification) -> bool:
        """Queue it for this destination unless it ever was, in one step; True when it is new."""
        ...

    async def requeue_in(self, lane: Lane, notification: Notification) -> bool:
        """Queue it again, without a verdict, if it is still on the shelf, in one step."""
        ...


@dataclass(frozen=True, slots=True)
class ClaimedLane:
    """A lane that is this process's own until its lease runs out; `failures` is how many there were in a row."""

    lane: Lane
    failures: int
    token: object = field(repr=False)


class Lanes(LaneQueue, Protocol):
    """The lanes, each worked by one process at a time: so a destination never has more than one turn's messages
    under way, and one that hangs holds up nobody else's."""

    async def claim_lanes(self, limit: int) -> Sequence[ClaimedLane]:
        """Take at most `limit` lanes in which something is due and that are not closed."""
        ...

    async def claim_in(self, lane: Lane, limit: int) -> Sequence[Claimed]:
        """Take at most `limit` of what is due in a lane that was claimed."""
        ...

    async def rest(self, claimed: ClaimedLane, failures: int, closed_until: datetime | None) -> None:
        """Give the lane back, if it is still ours; it comes when the next in it is due, but not while it is closed."""
        ...

    async def depths(self) -> Mapping[Channel, int]:
        """How many notifications wait in the lanes of each channel."""
        ...


@dataclass(frozen=True, slots=True)
class Settled:
    """What is known of a notification: that it was queued at each place where it ended, and how; that it waits for its
    task at those in `shelved`; that nothing is left to queue on the channels in `settled`, and that there was nobody to
    tell on those that lead `nowhere`."""

    announced: Announced
    settled: Collection[Channel]
    shelved: Collection[Place] = ()
    nowhere: Collection[Channel] = ()


class LostDeliveries(Protocol):
    """Puts back what the delivery index knew of notifications that came to an end. Raises RedisError."""

    async def missing(self, page: Sequence[Announced]) -> set[UUID]:
        """Those that are not known to have been queued where they were, or to have ended where they did."""
        ...

    async def put_back(self, lost: Sequence[Settled]) -> None:
        """Know all of it again. A channel that is neither settled nor leads nowhere can be queued again: it is then
        spread over the places where it did not end. What is queued and has got through, or was given up, is taken out.
        Repeating it changes nothing.
        """
        ...


@dataclass(frozen=True, slots=True)
class ShownEntry:
    """An entry that was in an inbox since `at`; `read_at` None while it is unread."""

    message: Message
    at: datetime
    read_at: datetime | None


class Inbox(Protocol):
    """Each person's list of notifications."""

    async def add(self, message: Message, as_of: Order | None, at: datetime) -> None:
        """Put in what is told as of this version of its task, None when it is of no task; once however often it is
        asked, and not for a person who was erased."""
        ...

    async def restore(self, entries: Sequence[ShownEntry]) -> int:
        """Put in what was lost, without telling anybody; give how many of them were not there. Of a person who was
        erased nothing is put in."""
        ...

    async def contains(self, user_id: UUID, notification_id: UUID) -> bool: ...

    async def missing(self, entries: Sequence[tuple[UUID, UUID]]) -> set[UUID]:
        """Those of (user id, notification id) that are in no inbox."""
        ...

    async def clear(self, closed: ClosedTask) -> int:
        """Mark what this task announced, and what is unread yet, as read by itself; give how many that were. What was
        told as of a later version stays: the task had been opened again by then."""
        ...

    async def clear_many(self, tasks: Sequence[ClosedTask]) -> None:
        """The same of many."""
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

    async def tasks(self, task_ids: Collection[UUID]) -> Sequence[TaskSnapshot]:
        """Give those of these tasks that there are, in no order."""
        ...

    async def contact(self, user_id: UUID) -> Contact | None: ...

    async def epoch(self) -> int: ...

    async def announced(self, cursor: str | None, since: datetime) -> AnnouncedPage:
        """Give a page of the reminders that fired since then, in the order in which they did."""
        ...

    async def remove_push(self, push_id: UUID) -> None:
        """Strike off a browser that is no more; nothing happens when it is struck off already."""
        ...

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

    async def newest(self, task_ids: Collection[UUID]) -> Mapping[UUID, TaskRecord]:
        """Read those of these tasks that there are. Raises NotReady while the marker is missing."""
        ...

    async def save(self, loaded: LoadedRecord, record: TaskRecord) -> None:
        """Write it if nobody wrote since it was loaded. Raises RecordWriteFailed."""
        ...


class Mailer(Protocol):
    """Sends one reminder by mail. Raises ChannelUnavailable, ChannelRefused."""

    async def send(self, message: Message, contact: Contact, at: datetime) -> None: ...


class Webhooks(Protocol):
    """Posts one reminder to an address. Raises ChannelUnavailable, ChannelRefused."""

    async def post(self, webhook: Webhook, message: Message, at: datetime) -> None: ...


class ChatRooms(Protocol):
    """Says one reminder in a chat room. Raises ChannelUnavailable, ChannelRefused."""

    async def say(self, chat: Chat, message: Message) -> None: ...


class Browsers(Protocol):
    """Pushes one reminder to a browser. Raises ChannelUnavailable, ChannelRefused and its DestinationGone."""

    async def push(self, browser: PushSubscription, message: Message, at: datetime) -> None: ...


class Events(Protocol):
    """What this service tells the others. Raises PublishFailed."""

    async def delivered(self, delivery: Delivery, verdict: Verdict, place: str | None = None) -> None:
        """Tell how a channel ended; the same verdict always has the same event id. `place` names its destination."""
        ...

    async def to_be_repeated(self, delivery: Delivery, failed: Attempt, place: str | None = None) -> None:
        """Tell of a try that failed and comes again; the same try always has the same event id."""
        ...

    async def read(self, user_id: UUID, marks: Mapping[UUID, datetime]) -> None: ...


class LinkUses(Protocol):
    """Which links in mails were followed."""

    async def is_used_up(self, token: str) -> bool: ...

    async def begin(self, token: str, at: datetime, until: datetime) -> datetime | None:
        """Note `at` as its first use, kept to `until`; give the first use that stands, None when it is used up."""
        ...

    async def use_up(self, token: str) -> None: ...


class PersonsActions(Protocol):
    """What task-api does in a person's name, each the same however often. Raises TaskApiUnavailable, LinkRefused."""

    async def act(self, link: Link, first_followed: datetime) -> None: ...

    async def stop_mail(self, user_id: UUID) -> None: ...


class Sender(Protocol):
    """One channel's way of sending, for the delivery of that channel."""

    async def sent_before(self, notification: Notification) -> bool:
        """Whether the message is out for sure already; False where that cannot be known."""
        ...

    async def send(
        self, delivery: Delivery, message: Message, task: TaskSnapshot, contact: Contact | None
    ) -> None:
        """Send it. Raises ChannelUnavailable, ChannelRefused."""
        ...
