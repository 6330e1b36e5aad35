"""The figures of notifier."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence

from bench.figures import Figure
from bench.notifier.__main__ import run


def notifier(quick: bool) -> Sequence[Figure]:
    """Memory and speed of live streams, and inbox entries a second."""
    clients = 100 if quick else 1_000
    rows = asyncio.run(run(clients, 2 if quick else 5))
    by_name = {row["measure"]: row for row in rows}
    idle, news = by_name[f"{clients:,} idle streams"], by_name[f"one of {clients:,} has news"]
    everybody = [row["last_heard"] for row in rows if row["measure"] == f"all {clients:,} have news"]
    inbox = by_name["inbox entries, nobody listens"]
    return [
        Figure("notifier", f"memory of a live stream, {clients:,} open", idle["kib_each"], "KiB"),
        Figure("notifier", f"processor, {clients:,} idle streams", idle["idle_cpu_percent"], "% of a core"),
        Figure("notifier", "from a change to its owner's stream, p50", news["p50"], "ms"),
        Figure("notifier", "from a change to its owner's stream, p99", news["p99"], "ms"),
        Figure("notifier", f"news for all {clients:,}: the last has it after",
               statistics.median(everybody), "ms"),
        Figure("notifier", "inbox entries written", inbox["a_second"], "entries/s"),
        Figure("notifier", "memory of an inbox entry", inbox["bytes_each"], "bytes"),
    ]  # fmt: skip
