"""Progress told line by line, so that it reads the same in a terminal and in a CI log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Say = Callable[[str], None]
"""Receives one finished line, without its newline."""

_HEARTBEAT_SECONDS = 15.0


def silent(line: str) -> None:
    """A Say that says nothing."""


class Progress:
    """Lines with the seconds since the start in front; safe to use from several threads."""

    def __init__(self, say: Say = silent) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._begun = time.monotonic()

    def line(self, text: str) -> None:
        with self._lock:
            self._say(f"{self.elapsed():6.1f}s  {text}")

    def elapsed(self) -> float:
        """Seconds since this progress began."""
        return time.monotonic() - self._begun

    @contextmanager
    def step(self, name: str, *, doing: str) -> Iterator[None]:
        """Tells the begin and the end of a long step, and in between that it is still going on."""
        begun = time.monotonic()
        over = threading.Event()
        self.line(f"{name}: {doing}")

        def beat() -> None:
            while not over.wait(_HEARTBEAT_SECONDS):
                self.line(f"{name}: still at it, {time.monotonic() - begun:.0f} s")

        heart = threading.Thread(target=beat, daemon=True)
        heart.start()
        try:
            yield
        finally:
            over.set()
            heart.join()
        self.line(f"{name}: done in {time.monotonic() - begun:.1f} s")
