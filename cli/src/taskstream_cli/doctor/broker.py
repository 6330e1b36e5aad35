"""Kafka: are the topics there, does each consumer listen to all of its own, how far behind is it, what is parked."""

from __future__ import annotations

from collections import Counter
from functools import partial

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError

from event_contracts.topics import SERVICES, consumed_by
from taskstream_cli.dlq import waiting_letters
from taskstream_cli.doctor.report import Report
from taskstream_cli.failing import KafkaAway
from taskstream_cli.kafka_login import login, started
from taskstream_cli.lag import LagReader, patiently
from taskstream_cli.topics import wanted_topics

LAG_LONG = 1_000


async def look_at_kafka(report: Report, bootstrap: str) -> None:
    try:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5_000, **login())
        await started(admin, bootstrap)
        try:
            brokers = len((await admin.describe_cluster())["brokers"])
            described = {one["topic"]: len(one["partitions"]) for one in await admin.describe_topics()}
            heard = {service: await _heard(admin, service) for service in SERVICES}
        finally:
            await admin.close()
        report.seen["kafka"] = f"{brokers} brokers"
        if missing := [
            topic.name for topic in wanted_topics(1) if described.get(topic.name, 0) < topic.partitions
        ]:
            report.find(
                "kafka",
                f"Missing, or short of partitions: {', '.join(missing)}. Run `taskstream topics apply`.",
            )
            return
        _check_consumers(report, heard)
        async with LagReader(bootstrap) as lag:
            _check_lag(report, await lag.read())
        letters = Counter(letter.service for letter in await waiting_letters(bootstrap))
    except KafkaAway as error:
        report.find("kafka", error.args[0])
        return
    except (KafkaError, OSError) as error:
        report.find(
            "kafka", f"It does not answer at {bootstrap} ({error}): start it, or set KAFKA_BOOTSTRAP."
        )
        return
    for service, count in letters.items():
        report.find(
            service, f"{count} dead letters wait: `taskstream dlq list --service {service}` says why."
        )


async def _heard(admin: AIOKafkaAdminClient, service: str) -> set[str]:
    """The topics that the members of the consumer's group are assigned."""
    topics: set[str] = set()
    for answer in await patiently(partial(admin.describe_consumer_groups, [service])):
        for group in answer.groups:
            for member in group[5]:
                if assigned := member[4]:
                    topics |= {
                        topic for topic, _ in ConsumerProtocolMemberAssignment.decode(assigned).assignment
                    }
    return topics


def _check_consumers(report: Report, heard: dict[str, set[str]]) -> None:
    for service, topics in heard.items():
        silent = sorted({topic.name for topic in consumed_by(service)} - topics)
        if silent:
            what = "any topic" if not topics else ", ".join(silent)
            report.find(
                service, f"Its sidecars do not listen to {what}: restart them while the service is ready."
            )


def _check_lag(report: Report, lag: dict[tuple[str, str], int]) -> None:
    behind: Counter[str] = Counter()
    for (service, _), events in lag.items():
        behind[service] += events
    for service, events in behind.items():
        if events > LAG_LONG:
            report.find(
                service,
                f"It is {events} events behind: see whether it handles any; else start more replicas.",
            )
