"""How far each consumer is behind, as Kafka knows it: the offsets that its sidecars committed against what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError

from event_contracts.topics import SERVICES, consumed_by
from taskstream_cli.kafka_login import login, started

_TRIES = 10
ResultT = TypeVar("ResultT")


async def patiently(ask: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Ask about a consumer group; a broker that is new makes the place where groups are kept first, which takes it
    seconds."""
    for _ in range(_TRIES - 1):
        try:
            return await ask()
        except (GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError):
            await asyncio.sleep(1)
    return await ask()


class LagReader:
    """Reads the lag of every consumer of the registry. Raises KafkaError."""

    def __init__(self, bootstrap: str) -> None:
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=15_000, **login())
        self._bootstrap = bootstrap
        self._consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None, **login())

    async def __aenter__(self) -> Self:
        await started(self._consumer, self._bootstrap)
        try:
            await started(self._admin, self._bootstrap)
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._admin.close()
        await self._consumer.stop()

    async def read(self) -> dict[tuple[str, str], int]:
        """Events that wait, by (consumer, topic), topics that do not exist aside.

        A consumer that never committed begins at the oldest event, so all of them wait.
        """
        found: dict[tuple[str, str], int] = {}
        described = await self._admin.describe_topics()
        numbers = {one["topic"]: [part["partition"] for part in one["partitions"]] for one in described}
        for service in SERVICES:
            committed = await patiently(partial(self._admin.list_consumer_group_offsets, service))
            for topic in consumed_by(service):
                partitions = [TopicPartition(topic.name, number) for number in numbers.get(topic.name, ())]
                if not partitions:
                    continue
                begins = await self._consumer.beginning_offsets(partitions)
                ends = await self._consumer.end_offsets(partitions)
                at = {one: committed[one].offset if one in committed else -1 for one in partitions}
                found[service, topic.name] = sum(ends[one] - max(at[one], begins[one]) for one in partitions)
        return found
