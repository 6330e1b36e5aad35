"""Dead letters on a real broker: what waits, what was done about it, and what is told of them as metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from event_contracts.topics import RECURRENCE, REMINDERS, SERVICES, TOPICS, dead_letter_topic
from taskstream_cli.exporter import KafkaMetrics
from taskstream_cli.lag import LagReader
from taskstream_cli.letters import DeadLetter, LetterBox, Notes
from taskstream_cli.topics import apply_topics

_PARKED_MS = 1_700_000_000_000


@pytest.fixture
async def producer(kafka_bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    await apply_topics(kafka_bootstrap)
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
    await producer.start()
    yield producer
    await producer.stop()


async def _park(producer: AIOKafkaProducer, service: str, parked_ms: int | None = None) -> str:
    """Park an event as daprd does; its key."""
    key = str(uuid4())
    headers = [
        ("__topic", b"task-created"),
        ("__partition", b"3"),
        ("__offset", b"7"),
        ("__key", key.encode()),
    ]
    await producer.send_and_wait(
        dead_letter_topic(service), b"{}", key=key.encode(), headers=headers, timestamp_ms=parked_ms
    )
    return key


async def _waiting(kafka_bootstrap: str, key: str) -> list[DeadLetter]:
    async with LetterBox(kafka_bootstrap, SERVICES) as box:
        await box.refresh()
        return [letter for letter in box.waiting if letter.key == key]


async def test_a_letter_that_was_done_with_is_so_for_everybody(
    kafka_bootstrap: str, producer: AIOKafkaProducer
) -> None:
    key = await _park(producer, REMINDERS)
    async with LetterBox(kafka_bootstrap, SERVICES) as open_before:
        await open_before.refresh()
        (letter,) = await _waiting(kafka_bootstrap, key)
        assert (letter.service, letter.topic, letter.partition, letter.source_offset) == (
            REMINDERS,
            "task-created",
            "3",
            "7",
        )
        assert letter.reason().startswith("does not parse: ")
        async with Notes(kafka_bootstrap) as notes:
            await notes.write(letter, "discarded", "a test")
        await open_before.refresh()
        assert key not in {one.key for one in open_before.waiting}
    assert await _waiting(kafka_bootstrap, key) == []
    async with LetterBox(kafka_bootstrap, SERVICES) as box:
        await box.refresh()
        found = box.find(letter.name)
    assert found is not None
    assert found[1] is not None
    assert (found[1].outcome, found[1].reason) == ("discarded", "a test")


async def test_a_note_is_about_one_letter_and_not_about_its_offset(
    kafka_bootstrap: str, producer: AIOKafkaProducer
) -> None:
    """A topic that was made anew counts from 0 again."""
    key = await _park(producer, RECURRENCE)
    (letter,) = await _waiting(kafka_bootstrap, key)
    former = DeadLetter(**(vars(letter) | {"parked_ms": letter.parked_ms - 1}))
    async with Notes(kafka_bootstrap) as notes:
        await notes.write(former, "discarded", "of the topic before")
        assert await _waiting(kafka_bootstrap, key) == [letter]
        await notes.write(letter, "discarded", "a test")
    assert await _waiting(kafka_bootstrap, key) == []


async def test_depth_age_and_lag_are_told(kafka_bootstrap: str, producer: AIOKafkaProducer) -> None:
    metrics = KafkaMetrics()

    def value(name: str, **labels: str) -> float:
        found = metrics.registry.get_sample_value(name, labels)
        assert found is not None, (name, labels)
        return found

    async with (
        LetterBox(kafka_bootstrap, SERVICES, keep_events=False) as box,
        LagReader(kafka_bootstrap) as lag,
    ):
        await metrics.look(box, lag)
        depth = value("dead_letters", consumer=RECURRENCE)
        behind = value("consumer_lag_events", consumer=RECURRENCE, topic="series-updated")
        await _park(producer, RECURRENCE)
        await _park(producer, RECURRENCE, _PARKED_MS)
        await producer.send_and_wait("series-updated", b"{}")
        await metrics.look(box, lag)
        assert value("dead_letters", consumer=RECURRENCE) == depth + 2
        assert value("consumer_lag_events", consumer=RECURRENCE, topic="series-updated") == behind + 1
        now = value("kafka_looked_at_timestamp_seconds")
        assert value("dead_letter_oldest_age_seconds", consumer=RECURRENCE) == pytest.approx(
            now - _PARKED_MS / 1000
        )
        async with Notes(kafka_bootstrap) as notes:
            for letter in box.waiting:
                await notes.write(letter, "discarded", "a test")
        await metrics.look(box, lag)
    for service in SERVICES:
        assert value("dead_letters", consumer=service) == 0
        assert value("dead_letter_oldest_age_seconds", consumer=service) == 0


def test_the_reason_says_what_the_event_tells() -> None:
    topic = TOPICS["task-created"]
    letter = DeadLetter(RECURRENCE, 1, _PARKED_MS, topic.name, "0", "0", None, "key", b"not json")
    assert letter.reason() == "does not parse: body: json_invalid"
    elsewhere = DeadLetter(RECURRENCE, 1, _PARKED_MS, "reminder-due", "0", "0", None, "key", b"{}")
    assert elsewhere.reason() == "recurrence does not take reminder-due any more"
    unknown = DeadLetter(RECURRENCE, 1, _PARKED_MS, "", "", "", None, "key", b"{}")
    assert "nowhere" in unknown.reason()
