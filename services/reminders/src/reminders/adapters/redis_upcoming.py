"""What reminds each person next: a sorted set in Redis, score = fire time, which goes by itself after the last one.

Like the due index it is only added to; what is past is cut off at the next addition. What still stands is for the
documents to say. A small set is kept packed: about 80 bytes a reminder.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from service_kit.due_index import to_score

_KEPT_AFTER_THE_LAST = timedelta(hours=1)


class RedisUpcoming:
    """`Upcoming` in Redis. Every method raises RedisError when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def note(self, members: Mapping[UUID, Mapping[str, datetime]], now: datetime) -> None:
        async with self._redis.pipeline(transaction=False) as batch:
            for user_id, mine in members.items():
                if ahead := {member: to_score(at) for member, at in mine.items() if at > now}:
                    _note(batch, _key(user_id), ahead, to_score(now))
            await batch.execute()

    async def following(self, user_id: UUID, from_ms: int, skip: int, limit: int) -> list[str]:
        found = await self._redis.zrange(_key(user_id), from_ms, "+inf", byscore=True, offset=skip, num=limit)
        return [str(member) for member in found]

    async def forget(self, user_id: UUID) -> None:
        await self._redis.unlink(_key(user_id))


def _note(batch: Pipeline, key: str, ahead: dict[str, int], now_ms: int) -> None:
    ends = max(ahead.values()) - now_ms + _KEPT_AFTER_THE_LAST // timedelta(milliseconds=1)
    batch.zremrangebyscore(key, "-inf", now_ms)
    batch.zadd(key, ahead)
    # Never shortened: without an end a key counts as endless, which GT alone would leave as it is.
    batch.pexpire(key, ends, nx=True)
    batch.pexpire(key, ends, gt=True)


def _key(user_id: UUID) -> str:
    return f"reminders:upcoming:{user_id.hex}"
