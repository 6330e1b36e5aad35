"""The measured rows as lines of text."""

from __future__ import annotations

from typing import Any


def headline() -> str:
    """Give the line above all rows. Each column has task-api's figure, then the baseline's."""
    return (
        f"{'route and load':<36} {'ratio':>16} {'requests/s':>15} {'p50 ms':>15} {'p95 ms':>15} {'p99 ms':>15} "
        f"{'CPU ms/request':>15} {'MiB':>9} {'stolen %':>9}"
    )


def line(row: dict[str, Any]) -> str:
    """Give one measured row: the median ratio, with the least and the greatest of its pairs."""
    ours, baseline = row["task_api"], row["baseline"]

    def both(name: str, digits: int) -> str:
        return f"{ours[name]:.{digits}f} / {baseline[name]:.{digits}f}"

    ratio = f"{row['ratio']:.2f} ({row['ratios'][0]:.2f}-{row['ratios'][-1]:.2f})"
    text = (
        f"{row['route'] + ', ' + row['load']:<36} {ratio:>16} {both('per_second', 0):>15} {both('p50_ms', 1):>15} "
        f"{both('p95_ms', 1):>15} {both('p99_ms', 1):>15} {both('cpu_ms_a_request', 2):>15} "
        f"{both('resident_mib', 0):>9} {ours['stolen'] * 100:>4.0f} / {baseline['stolen'] * 100:.0f}"
    )
    if "published_after_s" in ours:
        text += (
            f"\n{'':<36} all events out {ours['published_after_s']:.2f} s after the answers at the latest, "
            f"{ours['published_per_second']:.0f} a second with that"
        )
    return text
