"""Background loops: woken, waiting, failing, stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from service_kit.process import Loop

NEVER = timedelta(hours=1)
SOON = timedelta(milliseconds=1)


class Steps:
    """Counts its runs; a test waits for the n-th."""

    def __init__(self, answer: Callable[[int], Awaitable[timedelta | None]] | None = None) -> None:
        self.count = 0
        self._answer = answer
        self._changed = asyncio.Condition()

    async def __call__(self) -> timedelta | None:
        self.count += 1
        number = self.count
        async with self._changed:
            self._changed.notify_all()
        return None if self._answer is None else await self._answer(number)

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: self.count >= count)


async def test_it_runs_at_once_and_again_after_the_interval() -> None:
    steps = Steps()
    async with Loop("test", steps, SOON):
        await steps.reach(3)


async def test_it_sleeps_until_woken() -> None:
    steps = Steps()
    async with Loop("test", steps, NEVER) as loop:
        await steps.reach(1)
        for count in (2, 3):
            loop.wake()
            await steps.reach(count)


async def test_a_wake_up_during_a_step_is_not_lost() -> None:
    release = asyncio.Event()

    async def slow(number: int) -> None:
        if number == 1:
            await release.wait()

    steps = Steps(slow)
    async with Loop("test", steps, NEVER) as loop:
        await steps.reach(1)
        loop.wake()
        loop.wake()
        release.set()
        await steps.reach(2)
        await asyncio.sleep(0)
        assert steps.count == 2


async def test_a_step_may_say_when_to_come_again() -> None:
    async def answer(number: int) -> timedelta | None:
        return timedelta() if number < 4 else None

    steps = Steps(answer)
    async with Loop("test", steps, NEVER):
        await steps.reach(4)


async def test_an_error_never_ends_it(sample: Callable[..., float], caplog: pytest.LogCaptureFixture) -> None:
    async def fail(number: int) -> None:
        if number < 3:
            raise ValueError(f"number {number}")

    before = sample("loop_errors_total", loop="fragile")
    steps = Steps(fail)
    async with Loop("fragile", steps, SOON):
        await steps.reach(4)
    assert sample("loop_errors_total", loop="fragile") == before + 2
    assert "number 2" in caplog.text
    assert sample("loop_last_step_timestamp_seconds", loop="fragile") > 0
    assert sample("loop_next_step_timestamp_seconds", loop="fragile") > 0


async def test_errors_in_a_row_wait_longer_and_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    done = asyncio.Event()
    sleep = asyncio.sleep

    async def record(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 8:
            done.set()
        await sleep(0)

    async def fail() -> None:
        raise ValueError("always")

    monkeypatch.setattr("service_kit.process.asyncio.sleep", record)
    loop = Loop("failing", fail, timedelta(milliseconds=100), longest_pause=timedelta(seconds=2))
    async with loop:
        loop.wake()
        await asyncio.wait_for(done.wait(), 5)
    assert waits[:8] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]


async def test_stopping_cancels_the_step_and_waits_for_it() -> None:
    gone = asyncio.Event()

    async def hang(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    steps = Steps(hang)
    loop = Loop("test", steps, NEVER)
    loop.start()
    await steps.reach(1)
    assert loop.running is True
    await loop.stop()
    assert gone.is_set()
    await loop.stop()


async def test_starting_twice_runs_once() -> None:
    steps = Steps()
    loop = Loop("test", steps, NEVER)
    loop.start()
    loop.start()
    await steps.reach(1)
    await loop.stop()
    assert steps.count == 1


async def test_a_step_that_swallows_its_cancellation_does_not_keep_the_loop_running() -> None:
    began = asyncio.Event()

    async def step() -> None:
        began.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(30)

    loop = Loop("deaf", step, timedelta(seconds=30))
    loop.start()
    await began.wait()
    async with asyncio.timeout(5):
        await loop.stop()
    assert not loop.running
