"""The bare producer has as many events under way as the relay it is compared with, or all of them."""

from __future__ import annotations

import asyncio
from typing import cast
from uuid import uuid4

from aiokafka import AIOKafkaProducer
from bench.events import OutboxRow
from bench.relay.measure import LANES, Relayed, produce, produce_paced

from task_api.application.relay_outbox import MAX_EVENTS


class Broker:
    """Acknowledges when nobody has anything more to send, and notes how many waited for that at once."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.most = 0
        self._waiting: list[asyncio.Future[None]] = []

    async def send(self, topic: str, value: bytes, key: bytes) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_later(0.01, self._acknowledge)
        self.taken.append(value)
        self._waiting.append(loop.create_future())
        self.most = max(self.most, len(self._waiting))
        return self._waiting[-1]

    def _acknowledge(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.set_result(None)


def _rows(count: int) -> list[OutboxRow]:
    return [(uuid4(), "task-created", str(number), b"%d" % number) for number in range(count)]


async def test_the_paced_one_has_as_many_under_way_as_the_relay() -> None:
    broker, rows = Broker(), _rows(5_000)
    await produce_paced(cast("AIOKafkaProducer", broker), rows)
    assert broker.most == LANES * MAX_EVENTS
    assert sorted(broker.taken) == sorted(event for *_, event in rows)


async def test_the_unpaced_one_waits_for_nothing() -> None:
    broker, rows = Broker(), _rows(5_000)
    await produce(cast("AIOKafkaProducer", broker), rows)
    assert broker.most == len(rows)
    assert broker.taken == [event for *_, event in rows]


def test_a_ratio_is_that_of_runs_beside_each_other() -> None:
    seen = Relayed(relay=[100, 300, 100], paced=[100, 100, 200], unpaced=[400, 400, 400])
    assert (seen.ratio(seen.paced), seen.ratio(seen.unpaced)) == (1.0, 0.25)
