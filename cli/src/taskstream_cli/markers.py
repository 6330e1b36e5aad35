"""The markers of the services in Redis, where the Dapr state store keeps them (`service_kit.marker` writes them)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from event_contracts.topics import NOTIFIER, RECURRENCE, REMINDERS
from taskstream_cli.failing import Unable
from taskstream_cli.store_login import redis_login

DERIVING = (REMINDERS, RECURRENCE, NOTIFIER)
"""The services whose documents can be built again from task-api."""
_IN_PROGRESS = "rebuilding"


@dataclass(frozen=True)
class Marker:
    """`generation` names the valid documents, `epoch` the PostgreSQL that they were built from."""

    generation: str
    epoch: int
    in_progress: bool


@asynccontextmanager
async def connect_redis(url: str) -> AsyncIterator[Redis]:
    """A client that gives up after 5 s. Raises Unable for an address that is none."""
    try:
        client = Redis.from_url(
            url, decode_responses=True, socket_timeout=5, socket_connect_timeout=5, **redis_login(url)
        )
    except ValueError as error:
        raise Unable(f"REDIS_URL is not valid ({error}): give redis://:password@host:port/0.") from None
    async with client:
        yield client


async def read_marker(redis: Redis, service: str) -> Marker | None:
    """The marker of a service; None when it has none. Raises RedisError."""
    found = await redis.hget(_key(service), "data")  # type: ignore[misc, unused-ignore]
    if found is None:
        return None
    value = json.loads(found)
    return Marker(str(value["generation"]), int(value["epoch"]), value["run_id"] == _IN_PROGRESS)


async def remove_marker(redis: Redis, service: str) -> None:
    """From now on nothing that the service derived is valid. Raises RedisError."""
    await redis.delete(_key(service))


def _key(service: str) -> str:
    return f"{service}||marker"
