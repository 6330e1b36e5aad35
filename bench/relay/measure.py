"""Pairs of runs over the same bytes: the relay with its sidecar, and a producer that has nothing but Kafka."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from aiokafka import AIOKafkaProducer
from bench.events import OutboxRow, made_up
from bench.place import Place
from bench.postgres import Store

from task_api.application.relay_outbox import MAX_BYTES, MAX_EVENTS

PROCESSES = ("task-api", "task-api.dapr", "postgres", "kafka")


@dataclass(frozen=True)
class Plan:
    """Events a run, and pairs of runs."""

    events: int
    pairs: int


FULL = Plan(events=20_000, pairs=5)
QUICK = Plan(events=2_000, pairs=3)


@dataclass
class Relayed:
    """Events a second of each run; processor milliseconds an event, by process, of the relay's runs."""

    relay: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    cpu_ms: dict[str, float] = field(default_factory=dict)
    bare_kafka_cpu_ms: float = 0.0

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios."""
        return statistics.median(relay / bare for relay, bare in zip(self.relay, self.bare, strict=True))


async def relay(place: Place, plan: Plan) -> Relayed:
    """Measure pairs; who begins changes from pair to pair."""
    measured = Relayed()
    async with Store.of(place.instance.database_url) as store, _producer(place) as producer:

        async def ours(rows: Sequence[OutboxRow]) -> None:
            before = {name: place.cpu_seconds(name) for name in PROCESSES}
            await store.enqueue(rows)  # in one commit: before it ends the relay sees none of them
            measured.relay.append(len(rows) / await store.until_published())
            for name, used in before.items():
                spent = (place.cpu_seconds(name) - used) * 1000 / plan.events / plan.pairs
                measured.cpu_ms[name] = measured.cpu_ms.get(name, 0.0) + spent

        async def bare(rows: Sequence[OutboxRow]) -> None:
            before = place.cpu_seconds("kafka")
            measured.bare.append(len(rows) / await _produce(producer, rows))
            measured.bare_kafka_cpu_ms += (
                (place.cpu_seconds("kafka") - before) * 1000 / plan.events / plan.pairs
            )

        await store.enqueue(made_up(500))
        await store.until_published()
        await _produce(producer, made_up(500))
        for pair in range(plan.pairs):
            rows = made_up(plan.events)
            for run in (ours, bare) if pair % 2 == 0 else (bare, ours):
                await run(rows)
    return measured


def _producer(place: Place) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=place.instance.kafka_bootstrap, acks="all", max_batch_size=MAX_BYTES, linger_ms=0
    )


async def _produce(producer: AIOKafkaProducer, rows: Sequence[OutboxRow]) -> float:
    """As many at once as the relay puts into one request, the next ones when all of them are acknowledged.

    Gives the seconds that took.
    """
    began = perf_counter()
    for begin in range(0, len(rows), MAX_EVENTS):
        sent = [
            await producer.send(topic, event, key=key.encode())
            for _, topic, key, event in rows[begin : begin + MAX_EVENTS]
        ]
        await asyncio.gather(*sent)
    return perf_counter() - began
