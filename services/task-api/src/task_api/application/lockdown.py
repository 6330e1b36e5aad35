"""The emergency stop: while it holds, nobody is served and every session and key from before is worth nothing.

The database is where it is pulled and lifted (`taskstream lockdown`, or the functions lock_down and lift_lockdown), so
that it works when this service does not. Here it is looked for every second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from service_kit.logs import get_logger

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Stop:
    """`number` rises with each change, so that no look misses a short one."""

    number: int
    holds: bool


class StopReader(Protocol):
    """Reads the stop. Raises StorageUnavailable."""

    async def stop(self) -> Stop:
        """Read it as it is now."""


class Lockdown:
    """What this process knows of the stop. `forget` is called when it changed: kept API keys are good no more."""

    def __init__(self, reader: StopReader, forget: Callable[[], None]) -> None:
        self._reader = reader
        self._forget = forget
        self._known: Stop | None = None

    async def look(self) -> None:
        """Ask anew; what was known stays known while the database does not answer. Raises StorageUnavailable."""
        found = await self._reader.stop()
        if found != self._known:
            self._forget()
            if self._known is not None or found.holds:
                _log.warning("lockdown_changed", holds=found.holds)
        self._known = found

    async def holds(self) -> bool:
        """Whether it holds; nobody is served before that is known. Raises StorageUnavailable."""
        if self._known is None:
            await self.look()
        return self._known is not None and self._known.holds
