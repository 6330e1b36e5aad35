"""The figures of reminders."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bench.figures import Figure
from bench.reminders.__main__ import BURST, SIZES, run


def reminders(quick: bool) -> Sequence[Figure]:
    """Memory of a pending reminder, the cost of a look at them, lateness, a burst."""
    pending = SIZES[1] if quick else SIZES[-1]
    rows = {row["measure"]: row for row in asyncio.run(run(pending, 5 if quick else 20))}
    memory, tick = rows[f"memory, {pending:,} pending"], rows[f"tick, {pending:,} pending"]
    late, burst = rows["lateness, 100 due a second"], rows[f"burst of {BURST:,}"]
    few = rows[f"tick, {SIZES[0]:,} pending"]
    where = f"{pending:,} pending"
    return [
        Figure("reminders", f"memory of a pending one, {where}", memory["bytes_each"], "bytes"),
        Figure("reminders", f"a look when nothing is due, {where}, p50", tick["nothing_due_p50"], "ms",
               f"{SIZES[0]:,} pending", few["nothing_due_p50"]),
        Figure("reminders", f"late, 100 due a second, {where}, p50", late["p50"], "ms"),
        Figure("reminders", f"late, 100 due a second, {where}, p99", late["p99"], "ms", goal=("at most", 1_000)),
        Figure("reminders", "processor time of one that fires, with sidecar, Redis and Kafka",
               late["cpu_s"] * 1000 / late["n"], "ms"),
        Figure("reminders", f"all {BURST:,} due at once are out after", burst["all_out"] / 1000, "s",
               goal=("at most", 5)),
    ]  # fmt: skip
