"""What the relay asks of the outside: rows that were committed, and a broker that takes them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

ENTRY_OVERHEAD = 256
"""Bytes that an entry's id, content type and metadata add around its event, at most."""


class BrokerUnavailable(Exception):
    """No answer, or none that speaks of the events: each may be out or not."""


class BrokerHeld(BrokerUnavailable):
    """Nothing was sent: the topic took nothing a moment ago, and one event at a time is tried until it does."""


class BrokerRefused(Exception):
    """The request as a whole was refused: nothing of it is out."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One event that waits. `waited` says that it failed before, so it is tried alone."""

    id: UUID
    topic: str
    key: str
    event: bytes
    attempts: int = 0
    waited: bool = False

    @property
    def size(self) -> int:
        """Bytes it takes in a request."""
        return len(self.event) + len(self.key) + ENTRY_OVERHEAD


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an event was not accepted. `is_judged`: the broker was asked and said so, which speaks against the event."""

    reason: str
    is_judged: bool = True


@dataclass(frozen=True, slots=True)
class Failure:
    """What becomes of a row that failed: `attempts` in all, the next one after `delay` seconds unless `parked`."""

    row: OutboxRow
    attempts: int
    delay: float
    reason: str
    parked: bool = False


@dataclass(frozen=True, slots=True)
class OutboxState:
    """Rows that wait, parked ones aside; the age in seconds of the oldest of them; rows that are parked."""

    depth: int
    oldest_age: float
    parked: int


@dataclass(frozen=True, slots=True)
class Share:
    """The part of the rows that a lane takes: those whose key falls to `number` of `of`. Every row is in one share, and
    all rows of a key are in the same."""

    number: int
    of: int

    @property
    def is_part(self) -> bool:
        """Whether there are other shares."""
        return self.of > 1


EVERYTHING = Share(0, 1)


class Batch(Protocol):
    """Rows that this relay alone holds until the block that took them ends."""

    @property
    def rows(self) -> Sequence[OutboxRow]: ...

    async def settle(self, published: Sequence[UUID], failures: Sequence[Failure]) -> None:
        """Delete what was published and write down what failed."""


class Outbox(Protocol):
    """The rows that were committed and are not known to be out."""

    async def has_work(self, topics: Sequence[str]) -> bool:
        """Whether a row of these topics is due. One cheap query: it is asked ten times a second."""

    def take(
        self, topics: Sequence[str], fresh: int, waited: int, share: Share = EVERYTHING
    ) -> AbstractAsyncContextManager[Batch]:
        """Hold up to `fresh` new and `waited` failed rows of each topic that are due and in the share, skipping those
        held elsewhere. Of new ones no more need be given than the first two and what a request holds."""

    async def state(self) -> OutboxState: ...


class Broker(Protocol):
    """Where events go. Raises BrokerUnavailable and BrokerRefused."""

    def holds(self, topic: str) -> bool:
        """Whether a publish to this topic would raise BrokerHeld now."""

    async def publish(self, topic: str, rows: Sequence[OutboxRow]) -> dict[UUID, Rejection]:
        """Publish the rows together and say of each that was not accepted why."""
