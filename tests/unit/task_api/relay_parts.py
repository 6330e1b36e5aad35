"""What the relay's tests are made of: a broker that does as it is told, and an outbox seen from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from task_api.application.outbox_ports import BrokerRefused, BrokerUnavailable, Outbox, OutboxRow, Rejection

TOPICS = ("task-created", "task-updated")
LANES = 3


@dataclass(frozen=True)
class Standing:
    """How a row that is left in the outbox stands."""

    attempts: int
    waits: bool
    parked: bool


class Table(Protocol):
    """An outbox and its rows, seen from outside."""

    @property
    def outbox(self) -> Outbox: ...

    async def add(
        self, topic: str = TOPICS[0], count: int = 1, size: int = 100, attempts: int = 0, key: str = ""
    ) -> list[UUID]:
        """Append rows, oldest first; with `attempts` they have failed before and are due again."""

    async def left(self) -> dict[UUID, Standing]:
        """The rows that are still there."""

    async def make_due(self) -> None:
        """Let every wait of a row be over."""


@dataclass
class ScriptedBroker:
    """A broker that remembers its requests. `poison` it rejects one by one, `refused` spoils the whole request."""

    poison: set[UUID] = field(default_factory=set)
    refused: set[UUID] = field(default_factory=set)
    down: Callable[[Sequence[OutboxRow]], dict[UUID, Rejection]] | None = None
    after_sending: Callable[[], None] = lambda: None
    before_sending: Callable[[str], asyncio.Future[None]] | None = None
    requests: list[tuple[str, list[UUID]]] = field(default_factory=list)
    out: list[UUID] = field(default_factory=list)
    keys: dict[UUID, str] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)

    def holds(self, topic: str) -> bool:
        return topic in self.held

    async def publish(self, topic: str, rows: Sequence[OutboxRow]) -> dict[UUID, Rejection]:
        self.requests.append((topic, [row.id for row in rows]))
        if self.before_sending is not None:
            await self.before_sending(topic)
        if self.down is not None:
            return self.down(rows)
        if any(row.id in self.refused for row in rows):
            raise BrokerRefused("400 the request is malformed")
        rejected = {row.id: Rejection("too large") for row in rows if row.id in self.poison}
        self.out += [row.id for row in rows if row.id not in rejected]
        self.keys |= {row.id: row.key for row in rows}
        self.after_sending()
        return rejected


def no_answer(rows: Sequence[OutboxRow]) -> dict[UUID, Rejection]:
    """The sidecar is away."""
    raise BrokerUnavailable("no answer within 5 s")


def all_rejected(rows: Sequence[OutboxRow]) -> dict[UUID, Rejection]:
    """What daprd answers while Kafka is away: it names every entry as failed."""
    return {row.id: Rejection("kafka: client has run out of available brokers") for row in rows}


class Seconds:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now
