"""The figures of the way of a change."""

from __future__ import annotations

from collections.abc import Sequence

import uvloop
from bench.figures import Figure
from bench.flow.measure import Flow, flow_beside_load
from bench.flow.measure import flow as measure
from bench.load import quantile
from bench.place import SERVICES, standing

_PACE = 0.3
_WARMING = 10


def flow(quick: bool) -> Sequence[Figure]:
    """From commit to handler and from due to fired, on an idle system and at half load."""
    tasks = 10 if quick else 200
    with standing(*SERVICES) as place:
        # Not counted: ready is who can answer, and a consumer is in its group some seconds later.
        uvloop.run(measure(place.instance, _WARMING, _PACE))
        idle = uvloop.run(measure(place.instance, tasks, _PACE))
        busy = uvloop.run(flow_beside_load(place.instance, place["task-api"], tasks, _PACE))
    return [*_figures("idle", idle, 0.1), *_figures("at half load", busy, None)]


def _figures(when: str, seen: Flow, goal: float | None) -> list[Figure]:
    return [
        Figure("flow", f"commit to handler, {when}, p50", quantile(seen.handled, 50) * 1000, "ms"),
        Figure(
            "flow", f"commit to handler, {when}, p99", quantile(seen.handled, 99) * 1000, "ms",
            goal=None if goal is None else ("at most", goal * 1000),
        ),
        Figure("flow", f"reminder late, {when}, p99", quantile(seen.late, 99) * 1000, "ms"),
    ]  # fmt: skip
