"""`make bench`: every part in a row, and one table at the end. Loopback only; leaves nothing behind."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import kept, machine
from bench.figures import Figure, line, table
from bench.parts import PARTS

from stack.interrupts import signals_as_errors


def main() -> None:
    """The console script: whatever ends it, no process stays behind."""
    try:
        with signals_as_errors(KeyboardInterrupt):
            measure()
    except KeyboardInterrupt:
        raise SystemExit("bench: interrupted") from None


def measure() -> None:
    """Measure, print, and write the result as JSON; with exit code 1 when a part could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that all of it works")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="into bench/results, for the repository; other parts of the day stay",
    )
    parser.add_argument("--out", type=Path, help="where the result goes, bench/results/local by default")
    chosen = parser.parse_args()
    if unknown := sorted(set(chosen.parts) - set(PARTS)):
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    if chosen.keep and chosen.quick:
        parser.error("small sizes are not for keeping")
    out: Path = chosen.out or (kept.shared() if chosen.keep else kept.local("bench"))
    facts, figures, failed = machine.facts(), list[Figure](), list[str]()
    for name in chosen.parts or PARTS:
        origin = kept.Origin(facts)
        print(f"\n{name}", flush=True)
        try:
            measured = PARTS[name](chosen.quick)
        except Exception as error:  # noqa: BLE001 - the others are worth having, and this one is told
            failed.append(name)
            print(f"  not measured: {f'{type(error).__name__}: {error}'[:500]}", flush=True)
            continue
        figures += measured
        for figure in measured:
            print(f"  {line(figure)}", flush=True)
        told = {"quick": chosen.quick, **origin.told(), "figures": [figure.as_json() for figure in measured]}
        # A run takes most of an hour: what is there stays, whatever ends it.
        kept.put(out, name, told, list(PARTS))
        print(f"  took {told['took_s']:.0f} s", flush=True)
    print(f"\n{table(figures)}\n")
    print(f"written to {out}")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
