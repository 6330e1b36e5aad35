"""A request to end unwinds what is under way, inside of an event loop too, whichever it is."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop

from stack.interrupts import signals_as_errors


@pytest.fixture(autouse=True)
def in_the_foreground() -> Iterator[None]:
    """What a shell starts in the background has SIGINT ignored, and Python leaves that as it is."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_an_event_loop_is_left_and_what_it_does_cleared_up(
    run: Callable[[Coroutine[Any, Any, None]], None], number: signal.Signals
) -> None:
    before, cleared = signal.getsignal(number), []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(30)
        finally:
            cleared.append(number)

    with pytest.raises(KeyboardInterrupt), signals_as_errors(KeyboardInterrupt):
        run(work())
    assert cleared == [number]
    assert signal.getsignal(number) is before
