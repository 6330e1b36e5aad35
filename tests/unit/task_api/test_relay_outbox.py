"""The relay on an outbox in memory, and its way to the sidecar."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4
from zlib import crc32

import pytest
from tests.unit.task_api.relay_behaviour import RelayBehaviour
from tests.unit.task_api.relay_parts import TOPICS, Standing

from service_kit.sidecar import BulkResult, Outgoing, PublishRejected, SidecarUnavailable
from service_kit.testing.fakes import RecordingSidecar
from task_api.adapters.dapr_publisher import DaprPublisher
from task_api.application.outbox_ports import (
    EVERYTHING,
    BrokerRefused,
    BrokerUnavailable,
    Failure,
    Outbox,
    OutboxRow,
    OutboxState,
    Rejection,
    Share,
)


@dataclass
class _Row:
    row: OutboxRow
    attempts: int = 0
    waits: bool = False
    due: bool = True
    parked: bool = False
    held: bool = False

    @property
    def free(self) -> bool:
        return self.due and not self.parked and not self.held


@dataclass
class _Batch:
    table: InMemoryTable
    held: list[_Row]

    @property
    def rows(self) -> Sequence[OutboxRow]:
        return [
            OutboxRow(one.row.id, one.row.topic, one.row.key, one.row.event, one.attempts, one.waits)
            for one in self.held
        ]

    async def settle(self, published: Sequence[UUID], failures: Sequence[Failure]) -> None:
        for row_id in published:
            del self.table.stored[row_id]
        for failure in failures:
            one = self.table.stored[failure.row.id]
            one.attempts, one.waits, one.due, one.parked = failure.attempts, True, False, failure.parked


@dataclass
class InMemoryTable:
    """Rows in a dict; held rows are skipped, as locked ones are."""

    stored: dict[UUID, _Row] = field(default_factory=dict)

    @property
    def outbox(self) -> Outbox:
        return self

    async def add(
        self, topic: str = TOPICS[0], count: int = 1, size: int = 100, attempts: int = 0, key: str = ""
    ) -> list[UUID]:
        ids = [uuid4() for _ in range(count)]
        for row_id in ids:
            row = OutboxRow(row_id, topic, key or f"key-{row_id}", b"x" * size)
            self.stored[row_id] = _Row(row, attempts, waits=attempts > 0)
        return ids

    async def left(self) -> dict[UUID, Standing]:
        return {row_id: Standing(one.attempts, one.waits, one.parked) for row_id, one in self.stored.items()}

    async def make_due(self) -> None:
        for one in self.stored.values():
            one.due = True

    async def has_work(self, topics: Sequence[str]) -> bool:
        return any(one.due and not one.parked and one.row.topic in topics for one in self.stored.values())

    @asynccontextmanager
    async def take(
        self, topics: Sequence[str], fresh: int, waited: int, share: Share = EVERYTHING
    ) -> AsyncIterator[_Batch]:
        held: list[_Row] = []
        for topic in topics:
            free = [
                one
                for one in self.stored.values()
                if one.free
                and one.row.topic == topic
                and crc32(one.row.key.encode()) % share.of == share.number
            ]
            held += [one for one in free if not one.waits][:fresh]
            held += [one for one in free if one.waits][:waited]
        for one in held:
            one.held = True
        try:
            yield _Batch(self, held)
        finally:
            for one in held:
                one.held = False

    async def state(self) -> OutboxState:
        parked = sum(one.parked for one in self.stored.values())
        return OutboxState(len(self.stored) - parked, 0.0, parked)


class TestInMemory(RelayBehaviour):
    @pytest.fixture
    def table(self) -> InMemoryTable:
        return InMemoryTable()


def _rows(*keys: str) -> list[OutboxRow]:
    return [OutboxRow(uuid4(), "task-created", key, b'{"id":"x"}') for key in keys]


async def test_publisher_sends_each_event_with_its_own_key_and_names_what_was_not_taken() -> None:
    sidecar = RecordingSidecar()
    first, second = _rows("a", "b")
    sidecar.refuse = {str(second.id)}
    rejected = await DaprPublisher(sidecar).publish("task-created", [first, second])
    assert [(one.topic, one.key, one.event) for one in sidecar.published] == [
        ("task-created", "a", first.event)
    ]
    assert rejected == {second.id: Rejection("refused by the test")}


async def test_publisher_tells_a_refusal_from_no_answer() -> None:
    sidecar = RecordingSidecar()
    sidecar.fail_next(PublishRejected("400"))
    with pytest.raises(BrokerRefused):
        await DaprPublisher(sidecar).publish("task-created", _rows("a"))
    sidecar.fail_next(SidecarUnavailable("500"))
    with pytest.raises(BrokerUnavailable):
        await DaprPublisher(sidecar).publish("task-created", _rows("a"))


async def test_publisher_waits_no_longer_than_it_may() -> None:
    class Hanging(RecordingSidecar):
        async def publish_bulk(self, topic: str, entries: Sequence[Outgoing]) -> BulkResult:
            await asyncio.Event().wait()
            raise AssertionError

    with pytest.raises(BrokerUnavailable, match=r"0\.01 s"):
        await DaprPublisher(Hanging(), timeout=0.01).publish("task-created", _rows("a"))


async def test_an_event_that_the_answer_does_not_name_is_kept() -> None:
    class Forgetful(RecordingSidecar):
        async def publish_bulk(self, topic: str, entries: Sequence[Outgoing]) -> BulkResult:
            return BulkResult(accepted=[entries[0].entry_id])

    first, second = _rows("a", "b")
    assert set(await DaprPublisher(Forgetful()).publish("task-created", [first, second])) == {second.id}
