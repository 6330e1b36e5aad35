"""The notifier's world on a real Redis, its clock moved by the test's offset key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from tests.integration.notifier.receiver import Receiver
from tests.integration.notifier.sink import Sink
from tests.unit.notifier.world import LEASE, LIMIT, World

from notifier.adapters.redis_deliveries import RedisDeliveries
from notifier.adapters.redis_inbox import RedisInbox
from service_kit.clock import CLOCK_OFFSET_KEY, RedisOffsetClock
from service_kit.testing.fakes import InMemoryStateStore

FreshWorld = Callable[[], Awaitable[World]]


@pytest.fixture
def fresh_world(redis: Redis) -> FreshWorld:
    """Make worlds on the same Redis, each after emptying it."""

    async def make() -> World:
        await redis.flushdb()
        clock = RedisOffsetClock(redis)

        async def advance(step: timedelta) -> None:
            await redis.incrby(CLOCK_OFFSET_KEY, step // timedelta(milliseconds=1))

        world = World(
            clock=clock,
            advance=advance,
            state=InMemoryStateStore(),
            deliveries=RedisDeliveries(redis, clock, lease=LEASE, clock_offset=True),
            inbox=RedisInbox(redis, limit=LIMIT, lease=LEASE, clock_offset=True),
        )
        await world.begin()
        return world

    return make


@pytest_asyncio.fixture(loop_scope="session")
async def world(fresh_world: FreshWorld) -> World:
    return await fresh_world()


@pytest_asyncio.fixture(loop_scope="session")
async def sink() -> AsyncIterator[Sink]:
    server = Sink()
    await server.start()
    yield server
    server.gate.set()
    await server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def receivers() -> AsyncIterator[Callable[[], Awaitable[Receiver]]]:
    """Start HTTP servers that act as people's destinations."""
    started: list[Receiver] = []

    async def start() -> Receiver:
        receiver = Receiver()
        await receiver.start()
        started.append(receiver)
        return receiver

    yield start
    for receiver in started:
        await receiver.stop()
