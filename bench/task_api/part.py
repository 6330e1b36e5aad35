"""The figures of task-api against commit-then-publish."""

from __future__ import annotations

from collections.abc import Sequence

import uvloop
from bench.figures import Figure
from bench.task_api.__main__ import FULL, QUICK, ROUTES, run
from bench.task_api.run import Row

_AGAINST = "commit, then publish"
_TABLE = 10_000


def task_api(quick: bool) -> Sequence[Figure]:
    """Requests a second, latency and processor time of the routes, beside the usual form of such a service."""
    rows = uvloop.run(run(QUICK if quick else FULL, ROUTES, _TABLE))
    return [figure for row in rows for figure in _figures(row)]


def _figures(row: Row) -> list[Figure]:
    name, ours, theirs = f"{row['route']}, {row['load']}", row["task_api"], row["baseline"]
    rate = Figure(
        "task-api", name, ours["per_second"], "requests/s", _AGAINST, ours["per_second"] / row["ratio"]
    )
    if not row["load"].startswith("open"):
        return [rate]
    bound = 200.0 if row["route"] in ("create", "complete") else 100.0
    return [
        rate,
        Figure(
            "task-api", f"{name}, p95", ours["p95_ms"], "ms", _AGAINST, theirs["p95_ms"], ("at most", bound)
        ),
        Figure(
            "task-api", f"{name}, processor time", ours["cpu_ms_a_request"], "ms", _AGAINST,
            theirs["cpu_ms_a_request"],
        ),
    ]  # fmt: skip
