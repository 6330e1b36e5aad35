"""The client of a service: it answers soon or fails soon, and outlives Redis."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service_kit import redis_connection
from service_kit.clock import CLOCK_OFFSET_KEY, RedisOffsetClock, SystemClock, choose_clock
from service_kit.redis_connection import MAX_CONNECTIONS, connect_redis
from service_kit.settings import ServiceSettings


async def test_texts_are_texts(connection: Redis) -> None:
    await connection.set("name", "Zoë")
    assert await connection.get("name") == "Zoë"


async def test_it_outlives_a_restart(connection: Redis, own_redis: Any) -> None:
    await asyncio.gather(*(connection.set(f"k{number}", number) for number in range(8)))
    own_redis.kill()
    with pytest.raises(RedisConnectionError):
        await connection.get("k1")
    await own_redis.start()
    answers = await asyncio.gather(*(connection.get(f"k{number}") for number in range(8)))
    assert answers == [str(number) for number in range(8)]


async def test_a_frozen_redis_is_given_up_below_the_sidecars_patience(
    connection: Redis, own_redis: Any
) -> None:
    await connection.ping()
    own_redis.freeze()
    try:
        began = perf_counter()
        with pytest.raises((RedisTimeoutError, TimeoutError)):
            await connection.get("x")
        assert perf_counter() - began < 2.5
    finally:
        own_redis.thaw()
    assert await connection.ping()


async def test_more_commands_than_connections_wait_their_turn(
    settings: ServiceSettings, own_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The waits are long here: a machine that stands still for half a second is not what is looked at."""
    for wait in ("CONNECT_TIMEOUT_SECONDS", "ANSWER_TIMEOUT_SECONDS"):
        monkeypatch.setattr(redis_connection, wait, 30)
    client = connect_redis(settings)
    await asyncio.gather(*(client.incr("count") for _ in range(MAX_CONNECTIONS * 10)))
    assert await client.get("count") == str(MAX_CONNECTIONS * 10)
    clients: Any = await client.client_list()
    assert len(clients) <= MAX_CONNECTIONS
    await client.aclose()


async def test_nothing_is_connected_before_the_first_command(
    settings: ServiceSettings, own_redis: Any
) -> None:
    own_redis.kill()
    client = connect_redis(settings)
    with pytest.raises(RedisConnectionError):
        await client.ping()
    await own_redis.start()
    assert await client.ping()
    await client.aclose()


async def test_the_clock_is_moved_by_a_key_where_the_setting_allows(
    settings: ServiceSettings, connection: Redis
) -> None:
    await connection.set(CLOCK_OFFSET_KEY, 3_600_000)
    fixed = choose_clock(settings, connection)
    moved = choose_clock(settings.model_copy(update={"test_clock": True}), connection)
    assert isinstance(fixed, SystemClock)
    assert isinstance(moved, RedisOffsetClock)
    now = datetime.now(UTC)
    assert abs(await fixed.now() - now) < timedelta(seconds=5)
    assert abs(await moved.now() - now - timedelta(hours=1)) < timedelta(seconds=5)
    await connection.set(CLOCK_OFFSET_KEY, -60_000)
    assert abs(await moved.now() - now + timedelta(minutes=1)) < timedelta(seconds=5)
    await connection.delete(CLOCK_OFFSET_KEY)
    assert abs(await moved.now() - now) < timedelta(seconds=5)
