"""The rebuild's lock: a key with an expiry that holds a random token, so that only its holder prolongs or frees it."""

from __future__ import annotations

from secrets import token_hex

from redis.asyncio import Redis

_KEY = "reminders:rebuild-lock"
_EXPIRY_MS = 30_000
_KEEP = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
_FREE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class RedisRebuildLock:
    """`RebuildLock` in Redis. Every method raises RedisError when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._token = token_hex(8)
        self._keep = redis.register_script(_KEEP)
        self._free = redis.register_script(_FREE)

    async def take(self) -> bool:
        return bool(await self._redis.set(_KEY, self._token, nx=True, px=_EXPIRY_MS))

    async def keep(self) -> bool:
        return bool(await self._keep(keys=[_KEY], args=[self._token, _EXPIRY_MS]))

    async def give_back(self) -> None:
        await self._free(keys=[_KEY], args=[self._token])

    async def store_run_id(self) -> str:
        server = await self._redis.info("server")
        return str(server["run_id"])
