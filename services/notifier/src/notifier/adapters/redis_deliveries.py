"""The delivery index: a due index for each channel, an entry with what is known of each delivery, and dedupe keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from redis.asyncio import Redis

from event_contracts.notifications import DeliveryOutcome
from event_contracts.values import Channel
from notifier.adapters.redis_keys import erased_key
from notifier.adapters.redis_scripts import ENQUEUE, RECORD, UPDATE
from notifier.application.ports import Claimed
from notifier.domain.notifications import CHANNELS, Delivery, Notification, Progress, Verdict
from service_kit.clock import Clock
from service_kit.due_index import DueIndex, Lease, to_instant, to_score

DEDUPE_TTL = timedelta(days=30)
"""Far longer than reminder-due is kept on the bus, so no copy of the news finds its key gone."""


class RedisDeliveries:
    """`Deliveries` in Redis. Every method raises RedisError when Redis is away."""

    def __init__(self, redis: Redis, clock: Clock, *, lease: timedelta, clock_offset: bool = False) -> None:
        self._redis = redis
        self._clock = clock
        self._indexes = {
            channel: DueIndex(
                redis, f"deliveries-{channel}", shards=1, lease=lease, clock_offset=clock_offset
            )
            for channel in CHANNELS
        }
        self._enqueue = redis.register_script(ENQUEUE)
        self._record = redis.register_script(RECORD)
        self._update = redis.register_script(UPDATE)

    async def enqueue(self, notification: Notification, channel: Channel) -> bool:
        now = await self._clock.now()
        member = _member(notification.notification_id, channel)
        fields = {
            "task": str(notification.task_id),
            "reminder": str(notification.reminder_id),
            "user": str(notification.user_id),
            "fire_at": notification.fire_at.isoformat(),
        }
        added = await self._enqueue(
            keys=[
                _dedupe_key(member),
                _entry_key(member),
                self._indexes[channel].key_of(member),
                _person_key(notification.user_id),
                erased_key(notification.user_id),
            ],
            args=[
                member,
                # Past already by Redis's clock, which let it fire; this machine's own may be ahead of it.
                to_score(min(now, notification.fire_at)),
                int(DEDUPE_TTL.total_seconds()),
                to_score(now),
                to_score(now - DEDUPE_TTL),
                str(notification.notification_id),
                *(part for item in fields.items() for part in item),
            ],
        )
        return bool(added)

    async def claim(self, channel: Channel, limit: int) -> Sequence[Claimed]:
        claim = await self._indexes[channel].claim(limit)
        if not claim.leases:
            return []
        async with self._redis.pipeline(transaction=False) as batch:
            for lease in claim.leases:
                batch.hgetall(_entry_key(lease.member))
            entries = cast("list[dict[str, str]]", await batch.execute())
        claimed = []
        for lease, entry in zip(claim.leases, entries, strict=True):
            if entry:
                claimed.append(Claimed(_delivery(lease.member, entry), lease))
            else:
                await self._indexes[channel].ack(lease)  # finished, or erased with its person
        return claimed

    async def record(self, claimed: Claimed, verdict: Verdict) -> Verdict | None:
        stands = await self._record(keys=[_entry_key(_lease(claimed).member)], args=[_dump_verdict(verdict)])
        return None if not stands else _load_verdict(stands)

    async def put_off(self, claimed: Claimed, progress: Progress, until: datetime) -> None:
        lease = _lease(claimed)
        fields = {"attempts": str(progress.attempts), "postponements": str(progress.postponements)}
        if progress.first_tried_at is not None:
            fields["first_tried_at"] = progress.first_tried_at.isoformat()
        await self._update(
            keys=[_entry_key(lease.member)], args=[part for item in fields.items() for part in item]
        )
        await self._indexes[claimed.delivery.channel].release(lease, until)

    async def finish(self, claimed: Claimed) -> bool:
        lease = _lease(claimed)
        # The entry first: whoever dies in between, or claims it meanwhile, finds none and takes the member out.
        finished = await self._redis.delete(_entry_key(lease.member))
        await self._indexes[claimed.delivery.channel].ack(lease)
        return bool(finished)

    async def depth(self, channel: Channel) -> int:
        return await self._indexes[channel].depth()

    async def forget(self, user_id: UUID) -> None:
        notifications = cast("list[str]", await self._redis.zrange(_person_key(user_id), 0, -1))
        async with self._redis.pipeline(transaction=False) as batch:
            for notification in notifications:
                for channel in CHANNELS:
                    member = _member(UUID(notification), channel)
                    batch.zrem(self._indexes[channel].key_of(member), member)
                    batch.delete(_entry_key(member), _dedupe_key(member))
            batch.delete(_person_key(user_id))
            await batch.execute()


def _lease(claimed: Claimed) -> Lease:
    return cast("Lease", claimed.token)


def _member(notification_id: UUID, channel: Channel) -> str:
    return f"{notification_id}:{channel}"


def _entry_key(member: str) -> str:
    return f"delivery:{member}"


def _dedupe_key(member: str) -> str:
    return f"announced:{member}"


def _person_key(user_id: UUID) -> str:
    return f"notifications-of:{user_id}"


def _delivery(member: str, entry: dict[str, str]) -> Delivery:
    notification_id, _, channel = member.partition(":")
    first = entry.get("first_tried_at")
    verdict = entry.get("verdict")
    return Delivery(
        Notification(
            notification_id=UUID(notification_id),
            task_id=UUID(entry["task"]),
            reminder_id=UUID(entry["reminder"]),
            user_id=UUID(entry["user"]),
            fire_at=datetime.fromisoformat(entry["fire_at"]),
        ),
        Channel(channel),
        Progress(
            attempts=int(entry.get("attempts", 0)),
            postponements=int(entry.get("postponements", 0)),
            first_tried_at=None if first is None else datetime.fromisoformat(first),
        ),
        None if verdict is None else _load_verdict(verdict),
    )


def _dump_verdict(verdict: Verdict) -> str:
    return json.dumps([verdict.outcome, verdict.attempt, to_score(verdict.at), verdict.reason])


def _load_verdict(text: str) -> Verdict:
    outcome, attempt, at_ms, reason = json.loads(text)
    return Verdict(DeliveryOutcome(outcome), attempt, to_instant(at_ms), reason)
