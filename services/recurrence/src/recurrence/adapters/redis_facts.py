"""What is asked of Redis itself: which start of it this is, and who may rebuild."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from secrets import token_hex

from redis.asyncio import Redis
from redis.exceptions import RedisError

LOCK_KEY = "recurrence:rebuild:lock"
LOCK_SECONDS = 30
_RENEW_SECONDS = LOCK_SECONDS / 3

# KEYS: lock   ARGV: token, milliseconds (0 to give it up)   ->   1 when it was mine
_IF_MINE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""


class RedisServerFacts:
    """Every method raises redis.exceptions.RedisError when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._if_mine = redis.register_script(_IF_MINE)

    async def run_id(self) -> str:
        """The id that Redis gave itself when it was started."""
        return str((await self._redis.info("server"))["run_id"])

    @asynccontextmanager
    async def rebuild_lock(self) -> AsyncIterator[bool]:
        """Holds the lock for as long as the body runs; False when another replica has it.

        It saves work and is no promise: two replicas that rebuild at once write the same documents, each guarded.
        """
        token = token_hex(16)
        if not await self._redis.set(LOCK_KEY, token, nx=True, ex=LOCK_SECONDS):
            yield False
            return
        renewal = asyncio.create_task(self._renew(token))
        try:
            yield True
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
            with suppress(RedisError):  # it runs out by itself
                await self._if_mine(keys=[LOCK_KEY], args=[token, 0])

    async def _renew(self, token: str) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            with suppress(RedisError):
                await self._if_mine(keys=[LOCK_KEY], args=[token, LOCK_SECONDS * 1000])
