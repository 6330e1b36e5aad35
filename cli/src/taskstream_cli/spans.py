"""How long something takes or is old, for people."""

from __future__ import annotations

from datetime import timedelta


def span(time: timedelta) -> str:
    """In the largest whole unit: 40s, 12m, 5h, 3d."""
    seconds = max(0, int(time.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
