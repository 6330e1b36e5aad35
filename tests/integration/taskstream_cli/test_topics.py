"""The topics job on a real broker: makes what is missing, mends what differs, and a second run does nothing."""

from __future__ import annotations

import asyncio

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from event_contracts.topics import SERVICES, TOPICS, dead_letter_topic
from taskstream_cli.topics import apply_topics


async def test_topics_are_the_registrys_and_stay_so(kafka_bootstrap: str) -> None:
    await apply_topics(kafka_bootstrap)
    assert not await apply_topics(kafka_bootstrap), "a second run does nothing"

    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    try:
        described = {entry["topic"]: entry for entry in await admin.describe_topics(list(TOPICS))}
        names = set(await admin.list_topics())
        changed = ConfigResource(ConfigResourceType.TOPIC, "reminder-due", configs={"retention.ms": "1000"})
        await admin.alter_configs([changed])
    finally:
        await admin.close()
    assert {dead_letter_topic(service) for service in SERVICES} <= names
    for name, topic in TOPICS.items():
        assert len(described[name]["partitions"]) == topic.partitions
    async with asyncio.timeout(10):
        # The broker answers before it shows the change to who asks.
        while (again := await apply_topics(kafka_bootstrap)).reconfigured == ():  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)
    assert again.reconfigured == ("reminder-due",)
