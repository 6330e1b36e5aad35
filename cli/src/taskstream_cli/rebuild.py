"""`taskstream rebuild`: throw away what a service derived, and have it built again from what task-api has."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import httpx
import typer
from redis.asyncio import Redis

from taskstream_cli.failing import Unable, run
from taskstream_cli.markers import DERIVING, connect_redis, read_marker, remove_marker
from taskstream_cli.places import RedisUrl, service_url

_LOOK_SECONDS = 0.5
_STEADY_LOOKS = 4
"""Green for so long: each replica looks at the marker every second, and keeps what it found for half a second."""

ServiceName = Annotated[str, typer.Argument(help="reminders, recurrence or notifier.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Wait = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait until it is ready again.")]


def command(service: ServiceName, redis_url: RedisUrl, yes: Yes = False, wait: Wait = 600.0) -> None:
    """Have a service build its documents again from task-api; nothing is lost, and it stands still meanwhile."""
    if not yes:
        typer.confirm(f"{service} does nothing until it is through. Go on?", abort=True)
    seconds = run(rebuild(redis_url, service, wait))
    typer.echo(f"{service} is ready again after {seconds:.0f} s")


async def rebuild(redis_url: str, service: str, wait: float) -> float:
    """The seconds it took. Raises Unable, RedisError and httpx.TransportError."""
    if service not in DERIVING:
        raise Unable(f"{service} derives nothing: name one of {', '.join(DERIVING)}.")
    began = time.monotonic()
    async with (
        connect_redis(redis_url) as redis,
        httpx.AsyncClient(base_url=service_url(service), timeout=5, trust_env=False) as client,
    ):
        # Asked first: a service that is not there would leave everything undone.
        await client.get("/health/live")
        before = await read_marker(redis, service)
        await remove_marker(redis, service)
        steady = 0
        while steady < _STEADY_LOOKS:
            if time.monotonic() - began > wait:
                raise Unable(
                    f"{service} is not ready after {wait:.0f} s: `GET /health` says what it waits for."
                )
            await asyncio.sleep(_LOOK_SECONDS)
            renewed = await _is_renewed(redis, service, None if before is None else before.generation)
            steady = steady + 1 if renewed and await _is_ready(client) else 0
    return time.monotonic() - began


async def _is_ready(client: httpx.AsyncClient) -> bool:
    """A cluster's Service lets nobody in while no replica is ready: that is no answer, and no failure either."""
    try:
        return (await client.get("/health/ready")).is_success
    except httpx.TransportError:
        return False


async def _is_renewed(redis: Redis, service: str, former: str | None) -> bool:
    marker = await read_marker(redis, service)
    return marker is not None and marker.generation != former and not marker.in_progress
