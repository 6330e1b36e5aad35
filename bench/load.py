"""Closed and open loops over connections that stay open. Times are in seconds."""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import perf_counter

from bench.http_client import Connection

Requests = Callable[[int], bytes]
"""Gives the next request of the n-th client."""

_NOT_MODIFIED = 304
OPEN_CONNECTIONS = 100
"""How many requests of an open loop may be under way; more wait, and their waiting counts."""


@dataclass
class Block:
    """What one stretch of load gave: the latencies of the good answers, and the statuses of the others.

    `moments` and `refused_moments` say of each answer when it came, and `refused_latencies` how long each of the others
    took.
    """

    latencies: list[float] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    refused_latencies: list[float] = field(default_factory=list)
    refused_moments: list[float] = field(default_factory=list)
    elapsed: float = 0.0

    @property
    def per_second(self) -> float:
        """Good answers a second."""
        return len(self.latencies) / self.elapsed if self.elapsed else 0.0

    def percentile(self, percent: int) -> float:
        """Seconds that so many of a hundred good answers took at most."""
        return quantile(self.latencies, percent)

    def _note(self, status: int, latency: float, moment: float) -> None:
        if 200 <= status < 300 or status == _NOT_MODIFIED:
            self.latencies.append(latency)
            self.moments.append(moment)
        else:
            self.refused.append(status)
            self.refused_latencies.append(latency)
            self.refused_moments.append(moment)


def quantile(values: Sequence[float], percent: int) -> float:
    """Give what `percent` of a hundred values are at most; of a single value that one."""
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


async def closed_loop(port: int, requests: Requests, clients: int, seconds: float) -> Block:
    """Let each client send its next request when it has the answer to the last."""
    block = Block()
    async with AsyncExitStack() as opened:
        connections = await _connect(opened, port, clients)
        began = perf_counter()
        end = began + seconds

        async def client(number: int, connection: Connection) -> None:
            while (sent := perf_counter()) < end:
                answer = await connection.ask(requests(number))
                now = perf_counter()
                block._note(answer.status, now - sent, now - began)

        async with asyncio.TaskGroup() as running:
            for number, connection in enumerate(connections):
                running.create_task(client(number, connection))
        block.elapsed = perf_counter() - began
    return block


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Give the moments at which independent people would send: exponential gaps, `rate` a second on average."""
    chance = random.Random(seed)
    moments, at = [], chance.expovariate(rate)
    while at < seconds:
        moments.append(at)
        at += chance.expovariate(rate)
    return moments


async def open_loop(
    port: int,
    requests: Requests,
    schedule: Sequence[float],
    connections: int = OPEN_CONNECTIONS,
    *,
    since: float | None = None,
    offered: asyncio.Event | None = None,
) -> Block:
    """Send each request at its moment of `schedule`, whatever became of those before it.

    The schedule counts from `since` (of perf_counter), by default from when the connections are there. `offered` is set
    when the last request is due; the answers may be long in coming.

    A latency begins at the scheduled moment. When the server stalls, all that should have been sent meanwhile has
    waited, and says so; a loop that counts from the sending leaves that out (coordinated omission).
    """
    block = Block()
    due: asyncio.Queue[float | None] = asyncio.Queue()
    async with AsyncExitStack() as opened:
        ready = await _connect(opened, port, connections)
        began = perf_counter() if since is None else since

        async def sender(number: int, connection: Connection) -> None:
            while (at := await due.get()) is not None:
                answer = await connection.ask(requests(number))
                moment = perf_counter() - began
                block._note(answer.status, moment - at, moment)

        async with asyncio.TaskGroup() as running:
            for number, connection in enumerate(ready):
                running.create_task(sender(number, connection))
            for at in schedule:
                if (early := began + at - perf_counter()) > 0:
                    await asyncio.sleep(early)
                due.put_nowait(at)
            if offered is not None:
                offered.set()
            for _ in ready:
                due.put_nowait(None)
        block.elapsed = perf_counter() - began
    return block


async def _connect(opened: AsyncExitStack, port: int, count: int) -> list[Connection]:
    connections = await asyncio.gather(*(Connection.to(port) for _ in range(count)))
    for connection in connections:
        opened.callback(connection.close)
    return connections
