"""`python -m bench.task_api`: task-api alone, with options of its own. Loopback only; stops by itself."""

from __future__ import annotations

import argparse
from pathlib import Path

import uvloop
from bench import kept
from bench.figures import table
from bench.task_api.part import FULL, QUICK, ROUTES, figures_of, lists, measure_routes
from bench.task_api.report import headline, line
from bench.task_api.run import SIZES, Row


def main() -> None:
    """Measure, print, and write the result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.task_api", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short blocks, small tables: under 2 minutes")
    parser.add_argument(
        "--only",
        choices=("routes", "lists"),
        help="the routes against commit-then-publish, or lists of a million tasks against those of a thousand; "
        "both by default",
    )
    parser.add_argument("--routes", nargs="+", choices=ROUTES, default=ROUTES, help="all by default")
    parser.add_argument(
        "--rows",
        type=int,
        choices=SIZES,
        help="of the largest table that is listed beside the baseline: 100,000; 10,000 when quick",
    )
    parser.add_argument("--out", type=Path, help="where the result goes, bench/results/local by default")
    chosen = parser.parse_args()
    plan = QUICK if chosen.quick else FULL
    rows = chosen.rows or (10_000 if chosen.quick else 100_000)
    origin = kept.Origin()
    measured = list[Row]()
    if chosen.only != "lists":
        print(headline(), flush=True)
        routes = measure_routes(plan, tuple(chosen.routes), rows, lambda row: print(line(row), flush=True))
        measured = uvloop.run(routes)
    figures = figures_of(measured)
    if chosen.only != "routes":
        figures += lists(chosen.quick)
    print(f"\n{table(figures)}\n")
    out: Path = chosen.out or kept.local("task_api")
    sizes = {"seconds": plan.seconds, "pairs": plan.pairs, "rows": rows}
    told = {"plan": sizes, "rows": measured, "figures": [figure.as_json() for figure in figures]}
    print(f"written to {kept.write(out, {**origin.told(), **told})}")


if __name__ == "__main__":
    main()
