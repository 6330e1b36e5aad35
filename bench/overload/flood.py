"""Three times what task-api can answer, from many people at once: what becomes of those it takes, and afterwards."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from time import perf_counter

from bench import requests
from bench.http_client import Connection, encode
from bench.load import Block, Requests, arrivals, closed_loop, open_loop
from bench.place import Place, Served
from bench.postgres import Store

PEOPLE = 100
TIMES = 3.0
CALM = 0.3
"""The part of the saturation at which the usual latency is taken, before and after."""
CLIENTS = 16
CONNECTIONS = 1_000
_WINDOW = 0.5
_PROBE_EVERY = 0.1


@dataclass(frozen=True)
class Plan:
    """Seconds of each stretch."""

    saturate: float
    flood: float
    calm: float


FULL = Plan(saturate=8, flood=20, calm=10)
QUICK = Plan(saturate=1, flood=4, calm=3)


@dataclass
class Flood:
    """What was seen. Seconds and bytes."""

    saturation: float
    before: Block
    during: Block
    after: Block
    probes: list[float] = field(default_factory=list)
    probes_failed: int = 0
    resident: list[int] = field(default_factory=list)

    @property
    def statuses(self) -> Counter[int]:
        """How many answers of each kind the flood got; 200 stands for all good ones."""
        return Counter(self.during.refused) | Counter({200: len(self.during.latencies)})

    @property
    def recovery_seconds(self) -> float:
        """When the last half second ended in which more than one of ten was refused, or took longer than 99 of 100 do
        usually. Counted from when the last of the flood was due."""
        usual, after = self.before.percentile(99), self.after
        good = zip(after.moments, after.latencies, strict=True)
        judged = [(moment, latency > usual) for moment, latency in good]
        windows = defaultdict[int, list[bool]](list)
        for moment, is_bad in [*judged, *((moment, True) for moment in after.refused_moments)]:
            windows[int(moment / _WINDOW)].append(is_bad)
        return _WINDOW * max(
            (number + 1 for number, bad in windows.items() if 10 * sum(bad) > len(bad)), default=0
        )


async def flood(place: Place, server: Served, plan: Plan) -> Flood:
    """Find the saturation of a mix of one create to three reads, and offer three times as much."""
    async with Store.of(place.instance.database_url) as store:
        made = await _mix(server, store)
        await closed_loop(server.port, made, CLIENTS, 1.0)
        saturation = (await closed_loop(server.port, made, CLIENTS, plan.saturate)).per_second
        await store.until_published()
        before = await _calm(server.port, made, saturation, plan.calm)
        seen = Flood(saturation, before, Block(), Block())
        watching = asyncio.create_task(_watch(server, seen))
        seen.during, seen.after = await overflow(server.port, made, saturation, plan)
        watching.cancel()
        seen.resident.append(server.resident_bytes())
        await store.until_published()
    return seen


async def overflow(
    port: int, made: Requests, saturation: float, plan: Plan, connections: int = CONNECTIONS
) -> tuple[Block, Block]:
    """Offer too much, and as soon as no more of it is due a calm stream from others. Gives what became of both.

    What the flood left behind is answered, or not, while the calm stream waits: that is what it is to recover from.
    """
    offered = asyncio.Event()
    schedule = arrivals(TIMES * saturation, plan.flood, seed=1)
    async with asyncio.TaskGroup() as running:
        during = running.create_task(open_loop(port, made, schedule, connections, offered=offered))
        await offered.wait()
        after = await _calm(port, made, saturation, plan.calm, since=perf_counter())
    return during.result(), after


async def _mix(server: Served, store: Store) -> Requests:
    connection = await Connection.to(server.port)
    people = await requests.register(connection, PEOPLE)
    connection.close()
    owners = [person.user_id for person in people]
    await store.fill(owners, 1, PEOPLE * 20)
    creating, getting = requests.creating(people), requests.getting(people, await store.open_tasks(owners))
    turn = itertools.cycle((creating, getting, getting, getting))
    return lambda number: next(turn)(number)


async def _calm(
    port: int, made: Requests, saturation: float, seconds: float, since: float | None = None
) -> Block:
    return await open_loop(port, made, arrivals(CALM * saturation, seconds, seed=2), since=since)


async def _watch(server: Served, seen: Flood) -> None:
    probe = await Connection.to(server.port)
    asked = encode("GET", "/health")
    seen.resident.append(server.resident_bytes())
    while True:
        began = perf_counter()
        answer = await probe.ask(asked)
        seen.probes.append(perf_counter() - began)
        seen.probes_failed += answer.status != 200
        seen.resident.append(server.resident_bytes())
        await asyncio.sleep(_PROBE_EVERY)
