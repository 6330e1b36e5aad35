"""The lanes: a due index of the lanes themselves, one in each lane, and a note on how its destination fares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from event_contracts.values import Channel
from notifier.adapters.redis_deliveries import RedisDeliveries
from notifier.adapters.redis_entries import (
    dedupe_key,
    entry_key,
    flat,
    member_of,
    new_entry,
    person_key,
    queue_args,
    shelf_key,
)
from notifier.adapters.redis_keys import erased_key
from notifier.adapters.redis_scripts import ENQUEUE_IN_LANE, REQUEUE_IN_LANE, REST_LANE
from notifier.application.ports import Claimed, ClaimedLane
from notifier.domain.lanes import Lane
from notifier.domain.notifications import OUTSIDE, Notification
from service_kit.clock import Clock
from service_kit.due_index import DueIndex, Lease, to_score
from service_kit.telemetry import present_origin

_NOTE_TTL = timedelta(days=7)


class RedisLanes:
    """`Lanes` in Redis. Every method raises RedisError when Redis is away."""

    def __init__(
        self,
        redis: Redis,
        deliveries: RedisDeliveries,
        clock: Clock,
        *,
        lease: timedelta,
        clock_offset: bool = False,
    ) -> None:
        self._redis = redis
        self._deliveries = deliveries
        self._clock = clock
        self._lanes = DueIndex(redis, "lanes", shards=1, lease=lease, clock_offset=clock_offset)
        self._enqueue = redis.register_script(ENQUEUE_IN_LANE)
        self._requeue = redis.register_script(REQUEUE_IN_LANE)
        self._rest = redis.register_script(REST_LANE)

    async def enqueue_in(self, lane: Lane, notification: Notification) -> bool:
        return await self._queue(self._enqueue, lane, notification, dedupe_key(_member(lane, notification)))

    async def requeue_in(self, lane: Lane, notification: Notification) -> bool:
        return await self._queue(self._requeue, lane, notification, shelf_key(notification.user_id))

    async def _queue(self, script: AsyncScript, lane: Lane, notification: Notification, gate: str) -> bool:
        now = await self._clock.now()
        member = _member(lane, notification)
        # It waits from now on: a destination that is down may not come to try it for a long time.
        fields = new_entry(notification, present_origin()) | {"first_tried_at": now.isoformat()}
        keys = [
            gate,
            entry_key(member),
            self._index(lane).key_of(member),
            person_key(notification.user_id),
            erased_key(notification.user_id),
            self._lanes.key_of(_name(lane)),
            _note_key(lane),
        ]
        args = [*queue_args(notification, member, now), _name(lane), *flat(fields)]
        return bool(await script(keys=keys, args=args))

    async def claim_lanes(self, limit: int) -> Sequence[ClaimedLane]:
        claim = await self._lanes.claim(limit)
        if not claim.leases:
            return []
        lanes = [_read_name(lease.member) for lease in claim.leases]
        async with self._redis.pipeline(transaction=False) as batch:
            for lane in lanes:
                batch.hget(_note_key(lane), "failures")
            failures = cast("list[str | None]", await batch.execute())
        return [
            ClaimedLane(lane, int(count or 0), lease)
            for lane, count, lease in zip(lanes, failures, claim.leases, strict=True)
        ]

    async def claim_in(self, lane: Lane, limit: int) -> Sequence[Claimed]:
        return await self._deliveries.claim_from(self._index(lane), limit)

    async def rest(self, claimed: ClaimedLane, failures: int, closed_until: datetime | None) -> None:
        lease = cast("Lease", claimed.token)
        lane = claimed.lane
        await self._rest(
            keys=[self._lanes.key_of(lease.member), self._index(lane).key_of(""), _note_key(lane)],
            args=[
                lease.member,
                lease.score_ms,
                failures,
                0 if closed_until is None else to_score(closed_until),
                int(_NOTE_TTL.total_seconds()),
            ],
        )

    async def depths(self) -> Mapping[Channel, int]:
        names = cast("list[str]", await self._redis.zrange(self._lanes.key_of(""), 0, -1))
        lanes = [_read_name(name) for name in names]
        counts = Counter[Channel](dict.fromkeys(OUTSIDE, 0))
        async with self._redis.pipeline(transaction=False) as batch:
            for lane in lanes:
                batch.zcard(self._index(lane).key_of(""))
            for lane, depth in zip(lanes, cast("list[int]", await batch.execute()), strict=True):
                counts[lane.channel] += depth
        return counts

    def _index(self, lane: Lane) -> DueIndex:
        return self._deliveries.index(lane.channel, lane.destination)


def _member(lane: Lane, notification: Notification) -> str:
    return member_of(notification.notification_id, lane.channel, lane.destination)


def _name(lane: Lane) -> str:
    return f"{lane.channel}:{lane.destination}"


def _read_name(name: str) -> Lane:
    channel, _, destination = name.partition(":")
    return Lane(Channel(channel), UUID(destination))


def _note_key(lane: Lane) -> str:
    return f"lane:{_name(lane)}"
