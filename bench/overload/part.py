"""The figures of overload and of a backlog."""

from __future__ import annotations

from collections.abc import Sequence

import uvloop
from bench.figures import Figure
from bench.load import quantile
from bench.overload import backlog as behind
from bench.overload import flood
from bench.place import standing

_MIB = 2**20


def overload(quick: bool) -> Sequence[Figure]:
    """Three times the saturation, with turns and without."""
    plan = flood.QUICK if quick else flood.FULL
    with standing("task-api") as place:
        with place.beside("turns", "task_api") as server:
            ours = uvloop.run(flood.flood(place, server, plan))
        with place.beside("no-turns", "task_api", REQUESTS_AT_ONCE="100000") as server:
            without = uvloop.run(flood.flood(place, server, plan))
    return _flood_figures(ours, without)


def _flood_figures(ours: flood.Flood, without: flood.Flood) -> Sequence[Figure]:
    name, other = "overload, 3 × saturation", "without turns"
    answers = ours.statuses.total()
    return [
        Figure("overload", "saturation, 1 create to 3 reads", ours.saturation, "requests/s"),
        Figure("overload", f"{name}: answered", len(ours.during.latencies) / ours.during.elapsed, "requests/s",
               other, len(without.during.latencies) / without.during.elapsed),
        Figure("overload", f"{name}: refused with 503", 100 * ours.statuses[503] / answers, "%",
               other, 100 * without.statuses[503] / without.statuses.total()),
        Figure("overload", f"{name}: answered neither well nor 503",
               answers - ours.statuses[503] - ours.statuses[200], "requests", goal=("at most", 0)),
        Figure("overload", f"{name}: p50 of the answered", ours.during.percentile(50) * 1000, "ms",
               other, without.during.percentile(50) * 1000),
        Figure("overload", f"{name}: p99 of the answered", ours.during.percentile(99) * 1000, "ms",
               other, without.during.percentile(99) * 1000, ("at most", 2_000)),
        Figure("overload", f"{name}: /health, p99", quantile(ours.probes, 99) * 1000, "ms",
               other, quantile(without.probes, 99) * 1000, ("at most", 500)),
        Figure("overload", f"{name}: /health not answered with 200", ours.probes_failed, "probes",
               other, without.probes_failed, ("at most", 0)),
        Figure("overload", f"{name}: memory at most", max(ours.resident) / _MIB, "MiB",
               "before", ours.resident[0] / _MIB, ("at most", 1.25), of_ratio=True),
        Figure("overload", "after it: until latency is as before", ours.recovery_seconds, "s",
               other, without.recovery_seconds, ("at most", 3)),
    ]  # fmt: skip


def backlog(quick: bool) -> Sequence[Figure]:
    """A consumer that comes back to events that piled up."""
    plan = behind.QUICK if quick else behind.FULL
    with standing("task-api", "reminders") as place:
        seen = uvloop.run(behind.backlog(place, plan))
    what = f"{plan.events:,} events behind"
    return [
        Figure("backlog", f"{what}: published", seen.published_per_second, "events/s"),
        Figure("backlog", f"{what}: handled by reminders", seen.per_second, "events/s"),
        Figure("backlog", f"{what}: until none is left", seen.drain_seconds, "s"),
        Figure("backlog", f"{what}: processor time of reminders", seen.cpu_ms, "ms/event"),
        Figure("backlog", f"{what}: new reminders late, p50", quantile(seen.late, 50), "s"),
        Figure("backlog", f"{what}: new reminders late, p99", quantile(seen.late, 99), "s",
               goal=("at most", 1)),
    ]  # fmt: skip
