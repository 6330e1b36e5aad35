"""Which links were followed: for each the moment of its first use, and whether that came to its end."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

from redis.asyncio import Redis

from notifier.adapters.redis_scripts import BEGIN_LINK
from service_kit.due_index import to_instant, to_score


class RedisLinkUses:
    """`LinkUses` in Redis. Every method raises RedisError when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._begin = redis.register_script(BEGIN_LINK)

    async def is_used_up(self, token: str) -> bool:
        return bool(await self._redis.hexists(_key(token), "used_up"))

    async def begin(self, token: str, at: datetime, until: datetime) -> datetime | None:
        first = await self._begin(keys=[_key(token)], args=[to_score(at), to_score(until)])
        return None if first is None else to_instant(int(first))

    async def use_up(self, token: str) -> None:
        await self._redis.hset(_key(token), "used_up", "1")


def _key(token: str) -> str:
    # Whoever reads Redis cannot follow the link.
    return f"link:{sha256(token.encode()).hexdigest()}"
