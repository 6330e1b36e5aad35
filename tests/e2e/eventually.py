"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

ResultT = TypeVar("ResultT")


async def eventually(
    look: Callable[[], Awaitable[ResultT]],
    holds: Callable[[ResultT], bool] = bool,
    *,
    seconds: float = 60.0,
    what: str = "the condition",
) -> ResultT:
    """Look again and again until `holds` is true of what is seen; fail with what was seen last."""
    deadline = time.monotonic() + seconds
    while True:
        seen = await look()
        if holds(seen):
            return seen
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:.0f} s; last seen: {seen!r}"
        await asyncio.sleep(0.05)
