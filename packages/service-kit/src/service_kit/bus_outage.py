"""While a topic takes nothing, one event at a time finds out whether it does again; its others wait unsent.

The Kafka client in the sidecar shuts a partition for 10 s once three events for it failed without ten quiet seconds in
between, shuts it again when the first one after that fails, and has no setting for either. Who tries hard while the bus
is away is still shut out when it is back. So the tries go round the partitions, and none gets a third one too early.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from service_kit.logs import get_logger

_PAUSE_AT_LEAST = 0.5
_PAUSE_AT_MOST = 5.0
_PART_OF_ITS_AGE = 8

_QUIET = 10.5
"""Seconds after which the client has forgotten the failures of a partition: 10 of its own, and some to be sure."""
_BORNE = 2
"""Failures that leave a partition open."""

_SHUT = "circuit breaker is open"
"""What the client says of an event for a partition that is shut: the bus was not asked."""

_OF_THE_EVENT = ("too large", "larger than configured")
"""What the client and the broker say of an event that no bus would take."""

_log = get_logger(__name__)


def is_of_the_event(reason: str) -> bool:
    """Whether an event failed for what it is: an answer, so that the bus is there."""
    return any(words in reason for words in _OF_THE_EVENT)


def is_shut_out(reason: str) -> bool:
    """Whether an event failed for this reason without the bus being asked, so that it says nothing of either."""
    return _SHUT in reason


def partition_of(key: str, partitions: int) -> int:
    """Where the sidecar's client puts an event with this key: by FNV-1a, 32 bits, signed, without its sign."""
    digest = 0x811C9DC5
    for byte in key.encode():
        digest = (digest ^ byte) * 0x01000193 & 0xFFFFFFFF
    return min(digest, 2**32 - digest) % partitions


@dataclass
class Attempt:
    """One publish. `taken`: whether the bus took any of it, where nobody answered it did not; None when that says
    nothing of the bus. `failed` are the keys of those events that it could have taken, and did not."""

    taken: bool | None = False
    failed: Sequence[str] = ()


class BusOutage:
    """What this process knows of one topic: an outage begins with an attempt of which the bus took nothing, and ends
    with the next of which it took something. The pauses between two tries are an eighth of its age, 0.5 s at least and
    5 s at most."""

    def __init__(self, topic: str, partitions: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._topic = topic
        self._partitions = partitions
        self._monotonic = monotonic
        self._began: float | None = None
        self._next = 0.0
        self._is_tried = False
        self._failures: dict[int, tuple[int, float]] = {}

    @property
    def is_on(self) -> bool:
        """Whether one event is all that may be tried."""
        return self._began is not None

    @property
    def holds(self) -> bool:
        """Whether nothing may be tried now: somebody is at it, or it is too early."""
        return self.is_on and (self._is_tried or self._monotonic() < self._next)

    def choose(self, keys: Sequence[str]) -> int | None:
        """Which of the events with these keys to try: one for the partition that failed least. None when one failure
        more would shut each of their partitions; then the topic is held for a moment."""
        failures = [self._failures_of(partition_of(key, self._partitions)) for key in keys]
        if min(failures) >= _BORNE:
            self._next = self._monotonic() + _PAUSE_AT_LEAST
            return None
        return failures.index(min(failures))

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
            if attempt.taken is not None:
                self._note(attempt.failed)
                if attempt.taken:
                    self._end()
                else:
                    self._go_on()

    def _failures_of(self, partition: int) -> int:
        count, at = self._failures.get(partition, (0, 0.0))
        return 0 if self._monotonic() - at > _QUIET else count

    def _note(self, keys: Iterable[str]) -> None:
        for key in keys:
            partition = partition_of(key, self._partitions)
            self._failures[partition] = (self._failures_of(partition) + 1, self._monotonic())

    def _go_on(self) -> None:
        now = self._monotonic()
        if self._began is None:
            self._began = now
            _log.warning("bus_away", topic=self._topic)
        age = now - self._began
        self._next = now + min(_PAUSE_AT_MOST, max(_PAUSE_AT_LEAST, age / _PART_OF_ITS_AGE))

    def _end(self) -> None:
        if self._began is not None:
            _log.info("bus_back", topic=self._topic, seconds=round(self._monotonic() - self._began, 1))
        self._began = None
