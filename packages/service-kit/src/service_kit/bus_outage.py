"""While the bus is away, one event at a time finds out whether it is back; all others wait unsent.

The Kafka client in the sidecar shuts a partition for 10 s once three events for it failed without ten quiet seconds in
between, shuts it again when the first one after that fails, and has no setting for either. Who tries hard while the bus
is away is still shut out when it is back; one event now and then seldom falls into a partition for the third time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from service_kit.logs import get_logger

_PAUSE_AT_LEAST = 0.5
_PAUSE_AT_MOST = 5.0
_PART_OF_ITS_AGE = 8

_SHUT = "circuit breaker is open"
"""What the client says of an event for a partition that is shut: the bus was not asked."""

_log = get_logger(__name__)


def is_shut_out(reason: str) -> bool:
    """Whether an event failed for this reason without the bus being asked, so that it says nothing of either."""
    return _SHUT in reason


@dataclass
class Attempt:
    """One publish. `taken`: whether the bus took any of it, where nobody answered it did not; None when it was not
    asked."""

    taken: bool | None = False


class BusOutage:
    """What this process knows of it: it begins with an attempt of which the bus took nothing, and ends with the next of
    which it took something. The pauses between two tries are an eighth of its age, 0.5 s at least and 5 s at most."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._began: float | None = None
        self._next = 0.0
        self._is_tried = False

    @property
    def is_on(self) -> bool:
        """Whether one event is all that may be tried."""
        return self._began is not None

    @property
    def holds(self) -> bool:
        """Whether nothing may be tried now: somebody is at it, or it is too early."""
        return self.is_on and (self._is_tried or self._monotonic() < self._next)

    @contextmanager
    def attempt(self) -> Iterator[Attempt]:
        """The block says how it went; left by an error or a cancellation before it does, there was no answer."""
        attempt = Attempt()
        is_try = self.is_on
        self._is_tried |= is_try
        try:
            yield attempt
        finally:
            if is_try:
                self._is_tried = False
            if attempt.taken:
                self._end()
            elif attempt.taken is not None:
                self._go_on()

    def _go_on(self) -> None:
        now = self._monotonic()
        if self._began is None:
            self._began = now
            _log.warning("bus_away")
        age = now - self._began
        self._next = now + min(_PAUSE_AT_MOST, max(_PAUSE_AT_LEAST, age / _PART_OF_ITS_AGE))

    def _end(self) -> None:
        if self._began is not None:
            _log.info("bus_back", seconds=round(self._monotonic() - self._began, 1))
        self._began = None
