"""Pairs of blocks: ours and the baseline in turn, so that what else the machine does falls on both alike."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from bench.load import Block, Requests, arrivals, closed_loop, open_loop
from bench.machine import Stolen
from bench.place import Served
from bench.task_api.arena import Arena

LOAD = 0.7
"""The part of the measured saturation at which latencies are taken."""

Between = Callable[[], Awaitable[float]]
"""What is awaited after a block of ours, so that nothing of it is left for the next one; gives the seconds it took."""


class RequestsRefused(Exception):
    """A server answered something else than 2xx, so the figures would mean nothing."""


@dataclass(frozen=True)
class Plan:
    """How long and how often: `seconds` a block, `pairs` of blocks, `clients` of the closed loops."""

    seconds: float
    pairs: int
    clients: tuple[int, ...]


@dataclass
class Series:
    """The blocks of one service under one load, and what the process used for them."""

    blocks: list[Block] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    stolen: list[float] = field(default_factory=list)
    resident: int = 0

    @property
    def per_second(self) -> float:
        """The median block's answers a second."""
        return statistics.median(block.per_second for block in self.blocks)

    def row(self) -> dict[str, Any]:
        """Give the figures: rates a second, times in milliseconds, memory in MiB. Rates and times are the median
        block's, so that one during which the host served others does not make them."""
        requests = sum(len(block.latencies) for block in self.blocks)

        def percentile(percent: int) -> float:
            return round(statistics.median(block.percentile(percent) * 1000 for block in self.blocks), 2)

        row = {
            "requests": requests,
            "per_second": round(self.per_second, 1),
            "p50_ms": percentile(50),
            "p95_ms": percentile(95),
            "p99_ms": percentile(99),
            "p95_ms_of_blocks": sorted(round(block.percentile(95) * 1000, 2) for block in self.blocks),
            "stolen": round(statistics.mean(self.stolen), 3),
            "cpu_ms_a_request": round(sum(self.cpu) * 1000 / requests, 3),
            "resident_mib": round(self.resident / 2**20),
        }
        if any(self.waited):
            row["published_after_s"] = round(max(self.waited), 3)
            row["published_per_second"] = round(
                statistics.median(
                    len(block.latencies) / (block.elapsed + waited)
                    for block, waited in zip(self.blocks, self.waited, strict=True)
                ),
                1,
            )
        return row


async def _nothing() -> float:
    return 0.0


class Measuring:
    """Measures routes on both services of an arena."""

    def __init__(self, arena: Arena, plan: Plan) -> None:
        self._arena = arena
        self._plan = plan

    async def route(
        self,
        name: str,
        requests: Requests,
        *,
        clients: tuple[int, ...] = (),
        between: Between = _nothing,
    ) -> list[dict[str, Any]]:
        """Find the saturation by closed loops, then the latencies at 70 % of it by an open one. Gives a row a load.

        Raises RequestsRefused.
        """
        plan, rows = self._plan, []
        saturation = dict.fromkeys((service.name for service in self._arena.both), 0.0)
        for service in self._arena.both:
            await closed_loop(service.port, requests, 4, min(1.0, plan.seconds))
            await between()
        for count in clients or plan.clients:

            async def closed(service: Served, _: int, count: int = count) -> Block:
                return await closed_loop(service.port, requests, count, plan.seconds)

            measured = await self._pairs(name, closed, between)
            for of, series in measured.items():
                saturation[of] = max(saturation[of], series.per_second)
            rows.append(_compared(name, f"{count} clients", measured))

        async def opened(service: Served, pair: int) -> Block:
            schedule = arrivals(LOAD * saturation[service.name], plan.seconds, seed=pair)
            return await open_loop(service.port, requests, schedule)

        measured = await self._pairs(name, opened, between)
        rows.append(_compared(name, f"open, {LOAD:.0%} load", measured))
        return rows

    async def _pairs(
        self, name: str, run: Callable[[Served, int], Awaitable[Block]], between: Between
    ) -> dict[str, Series]:
        measured = {service.name: Series() for service in self._arena.both}
        for pair in range(self._plan.pairs):
            # Who begins changes from pair to pair: a drift of the machine favours nobody.
            for service in self._arena.both if pair % 2 == 0 else reversed(self._arena.both):
                series, used, stolen = measured[service.name], service.cpu_seconds(), Stolen()
                block = await run(service, pair)
                series.stolen.append(stolen.share())
                if block.refused or not block.latencies:
                    raise RequestsRefused(f"{name} of {service.name}: {block.refused[:5] or 'no answer'}")
                waited = await between()
                series.cpu.append(service.cpu_seconds() - used)
                series.blocks.append(block)
                series.waited.append(waited if service is self._arena.ours else 0.0)
                series.resident = max(series.resident, service.resident_bytes())
        return measured


def _compared(name: str, load: str, measured: dict[str, Series]) -> dict[str, Any]:
    """Put both beside each other. The ratio is the median of the pairs' ratios, with the least and the greatest."""
    ours, baseline = measured.values()
    ratios = sorted(
        mine.per_second / theirs.per_second for mine, theirs in zip(ours.blocks, baseline.blocks, strict=True)
    )
    return {
        "route": name,
        "load": load,
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "task_api": ours.row(),
        "baseline": baseline.row(),
    }
