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
    middle = quantile(seen.relay, 50)
    figures = [
        Figure(
            "relay", "events published", middle, "events/s", "a bare producer, as many under way",
            middle / seen.ratio(seen.paced), ("at least", 0.5), of_ratio=True,
        ),
        Figure(
            "relay", "events published, beside one that never waits", middle, "events/s",
            "a bare producer, all at once", middle / seen.ratio(seen.unpaced),
        ),
    ]  # fmt: skip
    figures += [
        Figure("relay", f"processor time of {name}", spent, "ms/event") for name, spent in seen.cpu_ms.items()
    ]
    return figures
