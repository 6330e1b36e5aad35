"""`taskstream topics`: bring the broker's topics in line with the registry. Nothing is ever deleted or shrunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import typer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from event_contracts.topics import (
    DEAD_LETTER_PARTITIONS,
    DEAD_LETTER_RETENTION,
    HANDLED_LETTERS_RETENTION,
    HANDLED_LETTERS_TOPIC,
    SERVICES,
    TOPICS,
    dead_letter_topic,
)
from taskstream_cli.failing import run
from taskstream_cli.kafka_login import login, started
from taskstream_cli.places import LOCAL_KAFKA, Bootstrap

app = typer.Typer(help="The topics of the event registry.", no_args_is_help=True)

ReplicationLimit = Annotated[
    int | None,
    typer.Option(
        "--max-replication", min=1, help="Cap the registry's replication; by default the broker count."
    ),
]


@dataclass(frozen=True)
class WantedTopic:
    """A topic as it should be on the broker; `retention_ms` is Kafka's `retention.ms`."""

    name: str
    partitions: int
    replication: int
    retention_ms: int


def wanted_topics(max_replication: int) -> Iterator[WantedTopic]:
    """Every topic of the registry, one dead-letter topic for each service, and what was done about dead letters;
    replicas capped to what there is."""
    for topic in TOPICS.values():
        yield _wanted(topic.name, topic.partitions, min(topic.replication, max_replication), topic.retention)
    for service in SERVICES:
        yield _wanted(
            dead_letter_topic(service), DEAD_LETTER_PARTITIONS, min(3, max_replication), DEAD_LETTER_RETENTION
        )
    yield _wanted(HANDLED_LETTERS_TOPIC, 1, min(3, max_replication), HANDLED_LETTERS_RETENTION)


def _wanted(name: str, partitions: int, replication: int, retention: timedelta) -> WantedTopic:
    return WantedTopic(name, partitions, replication, int(retention.total_seconds() * 1000))


@dataclass(frozen=True)
class Changes:
    """What `apply_topics` did, by topic name."""

    created: tuple[str, ...]
    grown: tuple[str, ...]
    reconfigured: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.created or self.grown or self.reconfigured)


async def apply_topics(bootstrap: str, max_replication: int | None = None) -> Changes:
    """Create what is missing, add partitions where there are too few, set retention where it differs.

    Running it again changes nothing. Raises KafkaError where the broker refuses or cannot be reached.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=15_000, **login())
    await started(admin, bootstrap)
    try:
        brokers = len((await admin.describe_cluster())["brokers"])
        wanted = {topic.name: topic for topic in wanted_topics(max_replication or brokers)}
        there = set(await admin.list_topics()) & wanted.keys()
        created = await _create(admin, [wanted[name] for name in wanted if name not in there])
        grown = await _grow(admin, [wanted[name] for name in sorted(there)])
        reconfigured = await _reconfigure(admin, [wanted[name] for name in sorted(there)])
    finally:
        await admin.close()
    return Changes(created, grown, reconfigured)


def _raise_for(errors: list[tuple[str, int, str | None]]) -> None:
    for name, code, message in errors:
        if code:
            raise for_code(code)(f"{name}: {message or 'refused by the broker'}")


async def _create(admin: AIOKafkaAdminClient, topics: list[WantedTopic]) -> tuple[str, ...]:
    if not topics:
        return ()
    answer = await admin.create_topics(
        [
            NewTopic(
                topic.name,
                topic.partitions,
                topic.replication,
                topic_configs={"retention.ms": str(topic.retention_ms)},
            )
            for topic in topics
        ]
    )
    already_exists = 36  # another topics job was quicker
    _raise_for(
        [(name, code, message) for name, code, message in answer.topic_errors if code != already_exists]
    )
    return tuple(topic.name for topic in topics)


async def _grow(admin: AIOKafkaAdminClient, topics: list[WantedTopic]) -> tuple[str, ...]:
    described = await admin.describe_topics([topic.name for topic in topics]) if topics else []
    now = {entry["topic"]: len(entry["partitions"]) for entry in described}
    small = [topic for topic in topics if now[topic.name] < topic.partitions]
    if small:
        await admin.create_partitions({topic.name: NewPartitions(topic.partitions) for topic in small})
    return tuple(topic.name for topic in small)


async def _reconfigure(admin: AIOKafkaAdminClient, topics: list[WantedTopic]) -> tuple[str, ...]:
    if not topics:
        return ()
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    retention: dict[str, str] = {}
    for answer in await admin.describe_configs(resources):
        for _code, _message, _type, name, entries in answer.resources:
            retention.update((name, entry[1]) for entry in entries if entry[0] == "retention.ms")
    differing = [topic for topic in topics if retention.get(topic.name) != str(topic.retention_ms)]
    if differing:
        await admin.alter_configs(
            [
                ConfigResource(
                    ConfigResourceType.TOPIC, topic.name, configs={"retention.ms": str(topic.retention_ms)}
                )
                for topic in differing
            ]
        )
    return tuple(topic.name for topic in differing)


@app.command()
def apply(bootstrap: Bootstrap = LOCAL_KAFKA, max_replication: ReplicationLimit = None) -> None:
    """Create missing topics, add missing partitions, set retention; never delete or shrink."""
    changes = run(apply_topics(bootstrap, max_replication))
    for verb, names in (
        ("created", changes.created),
        ("grown", changes.grown),
        ("retention set", changes.reconfigured),
    ):
        if names:
            typer.echo(f"{verb}: {', '.join(names)}")
    if not changes:
        typer.echo("topics: nothing to do")


@app.command("list")
def list_topics() -> None:
    """Print the registry: topic, producer, consumers, key, partitions, retention."""
    for topic in TOPICS.values():
        typer.echo(
            f"{topic.name:26} {topic.producer:11} -> {', '.join(topic.consumers):34} "
            f"key {topic.key:9} {topic.partitions} partitions, {topic.retention.days} d"
        )
