"""The lanes without Redis; the behaviour suite holds them to what the real ones do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from tests.unit.notifier.memory import Index, MemoryDeliveries
from tests.unit.notifier.world import LEASE, World

from event_contracts.values import Channel
from notifier.application.ports import Claimed, ClaimedLane
from notifier.domain.lanes import Lane
from notifier.domain.notifications import OUTSIDE, Notification, Progress
from service_kit.due_index import Lease, to_score
from service_kit.testing.fakes import ManualClock


@dataclass
class Note:
    """What is noted of a destination; `rested_ms` is the lane's score at its last rest."""

    failures: int = 0
    closed_until_ms: int = 0
    rested_ms: int | None = None


class MemoryLanes:
    """`Lanes` in dictionaries. A lane's score is when it is to be looked at next, or the end of its lease."""

    def __init__(self, deliveries: MemoryDeliveries, clock: ManualClock, lease: timedelta) -> None:
        self.notes: dict[Lane, Note] = {}
        self.index = Index(clock, shards=1, lease=lease)
        self._lanes: dict[str, Lane] = {}
        self._deliveries = deliveries
        self._clock = clock

    async def enqueue_in(self, lane: Lane, notification: Notification) -> bool:
        progress = Progress(first_tried_at=self._clock.instant)
        if not self._deliveries.queue(notification, lane.channel, lane.destination, progress):
            return False
        name = f"{lane.channel}:{lane.destination}"
        self._lanes[name] = lane
        note = self.notes.setdefault(lane, Note())
        due = max(to_score(min(self._clock.instant, notification.fire_at)), note.closed_until_ms)
        score = self.index.score(name)
        if score is None or (note.rested_ms == score and due < score):
            self.index.put(name, due)
            note.rested_ms = due
        return True

    async def requeue_in(self, lane: Lane, notification: Notification) -> bool:
        raise AssertionError("nothing of a lane is cancelled here")

    async def claim_lanes(self, limit: int) -> Sequence[ClaimedLane]:
        claim = await self.index.claim(limit)
        lanes = [(self._lanes[lease.member], lease) for lease in claim.leases]
        return [ClaimedLane(lane, self.notes.get(lane, Note()).failures, lease) for lane, lease in lanes]

    async def claim_in(self, lane: Lane, limit: int) -> Sequence[Claimed]:
        return await self._deliveries.claim_from(lane.channel, lane.destination, limit)

    async def rest(self, claimed: ClaimedLane, failures: int, closed_until: datetime | None) -> None:
        lease, lane = cast("Lease", claimed.token), claimed.lane
        if not self.index.holds(lease):
            return
        note = self.notes.setdefault(lane, Note())
        note.failures = failures
        note.closed_until_ms = 0 if closed_until is None else to_score(closed_until)
        first = self._deliveries.index(lane.channel, lane.destination).first()
        if first is None:
            self.index.take_out(lease.member)
            note.rested_ms = None
            if not failures:
                del self.notes[lane]
            return
        note.rested_ms = max(first, note.closed_until_ms)
        self.index.put(lease.member, note.rested_ms)

    async def depths(self) -> Mapping[Channel, int]:
        counts = dict.fromkeys(OUTSIDE, 0)
        for lane in self._lanes.values():
            counts[lane.channel] += await self._deliveries.index(lane.channel, lane.destination).depth()
        return counts


def memory_lanes(world: World) -> MemoryLanes:
    """The lanes of a world without I/O."""
    assert isinstance(world.deliveries, MemoryDeliveries)
    assert isinstance(world.clock, ManualClock)
    return MemoryLanes(world.deliveries, world.clock, LEASE)
