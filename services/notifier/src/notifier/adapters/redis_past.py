"""Forgets what was told in a past that PostgreSQL does not have: it was restored from a backup."""

from __future__ import annotations

from collections.abc import AsyncIterator

from redis.asyncio import Redis

from notifier.adapters.live_scripts import CHANNEL
from notifier.adapters.redis_keys import person_of_live_key
from service_kit.redis_lock import RedisLock

_EPOCH_KEY = "notifier:epoch"
_AT_ONCE = 500
# Inboxes, what was announced, what waits to be sent and how it went. Members of due indexes and of lanes go by
# themselves when they find no entry.
_PREFIXES = (
    "inbox:",
    "announced:",
    "delivery:",
    "deliveries-of:",
    "attempts:",
    "shelf:",
    "followers:",
    "digests-of:",
)


class RedisPast:
    """`Past` in Redis, for the holder of `lock`. Raises RedisError when Redis is away."""

    def __init__(self, redis: Redis, lock: RedisLock) -> None:
        self._redis = redis
        self._lock = lock

    async def forget_before(self, epoch: int) -> bool:
        if await self._redis.get(_EPOCH_KEY) == str(epoch):
            return True
        async for keys in self._told():
            if not await self._lock.unlink(keys):
                return False
            for key in keys:
                if person_of_live_key(key) is not None:
                    await self._redis.publish(CHANNEL, key)  # whoever listens begins anew
        if not await self._lock.keep():
            return False
        await self._redis.set(_EPOCH_KEY, str(epoch))
        return True

    async def _told(self) -> AsyncIterator[list[str]]:
        found: list[str] = []
        async for key in self._redis.scan_iter(count=1_000):
            if key.startswith(_PREFIXES) or person_of_live_key(key) is not None:
                found.append(key)
            if len(found) == _AT_ONCE:
                yield found
                found = []
        if found:
            yield found
