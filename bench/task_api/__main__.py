"""`python -m bench.task_api`: task-api against commit-then-publish, as ratios. Loopback only; stops by itself."""

from __future__ import annotations

import argparse
from pathlib import Path

import uvloop
from bench.kept import Kept
from bench.postgres import Store
from bench.task_api.arena import arena
from bench.task_api.measure import Plan
from bench.task_api.report import headline, line
from bench.task_api.run import SIZES, Benchmark, Row

ROUTES = ("create", "get", "search", "complete", "list")
FULL = Plan(seconds=4.0, pairs=5, clients=(1, 10, 100))
QUICK = Plan(seconds=0.5, pairs=3, clients=(10,))


async def run(plan: Plan, routes: tuple[str, ...], rows: int) -> list[Row]:
    measured: list[Row] = []

    def report(row: Row) -> None:
        measured.append(row)
        print(line(row), flush=True)

    with arena() as place:
        async with Store.of(place.instance.database_url) as store:
            print(headline(), flush=True)
            await Benchmark(place, store, plan, rows, report).run(routes)
    return measured


def main() -> None:
    """Measure, print, and write the result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.task_api", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short blocks, small tables: under 2 minutes")
    parser.add_argument("--routes", nargs="+", choices=ROUTES, default=ROUTES, help="all by default")
    parser.add_argument(
        "--rows",
        type=int,
        choices=SIZES,
        help="of the largest table that is listed: 100,000; 10,000 when quick",
    )
    parser.add_argument("--out", type=Path, help="where the result goes, bench/results/local by default")
    chosen = parser.parse_args()
    plan = QUICK if chosen.quick else FULL
    rows = chosen.rows or (10_000 if chosen.quick else 100_000)
    kept = Kept()
    measured = uvloop.run(run(plan, tuple(chosen.routes), rows))
    out: Path = chosen.out or kept.local("task_api")
    sizes = {"seconds": plan.seconds, "pairs": plan.pairs, "rows": rows}
    print(f"written to {kept.write(out, plan=sizes, rows=measured)}")


if __name__ == "__main__":
    main()
