"""Background loops of a process: run a step, sleep until the next or until woken, for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from time import time
from types import TracebackType
from typing import Self

from service_kit.logs import get_logger
from service_kit.metrics import LOOP_ERRORS, LOOP_LAST_STEP, LOOP_NEXT_STEP

_log = get_logger(__name__)

Step = Callable[[], Awaitable[timedelta | None]]


class Loop:
    """Runs `step` for ever, at the latest `interval` after it last ended, at once when `wake()` is called.

    A step may return how long to wait this time instead of `interval`. A wake-up during a step is not lost: the step
    runs once more. An error of the step is logged and counted here and never ends the loop; after several in a row
    the waits double up to `longest_pause`, and wake-ups do not shorten those.

        async with Loop("relay", relay.step, timedelta(milliseconds=100)) as loop:
            loop.wake()
    """

    def __init__(
        self,
        name: str,
        step: Step | Callable[[], Awaitable[None]],
        interval: timedelta,
        *,
        longest_pause: timedelta = timedelta(seconds=5),
    ) -> None:
        self.name = name
        self._step = step
        self._interval = interval.total_seconds()
        self._longest_pause = max(longest_pause.total_seconds(), self._interval)
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._failures = 0

    def wake(self) -> None:
        """Run the step now, or once more when it is running. Only from the event loop's own thread."""
        self._woken.set()

    def start(self) -> None:
        """Begin to run as a task of the current event loop; does nothing when it runs."""
        if self._task is None or self._task.done():
            self._stopping = False
            self._task = asyncio.create_task(self.run(), name=f"loop-{self.name}")

    @property
    def running(self) -> bool:
        """Whether the task runs."""
        return self._task is not None and not self._task.done()

    async def stop(self) -> None:
        """Cancel the running step and wait until it is gone; does nothing when it does not run."""
        task, self._task = self._task, None
        if task is None:
            return
        # Said besides the cancellation: before Python 3.12 `asyncio.wait_for`, with which redis-py writes, drops one
        # that comes together with its result, and the loop would go on for ever.
        self._stopping = True
        self._woken.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def run(self) -> None:
        """Run until stopped or cancelled."""
        while not self._stopping:
            self._woken.clear()
            pause = await self._guarded_step()
            LOOP_NEXT_STEP.labels(self.name).set(time() + pause)
            if self._failures:
                await asyncio.sleep(pause)
            else:
                await self._sleep_or_wake(pause)

    async def _guarded_step(self) -> float:
        """Seconds to wait now."""
        try:
            asked = await self._step()
        except Exception:  # noqa: BLE001 - the boundary of the background work: a loop that ends is silence
            self._failures += 1
            LOOP_ERRORS.labels(self.name).inc()
            pause = min(self._interval * float(2 ** min(self._failures - 1, 16)), self._longest_pause)
            _log.exception("loop_step_failed", loop=self.name, failures=self._failures, pause_seconds=pause)
            return pause
        self._failures = 0
        LOOP_LAST_STEP.labels(self.name).set_to_current_time()
        return self._interval if asked is None else max(asked.total_seconds(), 0.0)

    async def _sleep_or_wake(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
