"""The figures of the whole system."""

from __future__ import annotations

from collections.abc import Sequence

import uvloop
from bench.figures import Figure
from bench.place import SERVICES, standing
from bench.system.measure import FULL, QUICK, System, starts
from bench.system.measure import system as measure

_MIB = 2**20


def system(quick: bool) -> Sequence[Figure]:
    """Starts, memory, health, many connections, many people, and what each request costs."""
    plan, seen = (QUICK if quick else FULL), System()
    with standing(*SERVICES) as place:
        seen.cold_start = place.start_seconds
        starts(place, seen)
        uvloop.run(measure(place, plan, seen))
    figures = [
        Figure("system", "start without data", seen.cold_start, "s"),
        Figure("system", "start with data", seen.warm_start, "s"),
        Figure("system", "/health 100 times a second, p99", seen.health.percentile(99) * 1000, "ms",
               goal=("at most", 500)),
        Figure("system", "memory of an open connection", seen.connection_bytes / 1024, "KiB"),
        Figure("system", "1,000 open connections: p99", seen.connected.percentile(99) * 1000, "ms",
               "with 10", seen.unconnected.percentile(99) * 1000),
        Figure("system", "a task on disk, with its indexes", seen.task_bytes, "bytes"),
        Figure("system", "history, activity and reminder of a new task, on disk", seen.ledger_bytes, "bytes"),
        Figure("system", "an open task with a reminder, in Redis", seen.redis_bytes, "bytes"),
    ]  # fmt: skip
    many = f"{plan.strangers:,} people, {plan.strangers * 10:,} tasks"
    for name, block in seen.many.items():
        few = seen.few[name]
        figures += [
            Figure("system", f"{name}, {many}", block.per_second, "requests/s", "32 people, 320", few.per_second),
            Figure("system", f"{name}, {many}, p99", block.percentile(99) * 1000, "ms",
                   "32 people, 320", few.percentile(99) * 1000),
        ]  # fmt: skip
    for name, spent in seen.cpu_ms.items():
        figures += [
            Figure("system", f"{name}: processor time of {worker}", ms, "ms") for worker, ms in spent.items()
        ]
    figures += [
        Figure("system", f"processor of {name}, idle", cores * 100, "% of a core")
        for name, cores in seen.idle_cores.items()
    ]
    figures += [
        Figure("system", f"memory of {name}, loaded", seen.loaded[name] / _MIB, "MiB", "idle", idle / _MIB)
        for name, idle in seen.idle.items()
        if name in seen.loaded
    ]
    return figures
