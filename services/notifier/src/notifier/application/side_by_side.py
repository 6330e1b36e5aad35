"""Pieces of work that one worker has under way side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine


class SideBySide:
    """Runs pieces of work as tasks; `ended` is called after each. How many there may be is the caller's to keep."""

    def __init__(self, concurrency: int, ended: Callable[[], None]) -> None:
        self._concurrency = concurrency
        self._ended = ended
        self._running: set[asyncio.Task[None]] = set()

    @property
    def room(self) -> int:
        """How many more may be begun."""
        return self._concurrency - len(self._running)

    def begin(self, work: Coroutine[object, object, None], name: str) -> None:
        """Begin it and return at once."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._has_ended)

    async def close(self, grace: float) -> None:
        """Let what runs end for `grace` seconds, then leave what it holds to its lease."""
        running = list(self._running)
        if running:
            await asyncio.wait(running, timeout=grace)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._ended()
