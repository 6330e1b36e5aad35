"""The benchmark's own look at the bus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer


@asynccontextmanager
async def watching(bootstrap: str, *topics: str) -> AsyncIterator[AIOKafkaConsumer]:
    """Follow topics from now on."""
    consumer = AIOKafkaConsumer(*topics, bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        await consumer.seek_to_end()
        # The position is looked up lazily; asked for now, nothing published from here on is missed.
        for partition in consumer.assignment():
            await consumer.position(partition)
        yield consumer
    finally:
        await consumer.stop()
