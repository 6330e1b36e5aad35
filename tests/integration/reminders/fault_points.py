"""A fault point before and after each step of a use case: a process may die there, or be held up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


class Died(BaseException):
    """The process is gone: nobody catches this."""


class FaultPoints:
    """Counts the points that are passed, and dies at number `die_at`, or waits at number `wait_at` for `go_on`.

    Even points are before a step's work, odd ones after it and before its answer arrives.
    """

    def __init__(self, *, die_at: int | None = None, wait_at: int | None = None) -> None:
        self.passed: list[str] = []
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self._die_at = die_at
        self._wait_at = wait_at

    def around(self, port: Any) -> Any:
        """The port, each of its calls between two points."""
        return _Around(port, self._point)

    async def _point(self, name: str) -> None:
        number = len(self.passed)
        self.passed.append(name)
        if number == self._die_at:
            raise Died(f"at {number}: {name}")
        if number == self._wait_at:
            self.reached.set()
            await self.go_on.wait()


class _Around:
    def __init__(self, port: Any, point: Callable[[str], Awaitable[None]]) -> None:
        self._port = port
        self._point = point

    def __getattr__(self, name: str) -> Any:
        original = getattr(self._port, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._point(f"before {name}")
            result = await original(*args, **kwargs)
            await self._point(f"after {name}")
            return result

        return call
