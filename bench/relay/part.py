"""The figures of the relay."""

from __future__ import annotations

from collections.abc import Sequence

import uvloop
from bench.figures import Figure
from bench.load import quantile
from bench.place import standing
from bench.relay.measure import FULL, QUICK
from bench.relay.measure import relay as measure


def relay(quick: bool) -> Sequence[Figure]:
    """Events a second through outbox and sidecar, beside a bare producer."""
    with standing("task-api") as place:
        seen = uvloop.run(measure(place, QUICK if quick else FULL))
    middle, bare = quantile(seen.relay, 50), quantile(seen.relay, 50) / seen.ratio
    figures = [
        Figure(
            "relay", "events published", middle, "events/s", "a bare producer of the same bytes", bare,
            ("at least", 0.5), of_ratio=True,
        )
    ]  # fmt: skip
    figures += [
        Figure("relay", f"processor time of {name}", spent, "ms/event") for name, spent in seen.cpu_ms.items()
    ]
    return figures
