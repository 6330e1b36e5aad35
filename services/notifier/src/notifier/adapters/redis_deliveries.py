"""The delivery index: a due index for each channel, an entry with what is known of each delivery, and dedupe keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from redis.asyncio import Redis

from event_contracts.values import Channel
from notifier.adapters.redis_entries import (
    DEDUPE_TTL,
    attempts_key,
    dedupe_key,
    digests_key,
    entry_key,
    flat,
    followers_key,
    index_name,
    member_of,
    new_entry,
    person_key,
    place_of,
    progress_fields,
    queue_args,
    read_attempt,
    read_delivery,
    read_member,
    read_place,
    read_verdict,
    shelf_key,
    shelf_place,
    write_attempt,
    write_verdict,
)
from notifier.adapters.redis_keys import erased_key
from notifier.adapters.redis_scripts import DROP, ENQUEUE, FINISH, HOLD, NOTE, RECORD, REQUEUE, SEAL, UPDATE
from notifier.application.ports import Claimed, needs_lease
from notifier.domain.notifications import Attempt, Delivery, Notification, Progress, Verdict
from service_kit.clock import Clock
from service_kit.due_index import DueIndex, Lease, to_score
from service_kit.telemetry import present_origin

FOLLOWERS_MAX = 49
"""Fifty reminders in one message: each is asked for before it goes out, and all of that has to end within the lease."""


class RedisDeliveries:
    """`Deliveries` in Redis. Every method raises RedisError when Redis is away.

    `lease` is for what goes out, `inside_lease` for the inbox and for what is spread over destinations: these wait for
    nobody outside, and come again sooner when whoever had them is gone.
    """

    def __init__(
        self,
        redis: Redis,
        clock: Clock,
        *,
        lease: timedelta,
        inside_lease: timedelta | None = None,
        clock_offset: bool = False,
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._lease = lease
        self._inside_lease = lease if inside_lease is None else inside_lease
        self._clock_offset = clock_offset
        self._channels = {channel: self._index(channel, None) for channel in Channel}
        self._enqueue = redis.register_script(ENQUEUE)
        self._record = redis.register_script(RECORD)
        self._requeue = redis.register_script(REQUEUE)
        self._finish = redis.register_script(FINISH)
        self._update = redis.register_script(UPDATE)
        self._note = redis.register_script(NOTE)
        self._drop = redis.register_script(DROP)
        self._hold = redis.register_script(HOLD)
        self._seal = redis.register_script(SEAL)

    def index(self, channel: Channel, destination: UUID | None = None) -> DueIndex:
        """Give the due index in which deliveries of this channel, or of this lane, wait."""
        # There are as many lanes as people's destinations, which come and go; the channels are few.
        if destination is None:
            return self._channels[channel]
        return self._index(channel, destination)

    def _index(self, channel: Channel, destination: UUID | None) -> DueIndex:
        goes_out = channel is Channel.EMAIL or destination is not None
        return DueIndex(
            self._redis,
            index_name(channel, destination),
            shards=1,
            lease=self._lease if goes_out else self._inside_lease,
            clock_offset=self._clock_offset,
        )

    async def enqueue(self, notification: Notification, channel: Channel) -> bool:
        return bool(await self._enqueue_by(self._redis, notification, channel))

    async def enqueue_all(self, notification: Notification, channels: Sequence[Channel]) -> Sequence[bool]:
        async with self._redis.pipeline(transaction=False) as batch:
            for channel in channels:
                await self._enqueue_by(batch, notification, channel)
            return [bool(is_new) for is_new in await batch.execute()]

    async def _enqueue_by(self, client: Redis, notification: Notification, channel: Channel) -> object:
        member = member_of(notification.notification_id, channel)
        keys = [dedupe_key(member), *self._queue_keys(notification, member)]
        return await self._enqueue(
            keys=keys, args=await self._queue_args(notification, member), client=client
        )

    async def shelved(self, user_id: UUID, task_id: UUID) -> Sequence[Delivery]:
        # '}' follows '|'.
        places = await self._redis.zrange(shelf_key(user_id), f"[{task_id}|", f"({task_id}}}", bylex=True)
        return [read_place(place, user_id) for place in cast("list[str]", places)]

    async def requeue(self, delivery: Delivery) -> bool:
        notification = delivery.notification
        member = member_of(notification.notification_id, delivery.channel)
        keys = [shelf_key(notification.user_id), *self._queue_keys(notification, member)]
        return bool(await self._requeue(keys=keys, args=await self._queue_args(notification, member)))

    def _queue_keys(self, notification: Notification, member: str) -> list[str]:
        _, channel, destination = read_member(member)
        return [
            entry_key(member),
            self.index(channel, destination).key_of(member),
            person_key(notification.user_id),
            erased_key(notification.user_id),
        ]

    async def _queue_args(self, notification: Notification, member: str) -> list[str | int]:
        now = await self._clock.now()
        return [*queue_args(notification, member, now), "", *flat(new_entry(notification, present_origin()))]

    async def claim(self, channel: Channel, limit: int) -> Sequence[Claimed]:
        return await self.claim_from(self.index(channel), limit)

    async def claim_from(self, index: DueIndex, limit: int) -> Sequence[Claimed]:
        """Take at most `limit` deliveries that are due in this index."""
        claim = await index.claim(limit)
        if not claim.leases:
            return []
        async with self._redis.pipeline(transaction=False) as batch:
            for lease in claim.leases:
                batch.hgetall(entry_key(lease.member))
            entries = cast("list[dict[str, str]]", await batch.execute())
        claimed = []
        for lease, entry in zip(claim.leases, entries, strict=True):
            if entry:
                delivery = read_delivery(lease.member, entry)
                followers = await self._followers(delivery, lease) if delivery.progress.held_until else ()
                claimed.append(Claimed(delivery, lease, followers))
            else:
                await index.ack(lease)  # finished, or erased with its person
        return claimed

    async def _followers(self, leader: Delivery, lease: Lease) -> tuple[Claimed, ...]:
        """Give those that go out with it, from now on nobody else, in the order of their times."""
        members = await self._seal(
            keys=[followers_key(lease.member), digests_key(leader.notification.user_id)],
            args=[lease.member, place_of(leader.channel, leader.destination)],
        )
        async with self._redis.pipeline(transaction=False) as batch:
            for member in members:
                batch.hgetall(entry_key(member))
            entries = cast("list[dict[str, str]]", await batch.execute())
        followers = [
            Claimed(read_delivery(member, entry), Lease(member, lease.shard, 0))
            for member, entry in zip(members, entries, strict=True)
            if entry
        ]
        return tuple(sorted(followers, key=lambda one: one.delivery.notification.fire_at))

    async def hold(self, claimed: Claimed, progress: Progress, until: datetime) -> None:
        lease, delivery = _lease(claimed), claimed.delivery
        await self._hold(
            keys=[
                entry_key(lease.member),
                self._index_of(claimed).key_of(lease.member),
                digests_key(delivery.notification.user_id),
            ],
            args=[
                lease.member,
                lease.score_ms,
                to_score(until),
                place_of(delivery.channel, delivery.destination),
                FOLLOWERS_MAX,
                int(DEDUPE_TTL.total_seconds()),
                *flat(progress_fields(progress)),
            ],
        )

    async def record(self, claimed: Claimed, verdict: Verdict) -> Verdict | None:
        delivery = claimed.delivery
        last = Attempt(
            delivery.channel,
            delivery.destination,
            verdict.attempt,
            verdict.at,
            verdict.outcome,
            verdict.reason,
        )
        lease = _lease(claimed)
        stands = await self._record(
            keys=[
                *_entry_keys(claimed),
                shelf_key(delivery.notification.user_id),
                self._index_of(claimed).key_of(lease.member),
            ],
            args=[
                write_verdict(verdict),
                write_attempt(last),
                int(DEDUPE_TTL.total_seconds()),
                shelf_place(delivery.notification, lease.member) if verdict.until_changed else "",
                lease.member,
                lease.score_ms if needs_lease(claimed, verdict) and lease.score_ms else "",
            ],
        )
        return None if not stands else read_verdict(stands)

    async def put_off(
        self, claimed: Claimed, progress: Progress, until: datetime, failed: Attempt | None = None
    ) -> None:
        await self._write(claimed, progress, failed)
        await self._index_of(claimed).release(_lease(claimed), until)

    async def note(self, claimed: Claimed, progress: Progress) -> bool:
        lease = _lease(claimed)
        noted = await self._note(
            keys=[entry_key(lease.member), self._index_of(claimed).key_of(lease.member)],
            args=[lease.member, lease.score_ms, *flat(progress_fields(progress))],
        )
        return bool(noted)

    async def _write(self, claimed: Claimed, progress: Progress, failed: Attempt | None) -> None:
        await self._update(
            keys=_entry_keys(claimed),
            args=[
                "" if failed is None else write_attempt(failed),
                int(DEDUPE_TTL.total_seconds()),
                *flat(progress_fields(progress)),
            ],
        )

    async def finish(self, claimed: Claimed) -> bool:
        lease = _lease(claimed)
        # The entry first: whoever dies in between, or claims it meanwhile, finds none and takes the member out.
        if claimed.delivery.is_to_be_spread:
            finished = await self._redis.delete(entry_key(lease.member))
        else:
            finished = await self._finish(keys=[entry_key(lease.member), followers_key(lease.member)])
        if finished >= 0:  # queued again it is somebody else's, whose lease may be of the same millisecond
            await self._index_of(claimed).ack(lease)
        return bool(finished > 0)

    async def drop(self, claimed: Claimed) -> None:
        lease = _lease(claimed)
        due = self._index_of(claimed).key_of(lease.member)
        await self._drop(keys=[entry_key(lease.member), due], args=[lease.member, lease.score_ms])

    async def attempts(self, user_id: UUID, notification_id: UUID) -> Sequence[Attempt]:
        kept = cast("list[str]", await self._redis.lrange(attempts_key(user_id, notification_id), 0, -1))
        return [read_attempt(one) for one in kept]

    async def depth(self, channel: Channel) -> int:
        return await self.index(channel).depth()

    async def forget(self, user_id: UUID) -> None:
        members = cast("list[str]", await self._redis.zrange(person_key(user_id), 0, -1))
        async with self._redis.pipeline(transaction=False) as batch:
            for member in members:
                notification_id, channel, destination = read_member(member)
                batch.zrem(self.index(channel, destination).key_of(member), member)
                batch.delete(entry_key(member), dedupe_key(member), followers_key(member))
                batch.delete(attempts_key(user_id, notification_id))
            batch.delete(person_key(user_id), shelf_key(user_id), digests_key(user_id))
            await batch.execute()

    def _index_of(self, claimed: Claimed) -> DueIndex:
        return self.index(claimed.delivery.channel, claimed.delivery.destination)


def _entry_keys(claimed: Claimed) -> list[str]:
    notification = claimed.delivery.notification
    return [
        entry_key(_lease(claimed).member),
        attempts_key(notification.user_id, notification.notification_id),
    ]


def _lease(claimed: Claimed) -> Lease:
    return cast("Lease", claimed.token)
