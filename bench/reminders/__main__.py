"""`python -m bench.reminders`: memory, tick cost, lateness and bursts of reminders. Loopback only; stops by itself."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from bench import kept
from bench.reminders import measure
from bench.reminders.arena import arena
from bench.reminders.measure import Row
from bench.reminders.store import Store
from redis.asyncio import Redis

SIZES = (1_000, 10_000, 100_000, 1_000_000)
BURST = 10_000


async def run(pending: int, seconds: int) -> list[Row]:
    measured: list[Row] = []

    def report(row: Row) -> None:
        measured.append(row)
        figures = ", ".join(f"{name} {value}" for name, value in row.items() if name != "measure")
        print(f"{row['measure']:<30} {figures}", flush=True)

    with arena() as place:
        async with Redis.from_url(place.instance.redis_url, decode_responses=True) as redis:
            store = await Store.of(redis)
            before, there = await store.used_memory(), 0
            for size in (size for size in SIZES if size <= pending):
                await store.fill_ahead(size - there)
                there = size
                report(await measure.memory(store, before, size))
                report(await measure.ticks(place, store, size))
            report(await measure.lateness(place, store, seconds))
            report(await measure.burst(place, store, BURST))
    return measured


def main() -> None:
    """Measure, print, and write the result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.reminders", description=__doc__)
    parser.add_argument(
        "--pending", type=int, choices=SIZES, default=100_000, help="how many are pending at most"
    )
    parser.add_argument("--seconds", type=int, default=20, help="of the steady stream, at most 120")
    parser.add_argument("--out", type=Path, help="where the result goes, bench/results/local by default")
    chosen = parser.parse_args()
    origin = kept.Origin()
    measured = asyncio.run(run(chosen.pending, max(1, min(chosen.seconds, 120))))
    out: Path = chosen.out or kept.local("reminders")
    sizes = {"pending": chosen.pending, "seconds": chosen.seconds}
    written = kept.write(out, {**origin.told(), "plan": sizes, "rows": measured})
    print(f"written to {written}")


if __name__ == "__main__":
    main()
