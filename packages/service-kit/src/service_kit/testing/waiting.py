"""Waiting for what happens elsewhere, with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(condition: Callable[[], Awaitable[T]], seconds: float = 60, every: float = 0.02) -> T:
    """Ask `condition` until it answers something true, and give that. Raises TimeoutError after `seconds`.

    The limit is for what never happens; how fast something is belongs into bench/.
    """
    async with asyncio.timeout(seconds):
        # It happens in another process: no event of ours tells of it.
        while not (answer := await condition()):  # noqa: ASYNC110
            await asyncio.sleep(every)
        return answer
