"""The delivery index and the inbox without Redis; the behaviour suites hold them to what the real ones do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from event_contracts.values import Channel
from notifier.application.ports import Claimed
from notifier.domain.inbox import Entry, Page
from notifier.domain.notifications import CHANNELS, Delivery, Notification, Progress, Verdict
from notifier.domain.wording import Message
from service_kit.due_index import Lease
from service_kit.testing.fakes import InMemoryDueIndex, ManualClock


class MemoryDeliveries:
    """`Deliveries` in a dictionary for each thing that Redis keeps."""

    def __init__(self, clock: ManualClock, lease: timedelta, erased: set[UUID]) -> None:
        self._clock = clock
        self._erased = erased
        self._indexes = {channel: InMemoryDueIndex(clock, shards=1, lease=lease) for channel in CHANNELS}
        self._announced: set[tuple[UUID, Channel]] = set()
        self._entries: dict[str, Delivery] = {}

    async def enqueue(self, notification: Notification, channel: Channel) -> bool:
        key = (notification.notification_id, channel)
        if notification.user_id in self._erased or key in self._announced:
            return False
        self._announced.add(key)
        member = f"{notification.notification_id}:{channel}"
        self._entries[member] = Delivery(notification, channel)
        await self._indexes[channel].add({member: min(self._clock.instant, notification.fire_at)})
        return True

    async def claim(self, channel: Channel, limit: int) -> Sequence[Claimed]:
        claim = await self._indexes[channel].claim(limit)
        claimed = []
        for lease in claim.leases:
            if lease.member in self._entries:
                claimed.append(Claimed(self._entries[lease.member], lease))
            else:
                await self._indexes[channel].ack(lease)
        return claimed

    async def record(self, claimed: Claimed, verdict: Verdict) -> Verdict | None:
        member = _lease(claimed).member
        entry = self._entries.get(member)
        if entry is None:
            return None
        if entry.verdict is None:
            self._entries[member] = entry = replace(entry, verdict=verdict)
        return entry.verdict

    async def put_off(self, claimed: Claimed, progress: Progress, until: datetime) -> None:
        lease = _lease(claimed)
        if lease.member in self._entries:
            self._entries[lease.member] = replace(self._entries[lease.member], progress=progress)
        await self._indexes[claimed.delivery.channel].release(lease, until)

    async def finish(self, claimed: Claimed) -> bool:
        lease = _lease(claimed)
        finished = self._entries.pop(lease.member, None) is not None
        await self._indexes[claimed.delivery.channel].ack(lease)
        return finished

    async def depth(self, channel: Channel) -> int:
        return await self._indexes[channel].depth()

    async def forget(self, user_id: UUID) -> None:
        for member, entry in list(self._entries.items()):
            if entry.notification.user_id == user_id:
                del self._entries[member]
                self._announced.discard((entry.notification.notification_id, entry.channel))


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
        self._to_tell: list[tuple[UUID, UUID, datetime]] = []

    def _entries(self, user_id: UUID) -> list[Entry]:
        return self._boxes.setdefault(user_id, _Box()).entries

    async def add(self, message: Message, at: datetime) -> None:
        entries = self._entries(message.user_id)
        if message.user_id in self._erased or await self.contains(message.user_id, message.notification_id):
            return
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
                read_at=None,
                cleared=False,
            )
        )
        del entries[: -self._limit]

    async def contains(self, user_id: UUID, notification_id: UUID) -> bool:
        return any(entry.notification_id == notification_id for entry in self._entries(user_id))

    async def clear(self, user_id: UUID, task_id: UUID, at: datetime) -> int:
        return len(self._mark(user_id, at, lambda entry: entry.task_id == task_id, cleared=True))

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
