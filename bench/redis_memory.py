"""What Redis says of its memory."""

from __future__ import annotations

from redis.asyncio import Redis


async def used_memory(redis: Redis) -> int:
    """Give the bytes that Redis uses for data and overhead."""
    return int((await redis.info("memory"))["used_memory"])
