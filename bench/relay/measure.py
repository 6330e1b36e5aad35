"""Runs over the same bytes: the relay with its sidecar, and a producer that has nothing but Kafka, in two manners."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from aiokafka import AIOKafkaProducer
from bench.events import OutboxRow, made_up
from bench.place import Place
from bench.postgres import Store

from task_api.application.relay_outbox import MAX_BYTES, MAX_EVENTS
from task_api.settings import Settings

LANES: int = Settings.model_fields["relay_lanes"].default
"""The stack's task-api is not told otherwise."""
PROCESSES = ("task-api", "task-api.dapr", "postgres", "kafka")


@dataclass(frozen=True)
class Plan:
    """Events a run, and how often each runs."""

    events: int
    pairs: int


FULL = Plan(events=20_000, pairs=5)
QUICK = Plan(events=2_000, pairs=3)


@dataclass
class Relayed:
    """Events a second of each run; processor milliseconds an event, by process, of the relay's runs.

    `paced` is the bare producer with as many events under way as the relay has, `unpaced` the one that never waits.
    """

    relay: list[float] = field(default_factory=list)
    paced: list[float] = field(default_factory=list)
    unpaced: list[float] = field(default_factory=list)
    cpu_ms: dict[str, float] = field(default_factory=dict)

    def ratio(self, bare: Sequence[float]) -> float:
        """The median of the relay's ratios to these runs of the producer, each to the one beside it."""
        return statistics.median(relay / other for relay, other in zip(self.relay, bare, strict=True))


async def relay(place: Place, plan: Plan) -> Relayed:
    """Measure all three in turn; who begins changes from time to time."""
    measured = Relayed()
    async with Store.of(place.instance.database_url) as store, _producer(place) as producer:

        async def ours(rows: Sequence[OutboxRow]) -> None:
            before = {name: place.cpu_seconds(name) for name in PROCESSES}
            await store.enqueue(rows)  # in one commit: before it ends the relay sees none of them
            measured.relay.append(len(rows) / await store.until_published())
            for name, used in before.items():
                spent = (place.cpu_seconds(name) - used) * 1000 / plan.events / plan.pairs
                measured.cpu_ms[name] = measured.cpu_ms.get(name, 0.0) + spent

        async def paced(rows: Sequence[OutboxRow]) -> None:
            measured.paced.append(len(rows) / await _timed(produce_paced(producer, rows)))

        async def unpaced(rows: Sequence[OutboxRow]) -> None:
            measured.unpaced.append(len(rows) / await _timed(produce(producer, rows)))

        await store.enqueue(made_up(500))
        await store.until_published()
        await produce(producer, made_up(500))
        runs = [ours, paced, unpaced]
        for pair in range(plan.pairs):
            rows = made_up(plan.events)
            turn = pair % len(runs)
            for run in runs[turn:] + runs[:turn]:
                await run(rows)
    return measured


def _producer(place: Place) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=place.instance.kafka_bootstrap, acks="all", max_batch_size=MAX_BYTES, linger_ms=0
    )


async def _timed(run: Coroutine[None, None, None]) -> float:
    began = perf_counter()
    await run
    return perf_counter() - began


async def produce_paced(producer: AIOKafkaProducer, rows: Sequence[OutboxRow]) -> None:
    """As many under way as the relay may have: in each lane one batch, and the next when all of it is acknowledged."""

    async def lane(mine: Sequence[OutboxRow]) -> None:
        for begin in range(0, len(mine), MAX_EVENTS):
            await produce(producer, mine[begin : begin + MAX_EVENTS])

    async with asyncio.TaskGroup() as running:
        for number in range(LANES):
            running.create_task(lane(rows[number::LANES]))


async def produce(producer: AIOKafkaProducer, rows: Sequence[OutboxRow]) -> None:
    """Send all of it, as fast as the producer's own buffer takes it, and then await what is not acknowledged yet."""
    sent = [await producer.send(topic, event, key=key.encode()) for _, topic, key, event in rows]
    await asyncio.gather(*sent)
