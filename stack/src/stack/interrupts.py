"""What is under way is undone when somebody asks it to end, by whatever signal."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from stack.errors import InterruptError


@contextmanager
def signals_as_errors(error: type[BaseException] = InterruptError) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP raise this in the block, so that a half-made start is undone.

    The first one is all it takes: a second must not break off the clearing up. An event loop lets nothing through but
    KeyboardInterrupt and SystemExit.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    # Ignored ones stay so: that is how nohup and background jobs work.
    ours = [number for number, handler in before.items() if handler != signal.SIG_IGN]

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in ours:
            signal.signal(each, signal.SIG_IGN)
        raise error("interrupted")

    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
