"""`python -m tests.chaos`: break everything, again and again, and see whether a promise breaks with it."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.faults import KINDS, Kind, kinds_with
from tests.chaos.report import Outcome, as_json, table
from tests.chaos.run import Plan, run

from stack import Instance, Progress
from stack.interrupts import signals_as_errors
from stack.layout import checkout

DEFAULT_MINUTES = 6.0


def instance_name() -> str:
    """An instance of its own; test runs beside each other are told apart by the name they have."""
    beside = os.environ.get("TASKSTREAM_TEST_INSTANCE")
    return f"{beside}-chaos" if beside else "chaos"


def play(plan: Plan, name: str, *, keep: bool = False) -> Outcome:
    """Play a plan and take the system down again; with `keep`, leave it and its data."""
    progress = Progress(lambda line: print(line, flush=True))
    instance = Instance(name, progress=progress)
    progress.line(f"seed {plan.seed}, {plan.minutes:g} minutes, {plan.rate:g} writes a second")
    try:
        return asyncio.run(run(instance, plan, progress.line))
    finally:
        if not keep:
            instance.down(wipe=True)


def _kinds(words: str) -> Sequence[Kind]:
    try:
        return kinds_with(words)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=DEFAULT_MINUTES, help="how long faults go on")
    parser.add_argument("--seed", type=int, help="of an earlier run, to have the same faults again")
    parser.add_argument("--rate", type=float, default=Plan.rate, help="writes a second")
    parser.add_argument(
        "--only",
        type=_kinds,
        default=KINDS,
        metavar="WORDS",
        help="faults with these words in their names, 'stop' or 'kill redis' say",
    )
    parser.add_argument("--keep", action="store_true", help="leave the system running afterwards")
    parser.add_argument("--out", type=Path, help="where the JSON goes, bench/results/local by default")
    chosen = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed
    plan = Plan(chosen.minutes, seed, chosen.rate, kinds=chosen.only)
    try:
        with signals_as_errors(KeyboardInterrupt):
            outcome = play(plan, instance_name(), keep=chosen.keep)
    except KeyboardInterrupt:
        sys.exit("chaos: interrupted")
    print(table(outcome))
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    out: Path = chosen.out or checkout() / "bench" / "results" / "local" / f"chaos-{stamp}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(as_json(outcome))
    print(f"written to {out}")
    sys.exit(0 if outcome.holds else 1)


if __name__ == "__main__":
    main()
