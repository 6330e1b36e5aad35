"""The delivery index and the inbox without Redis; the behaviour suites hold them to what the real ones do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from event_contracts.values import Channel
from notifier.adapters.redis_deliveries import FOLLOWERS_MAX
from notifier.adapters.redis_entries import member_of
from notifier.application.ports import Claimed, ShownEntry, needs_lease
from notifier.domain.inbox import ClosedTask, Entry, Page
from notifier.domain.notifications import Attempt, Delivery, Notification, Progress, Verdict
from notifier.domain.task_record import Order
from notifier.domain.wording import Message
from service_kit.due_index import Lease, to_score
from service_kit.telemetry import present_origin
from service_kit.testing.fakes import InMemoryDueIndex, ManualClock


class Index(InMemoryDueIndex):
    """As scripts can that set a score themselves; it has one shard."""

    def bring_forward(self, member: str, due_at: datetime) -> None:
        if self.score(member) is not None:
            self.put(member, to_score(due_at))

    def put(self, member: str, score_ms: int) -> None:
        self._shards[0][member] = score_ms

    def score(self, member: str) -> int | None:
        return self._shards[0].get(member)

    def scores(self) -> list[int]:
        return list(self._shards[0].values())

    def first(self) -> int | None:
        return min(self.scores(), default=None)

    def take_out(self, member: str) -> None:
        for shard in self._shards:
            shard.pop(member, None)


class MemoryDeliveries:
    """`Deliveries` in a dictionary for each thing that Redis keeps."""

    def __init__(self, clock: ManualClock, lease: timedelta, erased: set[UUID]) -> None:
        self._clock = clock
        self._erased = erased
        self._lease = lease
        self._indexes: dict[tuple[Channel, UUID | None], Index] = {}
        self._announced: set[str] = set()
        self._entries: dict[str, Delivery] = {}
        self._shelf: list[Delivery] = []
        self._digests: dict[tuple[UUID, Channel], str] = {}
        self._followers: dict[str, list[str]] = {}
        self._attempts: dict[tuple[UUID, UUID], list[Attempt]] = {}

    def index(self, channel: Channel, destination: UUID | None = None) -> Index:
        """Where deliveries of this channel, or of this lane, wait."""
        fresh = Index(self._clock, shards=1, lease=self._lease)
        return self._indexes.setdefault((channel, destination), fresh)

    async def enqueue_all(self, notification: Notification, channels: Sequence[Channel]) -> Sequence[bool]:
        return [await self.enqueue(notification, channel) for channel in channels]

    async def enqueue(self, notification: Notification, channel: Channel) -> bool:
        return self.queue(notification, channel, None, Progress())

    def queue(
        self, notification: Notification, channel: Channel, destination: UUID | None, progress: Progress
    ) -> bool:
        member = member_of(notification.notification_id, channel, destination)
        if notification.user_id in self._erased or member in self._announced:
            return False
        self._announced.add(member)
        self._entries[member] = Delivery(
            notification, channel, progress, destination=destination, origin=present_origin()
        )
        index = self.index(channel, destination)
        if index.score(member) is None:
            index.put(member, to_score(min(self._clock.instant, notification.fire_at)))
        return True

    async def claim(self, channel: Channel, limit: int) -> Sequence[Claimed]:
        return await self.claim_from(channel, None, limit)

    async def claim_from(self, channel: Channel, destination: UUID | None, limit: int) -> Sequence[Claimed]:
        index = self.index(channel, destination)
        claim = await index.claim(limit)
        claimed = []
        for lease in claim.leases:
            if lease.member in self._entries:
                claimed.append(Claimed(self._entries[lease.member], lease, self._seal(lease)))
            else:
                await index.ack(lease)
        return claimed

    def _seal(self, lease: Lease) -> tuple[Claimed, ...]:
        self._digests = {place: one for place, one in self._digests.items() if one != lease.member}
        members = [one for one in self._followers.get(lease.member, []) if one in self._entries]
        found = [Claimed(self._entries[one], replace(lease, member=one, score_ms=0)) for one in members]
        return tuple(sorted(found, key=lambda one: one.delivery.notification.fire_at))

    async def hold(self, claimed: Claimed, progress: Progress, until: datetime) -> None:
        lease, index = _lease(claimed), self._index_of(claimed)
        if lease.member not in self._entries or not await index.release(lease, until):
            return
        place = (claimed.delivery.notification.user_id, claimed.delivery.channel)
        leader = self._digests.get(place)
        is_led = leader in self._entries and len(self._followers.get(leader or "", [])) < FOLLOWERS_MAX
        if leader is not None and is_led:
            self._followers.setdefault(leader, []).append(lease.member)
            index.take_out(lease.member)
        else:
            self._digests[place] = lease.member
            progress = replace(progress, held_until=until)
        self._entries[lease.member] = replace(self._entries[lease.member], progress=progress)

    async def record(self, claimed: Claimed, verdict: Verdict) -> Verdict | None:
        lease = _lease(claimed)
        member = lease.member
        entry = self._entries.get(member)
        if entry is None:
            return None
        index = self._index_of(claimed)
        if lease.score_ms and needs_lease(claimed, verdict) and not index.holds(lease):
            return None
        if entry.verdict is None:
            self._entries[member] = entry = replace(entry, verdict=verdict)
            last = (verdict.attempt, verdict.at, verdict.outcome, verdict.reason)
            self._keep(entry, Attempt(entry.channel, entry.destination, *last))
            if verdict.until_changed:
                self._shelf.append(Delivery(replace(entry.notification, fired_at=None), entry.channel))
        return entry.verdict

    async def put_off(
        self, claimed: Claimed, progress: Progress, until: datetime, failed: Attempt | None = None
    ) -> None:
        lease = _lease(claimed)
        if lease.member in self._entries:
            if failed is not None:
                self._keep(claimed.delivery, failed)
            self._entries[lease.member] = replace(self._entries[lease.member], progress=progress)
        await self._index_of(claimed).release(lease, until)

    async def note(self, claimed: Claimed, progress: Progress) -> bool:
        lease = _lease(claimed)
        if lease.member not in self._entries or not self._index_of(claimed).holds(lease):
            return False
        self._entries[lease.member] = replace(self._entries[lease.member], progress=progress)
        return True

    async def finish(self, claimed: Claimed) -> bool:
        lease = _lease(claimed)
        entry = self._entries.get(lease.member)
        finished = entry is not None and (entry.is_to_be_spread or entry.verdict is not None)
        if finished:
            del self._entries[lease.member]
            self._followers.pop(lease.member, None)
        if finished or entry is None:
            await self._index_of(claimed).ack(lease)
        return finished

    async def drop(self, claimed: Claimed) -> None:
        lease = _lease(claimed)
        index = self._index_of(claimed)
        if index.holds(lease):
            self._entries.pop(lease.member, None)
            await index.ack(lease)

    async def shelved(self, user_id: UUID, task_id: UUID) -> Sequence[Delivery]:
        whose = (user_id, task_id)
        return [one for one in self._shelf if (one.notification.user_id, one.notification.task_id) == whose]

    async def requeue(self, delivery: Delivery) -> bool:
        notification, channel = delivery.notification, delivery.channel
        if delivery not in self._shelf:
            return False
        self._shelf.remove(delivery)
        member = member_of(notification.notification_id, channel)
        self._announced.discard(member)
        index = self.index(channel)
        due_at = min(self._clock.instant, notification.fire_at)
        index.bring_forward(member, due_at)
        for led in self._followers.values():
            if member in led:
                led.remove(member)
        known = self._entries.get(member)
        queued = await self.enqueue(notification, channel)
        if known is not None and known.progress.held_until:
            kept = Progress(held_until=known.progress.held_until)
            self._entries[member] = replace(self._entries[member], progress=kept)
        return queued

    async def attempts(self, user_id: UUID, notification_id: UUID) -> Sequence[Attempt]:
        return self._attempts.get((user_id, notification_id), [])

    def _index_of(self, claimed: Claimed) -> Index:
        return self.index(claimed.delivery.channel, claimed.delivery.destination)

    def _keep(self, delivery: Delivery, attempt: Attempt) -> None:
        notification = delivery.notification
        self._attempts.setdefault((notification.user_id, notification.notification_id), []).append(attempt)

    async def depth(self, channel: Channel) -> int:
        return await self.index(channel).depth()

    async def forget(self, user_id: UUID) -> None:
        self._shelf = [one for one in self._shelf if one.notification.user_id != user_id]
        for key in [key for key in self._attempts if key[0] == user_id]:
            del self._attempts[key]
        for member, entry in list(self._entries.items()):
            if entry.notification.user_id == user_id:
                del self._entries[member]
                self._announced.discard(member)


def _lease(claimed: Claimed) -> Lease:
    assert isinstance(claimed.token, Lease)
    return claimed.token


@dataclass
class _Box:
    entries: list[Entry] = field(default_factory=list)


class MemoryInbox:
    """`Inbox` and `ReadMarks` in lists."""

    def __init__(self, limit: int, erased: set[UUID]) -> None:
        self._limit = limit
        self._erased = erased
        self._boxes: dict[UUID, _Box] = {}
        self._count = 0
        self._as_of: dict[UUID, Order] = {}
        self._to_tell: list[tuple[UUID, UUID, datetime]] = []

    def _entries(self, user_id: UUID) -> list[Entry]:
        return self._boxes.setdefault(user_id, _Box()).entries

    async def add(self, message: Message, as_of: Order | None, at: datetime) -> None:
        if await self._put(message, at, None) and as_of is not None:
            self._as_of[message.notification_id] = as_of

    async def restore(self, entries: Sequence[ShownEntry]) -> int:
        return sum([await self._put(one.message, one.at, one.read_at) for one in entries])

    async def _put(self, message: Message, at: datetime, read_at: datetime | None) -> bool:
        entries = self._entries(message.user_id)
        if message.user_id in self._erased or await self.contains(message.user_id, message.notification_id):
            return False
        self._count += 1
        entries.append(
            Entry(
                position=f"{self._count}-0",
                notification_id=message.notification_id,
                task_id=message.task_id,
                reminder_id=message.reminder_id,
                title=message.title,
                body=message.body,
                due=message.due,
                fire_at=message.fire_at,
                created_at=at,
                read_at=read_at,
                cleared=False,
            )
        )
        del entries[: -self._limit]
        return True

    async def contains(self, user_id: UUID, notification_id: UUID) -> bool:
        return any(entry.notification_id == notification_id for entry in self._entries(user_id))

    async def missing(self, entries: Sequence[tuple[UUID, UUID]]) -> set[UUID]:
        return {identity for user_id, identity in entries if not await self.contains(user_id, identity)}

    async def clear(self, closed: ClosedTask) -> int:
        def over(entry: Entry) -> bool:
            as_of = self._as_of.get(entry.notification_id, (0, 0))
            return entry.task_id == closed.task_id and as_of <= closed.by

        return len(self._mark(closed.user_id, closed.at, over, cleared=True))

    async def clear_many(self, tasks: Sequence[ClosedTask]) -> None:
        for closed in tasks:
            await self.clear(closed)

    async def page(self, user_id: UUID, *, before: str | None, limit: int, unread_only: bool) -> Page:
        entries = self._entries(user_id)
        unread = [entry for entry in entries if entry.read_at is None]
        place = int(before.partition("-")[0]) if before else self._count + 1
        found = [
            entry
            for entry in reversed(unread if unread_only else entries)
            if int(entry.position.partition("-")[0]) < place
        ]
        shown = tuple(found[:limit])
        return Page(shown, shown[-1].position if len(found) > limit else None, len(unread))

    async def mark_read(self, user_id: UUID, notification_id: UUID, at: datetime) -> bool:
        for entry in self._mark(user_id, at, lambda entry: entry.notification_id == notification_id):
            self._to_tell.append((user_id, entry.notification_id, at))
        return await self.contains(user_id, notification_id)

    async def mark_all_read(self, user_id: UUID, at: datetime) -> int:
        marked = self._mark(user_id, at, lambda _: True)
        self._to_tell += [(user_id, entry.notification_id, at) for entry in marked]
        return len(marked)

    def _mark(self, user_id: UUID, at: datetime, wanted: object, *, cleared: bool = False) -> list[Entry]:
        assert callable(wanted)
        entries = self._entries(user_id)
        marked = [entry for entry in entries if entry.read_at is None and wanted(entry)]
        for entry in marked:
            entries[entries.index(entry)] = replace(entry, read_at=at, cleared=cleared)
        return marked

    async def erase(self, user_id: UUID) -> None:
        self._erased.add(user_id)
        self._boxes.pop(user_id, None)

    async def claim(self, limit: int) -> Sequence[tuple[UUID, UUID, datetime, object]]:
        return [(*mark, mark) for mark in self._to_tell[:limit]]

    async def finish(self, tokens: Sequence[object]) -> None:
        self._to_tell = [mark for mark in self._to_tell if mark not in tokens]
