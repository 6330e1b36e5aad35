"""`python -m bench.notifier`: live streams and inbox writes of notifier. Loopback only; stops by itself."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from bench import kept
from bench.notifier import measure
from bench.notifier.arena import arena
from bench.notifier.measure import Row
from redis.asyncio import BlockingConnectionPool, Redis

MOST_CLIENTS = 10_000


async def run(clients: int, seconds: int) -> list[Row]:
    measured: list[Row] = []

    def report(row: Row) -> None:
        measured.append(row)
        figures = ", ".join(f"{name} {value}" for name, value in row.items() if name != "measure")
        print(f"{row['measure']:<36} {figures}", flush=True)

    with arena() as place:
        pool = BlockingConnectionPool.from_url(
            place.instance.redis_url, max_connections=16, decode_responses=True
        )
        async with Redis.from_pool(pool) as redis:
            row, opened = await measure.memory(place, clients)
            report(row)
            report(await measure.one_at_a_time(redis, opened))
            for _ in range(3):
                report(await measure.all_at_once(place, redis, opened))
            report(await measure.inbox_writes(redis, seconds, None))
            report(await measure.inbox_writes(redis, seconds, opened[0]))
            for client in opened:
                client.close()
    return measured


def main() -> None:
    """Measure, print, and write the result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.notifier", description=__doc__)
    parser.add_argument("--clients", type=int, default=1_000, help=f"idle streams, at most {MOST_CLIENTS:,}")
    parser.add_argument("--seconds", type=int, default=5, help="of inbox writes, at most 60")
    parser.add_argument("--out", type=Path, help="where the result goes, bench/results/local by default")
    chosen = parser.parse_args()
    clients = max(20, min(chosen.clients, MOST_CLIENTS))
    seconds = max(1, min(chosen.seconds, 60))
    origin = kept.Origin()
    measured = asyncio.run(run(clients, seconds))
    out: Path = chosen.out or kept.local("notifier")
    sizes = {"clients": clients, "seconds": seconds}
    written = kept.write(out, {**origin.told(), "plan": sizes, "rows": measured})
    print(f"written to {written}")


if __name__ == "__main__":
    main()
