"""What a list costs who has a million tasks, beside who has a thousand: one table, one process, blocks in turn.

The two are asked for at the same rate, at which hardly anybody waits, so that the ratio is that of the lists; and in
turn, so that what else the machine does falls on both.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from time import perf_counter

from bench import requests
from bench.http_client import Connection
from bench.load import Block, arrivals, closed_loop, open_loop
from bench.place import Served
from bench.postgres import Store
from bench.task_api.measure import RequestsRefused

_CLIENTS = 10
_LOAD = 0.5
"""The part of what the slower of the two reaches at which both are asked for."""


@dataclass(frozen=True)
class Plan:
    """How many tasks the two have, seconds a block, and pairs of blocks."""

    few: int
    many: int
    seconds: float
    pairs: int


FULL = Plan(few=1_000, many=1_000_000, seconds=4.0, pairs=9)
QUICK = Plan(few=1_000, many=10_000, seconds=0.5, pairs=3)


@dataclass
class Listed:
    """The blocks of one of the two, and the processor seconds they took of task-api."""

    blocks: list[Block] = field(default_factory=list)
    cpu: float = 0.0

    @property
    def p95(self) -> float:
        """Seconds; of the median block."""
        return statistics.median(block.percentile(95) for block in self.blocks)

    @property
    def cpu_each(self) -> float:
        """Processor seconds a request."""
        return self.cpu / sum(len(block.latencies) for block in self.blocks)


@dataclass
class Lists:
    """Both, and how long it took to fill the table (s)."""

    few: Listed
    many: Listed
    filled: float = 0.0

    @property
    def ratios(self) -> list[float]:
        """How many times as long 95 of 100 lists of the many take, pair by pair, the least first."""
        pairs = zip(self.many.blocks, self.few.blocks, strict=True)
        return sorted(many.percentile(95) / few.percentile(95) for many, few in pairs)


async def measure(server: Served, store: Store, plan: Plan) -> Lists:
    """Fill the table and list in turn; who begins changes from pair to pair. Raises RequestsRefused."""
    seen = Lists(Listed(), Listed())
    connection = await Connection.to(server.port)
    people = await requests.register(connection, 2)
    connection.close()
    began = perf_counter()
    await store.clear()
    await store.fill([people[0].user_id], 1, plan.few)
    await store.fill([people[1].user_id], plan.few + 1, plan.few + plan.many)
    seen.filled = perf_counter() - began
    # Another one: filling takes longer than a connection may be idle.
    connection = await Connection.to(server.port)
    await requests.log_in(connection, people)
    connection.close()
    both = list(zip((seen.few, seen.many), (requests.listing([one]) for one in people), strict=True))
    for _, made in both:
        await closed_loop(server.port, made, _CLIENTS, min(1.0, plan.seconds))
    rate = _LOAD * min(
        [_good(await closed_loop(server.port, made, _CLIENTS, plan.seconds)).per_second for _, made in both]
    )
    for pair in range(plan.pairs):
        for listed, made in both if pair % 2 == 0 else reversed(both):
            used = server.cpu_seconds()
            schedule = arrivals(rate, plan.seconds, seed=pair)
            listed.blocks.append(_good(await open_loop(server.port, made, schedule)))
            listed.cpu += server.cpu_seconds() - used
    return seen


def _good(block: Block) -> Block:
    if block.refused or not block.latencies:
        raise RequestsRefused(f"list: {block.refused[:5] or 'no answer'}")
    return block
