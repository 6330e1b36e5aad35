"""`make bench`: every part in a row, and one table at the end. Loopback only; leaves nothing behind."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from bench.figures import Figure, line, table
from bench.kept import Kept
from bench.parts import PARTS


def main() -> None:
    """Measure, print, and write the result as JSON; with exit code 1 when a part could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that all of it works")
    parser.add_argument("--keep", action="store_true", help="write into bench/results, for the repository")
    parser.add_argument("--out", type=Path, help="where the result goes, bench/results/local by default")
    chosen = parser.parse_args()
    if unknown := sorted(set(chosen.parts) - set(PARTS)):
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    kept, figures, failed = Kept(), list[Figure](), dict[str, str]()
    out = chosen.out or (kept.shared() if chosen.keep else kept.local("bench"))

    def write() -> Path:
        told = [figure.as_json() for figure in figures]
        return kept.write(out, quick=chosen.quick, figures=told, not_measured=failed)

    for name in chosen.parts or PARTS:
        began = time.perf_counter()
        print(f"\n{name}", flush=True)
        try:
            measured = PARTS[name](chosen.quick)
        except Exception as error:  # noqa: BLE001 - the others are worth having, and this one is told
            failed[name] = f"{type(error).__name__}: {error}"[:500]
            print(f"  not measured: {failed[name]}", flush=True)
            continue
        figures += measured
        for figure in measured:
            print(f"  {line(figure)}", flush=True)
        write()  # a run takes most of an hour: what is there stays, whatever ends it
        print(f"  took {time.perf_counter() - began:.0f} s", flush=True)
    print(f"\n{table(figures)}\n")
    print(f"written to {write()}")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
