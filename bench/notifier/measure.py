"""What is measured. Times are in milliseconds unless a name says otherwise."""

from __future__ import annotations

import asyncio
import statistics
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

from bench.events import snapshot
from bench.notifier.arena import Arena
from bench.notifier.clients import Client, open_clients
from bench.redis_memory import used_memory
from redis.asyncio import Redis

from notifier.adapters.redis_inbox import RedisInbox
from notifier.adapters.redis_live import RedisLive
from notifier.domain.wording import Message

Row = dict[str, Any]
_AT_LONGEST = 120.0
_SINGLE = 300
_WRITERS = 16


async def memory(place: Arena, count: int) -> tuple[Row, list[Client]]:
    """Resident memory of notifier for each open stream, and how fast streams open; the clients stay."""
    await open_and_close(place)
    before, began = place.notifier.resident_bytes(), perf_counter()
    clients = await open_clients(place, count)
    took = perf_counter() - began
    await asyncio.sleep(1)
    used = place.notifier.resident_bytes() - before
    idle = place.notifier.cpu_seconds()
    await asyncio.sleep(10)
    return {
        "measure": f"{count:,} idle streams",
        "kib_each": round(used / count / 1024, 1),
        "rss_mib": round(place.notifier.resident_bytes() / 2**20, 1),
        "opened_a_second": round(count / took),
        "idle_cpu_percent": round((place.notifier.cpu_seconds() - idle) * 10, 1),
    }, clients


async def open_and_close(place: Arena) -> None:
    """Have the process make what it makes only once."""
    for client in await open_clients(place, 20):
        client.close()
    await asyncio.sleep(1)


async def one_at_a_time(redis: Redis, clients: list[Client]) -> Row:
    """From telling of a task's change until its owner's stream brings it, while all others are silent."""
    live, taken = RedisLive(redis), []
    for client in clients[:_SINGLE]:
        client.heard.clear()
        began = perf_counter()
        await live.tell_task(snapshot(client.user_id), datetime.now(UTC))
        async with asyncio.timeout(10):
            await client.heard.wait()
        taken.append((client.heard_at - began) * 1000)
    cuts = statistics.quantiles(taken, n=100, method="inclusive")
    return {
        "measure": f"one of {len(clients):,} has news",
        "n": len(taken),
        "p50": round(cuts[49], 2),
        "p99": round(cuts[98], 2),
    }


async def all_at_once(place: Arena, redis: Redis, clients: list[Client]) -> Row:
    """A change for everybody at the same time: when the last one has it, counted from the first one's telling."""
    live = RedisLive(redis)
    for client in clients:
        client.heard.clear()
    room = asyncio.Semaphore(_WRITERS)

    async def tell(client: Client) -> None:
        async with room:
            await live.tell_task(snapshot(client.user_id), datetime.now(UTC))

    cpu, began = place.notifier.cpu_seconds(), perf_counter()
    async with asyncio.timeout(_AT_LONGEST):
        await asyncio.gather(*(tell(client) for client in clients))
        told = perf_counter() - began
        await asyncio.gather(*(client.heard.wait() for client in clients))
    last = max(client.heard_at for client in clients) - began
    return {
        "measure": f"all {len(clients):,} have news",
        "last_told": round(told * 1000),
        "last_heard": round(last * 1000),
        "a_second": round(len(clients) / last),
        "cpu_s": round(place.notifier.cpu_seconds() - cpu, 2),
    }


async def inbox_writes(redis: Redis, seconds: int, listener: Client | None) -> Row:
    """Entries a second that one process writes, 16 at the same time, for 200 people or for one who listens; and the
    bytes that each takes in Redis, as long as none makes way for another."""
    inbox = RedisInbox(redis, limit=10_000, lease=timedelta(seconds=40))
    people = [uuid4() for _ in range(200)] if listener is None else [listener.user_id]
    used, until, written = await used_memory(redis), perf_counter() + seconds, 0

    async def write(share: int) -> None:
        nonlocal written
        number = share
        while perf_counter() < until:
            await inbox.add(_message(people[number % len(people)]), (0, 1), datetime.now(UTC))
            number += _WRITERS
            written += 1

    await asyncio.gather(*(write(share) for share in range(_WRITERS)))
    who = "nobody listens" if listener is None else "the person listens"
    each = round((await used_memory(redis) - used) / written)
    return {
        "measure": f"inbox entries, {who}",
        "n": written,
        "a_second": round(written / seconds),
        "bytes_each": each,
    }


def _message(user_id: UUID) -> Message:
    return Message(
        notification_id=uuid4(),
        task_id=uuid4(),
        reminder_id=uuid4(),
        user_id=user_id,
        subject="Reminder: Water the plants in the office on the second floor",
        title="Water the plants in the office on the second floor",
        body="Due on Monday, 23 March 2026 at 09:00 (Europe/Berlin).",
        description=None,
        due="2026-03-23T08:00:00Z",
        fire_at=datetime.now(UTC),
    )
