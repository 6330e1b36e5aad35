"""What is measured. Times are in milliseconds unless a name says otherwise."""

from __future__ import annotations

import asyncio
import statistics
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any
from uuid import uuid4

import orjson
from bench.reminders.arena import Arena
from bench.reminders.store import Store
from bench.topics import watching

Row = dict[str, Any]
_LEAD = timedelta(seconds=5)
"""Between the filling and the first that is due: the service looks at its index each second."""
_AT_LONGEST = 120.0
_TICKS = 200
_DUE = 100


async def memory(store: Store, before: int, pending: int) -> Row:
    """Bytes a pending reminder: document, due index and the person's own index."""
    used = await store.used_memory()
    return {
        "measure": f"memory, {pending:,} pending",
        "bytes_each": round((used - before) / pending),
        "used_mib": round(used / 2**20, 1),
    }


async def ticks(place: Arena, store: Store, pending: int) -> Row:
    """One look at the index when nothing is due, and when 100 are: claimed and acknowledged."""
    with place.standing_still():
        idle = [await _timed_claim(store) for _ in range(_TICKS)]
        busy = []
        for _ in range(_TICKS // 10):
            past = datetime.now(UTC) - timedelta(seconds=1)
            await store.index.add({f"{uuid4().hex}:x:0": past for _ in range(_DUE)})
            busy.append(await _timed_claim(store, _DUE))
    return {
        "measure": f"tick, {pending:,} pending",
        "nothing_due_p50": round(statistics.median(idle), 2),
        "hundred_due_p50": round(statistics.median(busy), 2),
    }


async def _timed_claim(store: Store, expected: int = 0) -> float:
    began = perf_counter()
    claim = await store.index.claim()
    if claim.leases:
        await store.index.ack_many(claim.leases)
    await store.index.next_due()
    taken = (perf_counter() - began) * 1000
    assert len(claim.leases) == expected, "somebody else claims"
    return taken


async def lateness(place: Arena, store: Store, seconds: int, a_second: int = 100) -> Row:
    """A steady stream of reminders: how late each was published, by the broker's time stamp."""
    begin = datetime.now(UTC) + _LEAD
    moments = [begin + timedelta(seconds=number / a_second) for number in range(seconds * a_second)]
    late, cpu = await _fire(place, store, moments)
    cuts = statistics.quantiles(late, n=100, method="inclusive")
    return {
        "measure": f"lateness, {a_second} due a second",
        "n": len(late),
        "p50": round(cuts[49], 1),
        "p99": round(cuts[98], 1),
        "max": round(max(late), 1),
        "cpu_s": round(cpu, 2),
    }


async def burst(place: Arena, store: Store, count: int) -> Row:
    """All due in the same second: when the last one was published."""
    late, cpu = await _fire(place, store, [datetime.now(UTC) + _LEAD] * count)
    return {
        "measure": f"burst of {count:,}",
        "half_out": round(statistics.median(late), 1),
        "all_out": round(max(late), 1),
        "cpu_s": round(cpu, 2),
    }


async def _fire(place: Arena, store: Store, moments: list[datetime]) -> tuple[list[float], float]:
    """Let them fire, and read the bus afterwards: the lateness of each, and the processor seconds that it took.

    Raises KeyError when one comes twice, TimeoutError when one does not come.
    """
    async with watching(place.instance.kafka_bootstrap, "reminder-due") as bus, asyncio.timeout(_AT_LONGEST):
        pending = await store.index.depth()
        wanted = await store.fill(moments)
        cpu = place.cpu_seconds()
        # It happens in another process: no event of ours tells of it.
        while await store.index.depth() > pending:  # noqa: ASYNC110
            await asyncio.sleep(0.25)
        cpu = place.cpu_seconds() - cpu
        late: list[float] = []
        while wanted:
            record = await bus.getone()
            data = orjson.loads(record.value)["data"]
            wanted.remove(data["reminder_id"])
            late.append(record.timestamp - datetime.fromisoformat(data["fire_at"]).timestamp() * 1000)
        return late, cpu
