"""`make up`, then `make bench-flow`: commit to handler, and due to fired, on a running idle instance."""

from __future__ import annotations

import argparse
import asyncio

from bench.flow.measure import flow
from bench.load import quantile

from stack import Instance

TASKS_MAX = 2_000


def main() -> None:
    """Measure and print p50, p95, p99 and the maximum in milliseconds."""
    parser = argparse.ArgumentParser(prog="python -m bench.flow", description=__doc__)
    parser.add_argument("--instance", default="dev")
    parser.add_argument("--tasks", type=int, default=200, help=f"how many, at most {TASKS_MAX}")
    parser.add_argument(
        "--pace",
        type=float,
        default=0.4,
        help="seconds between two creations; 0.4 leaves it idle between them",
    )
    chosen = parser.parse_args()
    seen = asyncio.run(flow(Instance(chosen.instance), min(chosen.tasks, TASKS_MAX), max(chosen.pace, 0.005)))
    for name, values in (
        ("create, answered", seen.answered),
        ("commit to handler", seen.handled),
        ("reminder late", seen.late),
    ):
        figures = "   ".join(
            f"p{percent} {quantile(values, percent) * 1000:7.1f} ms" for percent in (50, 95, 99)
        )
        print(f"{name:<20} n={len(values):<5} {figures}   max {max(values) * 1000:7.1f} ms")


if __name__ == "__main__":
    main()
