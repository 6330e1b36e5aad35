"""The figures of task-api: its routes against commit-then-publish, and its lists of many tasks against those of few."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import uvloop
from bench.figures import Figure
from bench.place import standing
from bench.postgres import Store
from bench.task_api import lists as listing
from bench.task_api.arena import EVERYBODY, arena
from bench.task_api.measure import Plan
from bench.task_api.run import Benchmark, Row

ROUTES = ("create", "get", "search", "complete", "list")
FULL = Plan(seconds=4.0, pairs=5, clients=(1, 10, 100))
QUICK = Plan(seconds=0.5, pairs=3, clients=(10,))
_AGAINST = "commit, then publish"
_TABLE = 10_000


async def measure_routes(
    plan: Plan, routes: tuple[str, ...], rows: int, report: Callable[[Row], None] = lambda _: None
) -> list[Row]:
    """Measure these routes, lists in tables of up to `rows` tasks. `report` hears each row as soon as it is there."""
    measured: list[Row] = []

    def keep(row: Row) -> None:
        measured.append(row)
        report(row)

    with arena() as place:
        async with Store.of(place.instance.database_url) as store:
            await Benchmark(place, store, plan, rows, keep).run(routes)
    return measured


def task_api(quick: bool) -> Sequence[Figure]:
    """Requests a second, latency and processor time of the routes, beside the usual form of such a service."""
    return figures_of(uvloop.run(measure_routes(QUICK if quick else FULL, ROUTES, _TABLE)))


def lists(quick: bool) -> Sequence[Figure]:
    """How much longer a list takes who has very many tasks."""
    plan = listing.QUICK if quick else listing.FULL

    async def measure(database_url: str) -> listing.Lists:
        async with Store.of(database_url) as store:
            return await listing.measure(place["task-api"], store, plan)

    with standing("task-api", env=EVERYBODY) as place:
        seen = uvloop.run(measure(place.instance.database_url))
    name, other = f"list, {plan.many:,} tasks of one", f"{plan.few:,} tasks"
    p95 = seen.many.p95 * 1000
    return [
        Figure("task-api", f"{name}, p95", p95, "ms", other, p95 / statistics.median(seen.ratios),
               ("at most", 1.3), of_ratio=True),
        Figure("task-api", f"{name}, p95, the greatest ratio of a pair", seen.ratios[-1], "×"),
        Figure("task-api", f"{name}, processor time", seen.many.cpu_each * 1000, "ms", other,
               seen.few.cpu_each * 1000),
        Figure("task-api", f"{name}: table filled after", seen.filled, "s"),
    ]  # fmt: skip


def figures_of(rows: Sequence[Row]) -> list[Figure]:
    """Give the figures of measured rows, and the most memory that any of them took."""
    if not rows:
        return []
    ours, theirs = (max(row[of]["resident_mib"] for row in rows) for of in ("task_api", "baseline"))
    return [
        *(figure for row in rows for figure in _figures(row)),
        Figure("task-api", "memory at most", ours, "MiB", _AGAINST, theirs, ("at most", 256)),
    ]


def _figures(row: Row) -> list[Figure]:
    name, ours, theirs = f"{row['route']}, {row['load']}", row["task_api"], row["baseline"]
    is_open = row["load"].startswith("open")
    # One client has one answer at a time: that measures how long one takes, not how many there are.
    has_goal = row["route"] == "create" and not is_open and row["load"] != "1 clients"
    rate = Figure(
        "task-api", name, ours["per_second"], "requests/s", _AGAINST, ours["per_second"] / row["ratio"],
        ("at least", 4) if has_goal else None, of_ratio=has_goal,
    )  # fmt: skip
    if not is_open:
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
