"""What only Redis can say or do: which start of it this is, when it was last seen whole, clear old generations."""

from __future__ import annotations

from datetime import datetime

from redis.asyncio import Redis

_AT_ONCE = 1_000


class RedisFacts:
    """Of the Redis in which `app_id` keeps what it derives. Every method raises RedisError when Redis is away."""

    def __init__(self, redis: Redis, app_id: str) -> None:
        self._redis = redis
        self._app_id = app_id
        self._last_look = f"{app_id}:last-look"

    async def run_id(self) -> str:
        """The id that Redis gave itself when it was started."""
        server = await self._redis.info("server")
        return str(server["run_id"])

    async def last_look(self) -> datetime | None:
        """When it was last noted that nothing was missing; None when that was never."""
        noted = await self._redis.get(self._last_look)
        return None if noted is None else datetime.fromisoformat(str(noted))

    async def note_look(self, at: datetime) -> None:
        """Note that nothing is missing now."""
        await self._redis.set(self._last_look, at.isoformat())

    async def clear_other_generations(self, kept: str) -> None:
        """Remove the documents of all generations but this one."""
        # The state store has no way to list its keys; `app-id||key` is how Dapr documents that it names them.
        mine = f"{self._app_id}||{kept}:"
        found: list[str] = []
        async for key in self._redis.scan_iter(f"{self._app_id}||*:*", count=_AT_ONCE):
            if not str(key).startswith(mine):
                found.append(str(key))
            if len(found) == _AT_ONCE:
                await self._redis.unlink(*found)
                found.clear()
        if found:
            await self._redis.unlink(*found)
