"""Asking again for a while: what has just been started comes up part by part, its sidecars' subscriptions last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from taskstream_cli.doctor.report import Finding, Report

_PAUSE_SECONDS = 2.0


async def until_well(
    look: Callable[[], Awaitable[Report]],
    seconds: float,
    tell: Callable[[Finding], None],
    *,
    pause: float = _PAUSE_SECONDS,
) -> Report:
    """The first report without a finding, or the last one that was begun within `seconds`; with 0 there is one look.

    Between looks `tell` hears of each finding that the look before did not have.
    """
    deadline = time.monotonic() + seconds
    known: set[Finding] = set()
    while (report := await look()).findings and time.monotonic() + pause <= deadline:
        for finding in report.findings:
            if finding not in known:
                tell(finding)
        known = set(report.findings)
        await asyncio.sleep(pause)
    return report
