"""The time of day, as a port: a test can move it for every service at once by one key in Redis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

from redis.asyncio import Redis

from service_kit.settings import ServiceSettings

CLOCK_OFFSET_KEY = "test:clock:offset_ms"
"""Whole milliseconds, possibly negative, that are added to the time where the setting `test_clock` is on."""


class Clock(Protocol):
    """Gives the time."""

    async def now(self) -> datetime:
        """The instant, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    async def now(self) -> datetime:
        """The instant, aware, in UTC."""
        return datetime.now(UTC)


class RedisOffsetClock:
    """The machine's clock plus the offset that a test put into Redis; asked each time, so a change counts at once."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def now(self) -> datetime:
        """The moved instant, aware, in UTC. Raises redis errors when Redis is away."""
        offset_ms = await self._redis.get(CLOCK_OFFSET_KEY)
        return datetime.now(UTC) + timedelta(milliseconds=int(offset_ms or 0))


def choose_clock(settings: ServiceSettings, redis: Redis) -> Clock:
    """Give the clock of this process: one that tests can move only where `test_clock` is set."""
    return RedisOffsetClock(redis) if settings.test_clock else SystemClock()
