"""Puts back what the delivery index knew of notifications that came to an end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast
from uuid import UUID

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from event_contracts.values import Channel
from notifier.adapters.redis_deliveries import RedisDeliveries
from notifier.adapters.redis_entries import (
    DEDUPE_TTL,
    attempts_key,
    dedupe_key,
    entry_key,
    member_of,
    person_key,
    shelf_key,
    shelf_place,
    write_attempt,
)
from notifier.adapters.redis_keys import erased_key
from notifier.application.ports import Settled
from notifier.domain.announced import Announced, Place
from notifier.domain.notifications import Attempt
from service_kit.clock import Clock
from service_kit.due_index import to_score

_TTL_S = int(DEDUPE_TTL.total_seconds())

# KEYS: erased flag, attempts, person's members, shelf   ARGV: how many members, ttl in s, now, then for each member:
# member, dedupe key, entry, due set, place on the shelf or '', 1 when it is over; then the attempts
_PUT_BACK = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local at = 4
for _ = 1, tonumber(ARGV[1]) do
  local member, dedupe, entry, due, place, over = unpack(ARGV, at, at + 5)
  at = at + 6
  if redis.call('SET', dedupe, '1', 'NX', 'EX', ARGV[2]) and place ~= '' then
    redis.call('ZADD', KEYS[4], 0, place)
    redis.call('EXPIRE', KEYS[4], ARGV[2])
  end
  if over == '1' then
    redis.call('DEL', entry)
    redis.call('ZREM', due, member)
  end
  redis.call('ZADD', KEYS[3], ARGV[3], member)
  redis.call('EXPIRE', KEYS[3], ARGV[2])
end
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('RPUSH', KEYS[2], unpack(ARGV, at))
  redis.call('EXPIRE', KEYS[2], ARGV[2])
end
return 1
"""


class RedisLostDeliveries:
    """`LostDeliveries` in Redis."""

    def __init__(self, redis: Redis, deliveries: RedisDeliveries, clock: Clock) -> None:
        self._redis = redis
        self._deliveries = deliveries
        self._clock = clock
        self._put_back = redis.register_script(_PUT_BACK)

    async def missing(self, page: Sequence[Announced]) -> set[UUID]:
        async with self._redis.pipeline(transaction=False) as batch:
            for one in page:
                user, identity = one.notification.user_id, one.notification.notification_id
                queued, over = _queued(one), one.over
                batch.exists(*(dedupe_key(member_of(identity, *place)) for place in queued))
                # Its verdict may be what was lost: then it is still queued where it is over.
                batch.exists(*(entry_key(member_of(identity, *place)) for place in over or queued))
                batch.exists(attempts_key(user, identity))
            found = cast("list[int]", await batch.execute())
        return {
            one.notification.notification_id
            for one, known, left, attempts in zip(page, found[0::3], found[1::3], found[2::3], strict=True)
            if known < len(_queued(one)) or (one.over and left) or (one.told and not attempts)
        }

    async def put_back(self, lost: Sequence[Settled]) -> None:
        if not lost:
            return
        now = to_score(await self._clock.now())
        async with self._redis.pipeline(transaction=False) as batch:
            for one in lost:
                await self._add(one, now, batch)
            await batch.execute()

    async def _add(self, one: Settled, now: int, batch: Pipeline) -> None:
        announced = one.announced
        notification = announced.notification
        user, identity = notification.user_id, notification.notification_id
        over = announced.over.union(_whole(one.nowhere))
        places = announced.settled.union(_whole(one.settled), _whole(one.nowhere))
        members: list[str] = []
        for place in places:
            member = member_of(identity, *place)
            members += [
                member,
                dedupe_key(member),
                entry_key(member),
                self._deliveries.index(*place).key_of(member),
                shelf_place(notification, member) if place in one.shelved else "",
                "1" if place in over else "0",
            ]
        attempts = [
            write_attempt(Attempt(*told.place, told.attempt, told.at, told.outcome, told.reason))
            for told in announced.told
        ]
        await self._put_back(
            keys=[erased_key(user), attempts_key(user, identity), person_key(user), shelf_key(user)],
            args=[len(places), _TTL_S, now, *members, *attempts],
            client=batch,
        )


def _queued(announced: Announced) -> set[Place]:
    return announced.settled.union(_whole(announced.ended_on), _whole(announced.begun))


def _whole(channels: Iterable[Channel]) -> set[Place]:
    return {(channel, None) for channel in channels}
