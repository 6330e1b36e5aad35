"""A lock among replicas: a key with an expiry that holds a random token, so that only its holder keeps or frees it."""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex

from redis.asyncio import Redis

_EXPIRY_MS = 30_000
_FREE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_UNLINK = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if #KEYS > 1 then redis.call('UNLINK', unpack(KEYS, 2)) end
return 1
"""


class RedisLock:
    """A lock under `key`, which expires 30 s after it was last taken or kept. Every method raises RedisError."""

    def __init__(self, redis: Redis, key: str) -> None:
        self._redis = redis
        self._key = key
        self._token = token_hex(8)
        self._free = redis.register_script(_FREE)
        self._unlink = redis.register_script(_UNLINK)

    async def take(self) -> bool:
        """Whether it is ours now."""
        return bool(await self._redis.set(self._key, self._token, nx=True, px=_EXPIRY_MS))

    async def keep(self) -> bool:
        """Prolong it; False when it was lost."""
        return await self.unlink(())

    async def unlink(self, keys: Sequence[str]) -> bool:
        """Prolong it and remove some keys, at most 1,000; False, and nothing removed, when it was lost.

        In one step: a holder that slept too long would else remove what the next one has made.
        """
        return bool(await self._unlink(keys=[self._key, *keys], args=[self._token, _EXPIRY_MS]))

    async def give_back(self) -> None:
        """Free it, if it is still ours."""
        await self._free(keys=[self._key], args=[self._token])
