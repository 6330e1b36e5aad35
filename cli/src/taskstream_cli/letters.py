"""Dead letters as they lie in Kafka, and what was done about them.

daprd parks what a consumer could not handle in `<service>-dlq`, unchanged, with headers that say where it came from. A
letter that was replayed or discarded stays there until its retention ends; a note in `dead-letters-handled` says that
it is done with. The note names the letter's offset and its time, for a topic that was made anew begins at 0 again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from pydantic import ValidationError

from event_contracts.topics import HANDLED_LETTERS_TOPIC, TOPICS, dead_letter_topic
from taskstream_cli.kafka_login import login, started

_POLL_MS = 1_000


@dataclass(frozen=True)
class Handled:
    """What was done about a letter: `outcome` is replayed or discarded, `at` RFC 3339, `reason` the operator's."""

    outcome: str
    at: str
    reason: str = ""


@dataclass(frozen=True)
class DeadLetter:
    """One event that `service` could not handle. `topic` is where it came from, empty when no header says so;
    `parked_at` is when it was given up, `published_at` when it came to `topic`."""

    service: str
    offset: int
    parked_ms: int
    topic: str
    partition: str
    source_offset: str
    published_at: datetime | None
    key: str
    event: bytes

    @property
    def name(self) -> str:
        """What an operator calls it: `reminders/17`."""
        return f"{self.service}/{self.offset}"

    @property
    def note_key(self) -> str:
        return f"{dead_letter_topic(self.service)}/{self.offset}@{self.parked_ms}"

    @property
    def parked_at(self) -> datetime:
        return datetime.fromtimestamp(self.parked_ms / 1000, UTC)

    def attribute(self, name: str) -> str:
        """An attribute of the event's envelope; empty when it has none or does not parse."""
        try:
            found = json.loads(self.event)
        except ValueError:
            return ""
        return str(found.get(name, "")) if isinstance(found, dict) else ""

    def reason(self) -> str:
        """Why it is here, as far as the event tells: what does not parse, or that its handler failed at every try."""
        topic = TOPICS.get(self.topic)
        if topic is None:
            return f"came from {self.topic or 'nowhere'}, which the registry does not know"
        if self.service not in topic.consumers:
            return f"{self.service} does not take {self.topic} any more"
        try:
            event = topic.event_model.model_validate_json(self.event)
        except ValidationError as error:
            faults = [
                f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['type']}" for item in error.errors()
            ]
            more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
            return f"does not parse: {', '.join(faults[:3])}{more}"
        if event.type != topic.event_type:
            return f"is of type {event.type}, {self.topic} carries {topic.event_type}"
        return f"parses: {self.service} failed at every try; its log names event {event.id}"


class LetterBox:
    """The dead letters of some services that nobody has done anything about yet, and notes of what was done.

    `refresh` reads what came since the last time. Raises KafkaError.

        async with LetterBox(bootstrap, SERVICES) as box:
            await box.refresh()
            box.waiting
    """

    def __init__(self, bootstrap: str, services: Iterable[str], *, keep_events: bool = True) -> None:
        self._services = {TopicPartition(dead_letter_topic(service), 0): service for service in services}
        self._notes = TopicPartition(HANDLED_LETTERS_TOPIC, 0)
        self._keep_events = keep_events
        self._bootstrap = bootstrap
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            group_id=None,
            **login(),
        )
        self._letters: dict[str, DeadLetter] = {}
        self._handled: dict[str, Handled] = {}

    async def __aenter__(self) -> Self:
        await started(self._consumer, self._bootstrap)
        self._consumer.assign([*self._services, self._notes])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()

    async def refresh(self) -> None:
        """Read up to what is there now, and forget what Kafka has deleted."""
        partitions = [*self._services, self._notes]
        begins = await self._consumer.beginning_offsets(partitions)
        ends = await self._consumer.end_offsets(partitions)
        while any([await self._consumer.position(one) < ends[one] for one in partitions]):
            for partition, records in (await self._consumer.getmany(timeout_ms=_POLL_MS)).items():
                for record in records:
                    self._take(partition, record)
        first = {service: begins[partition] for partition, service in self._services.items()}
        self._letters = {
            key: letter for key, letter in self._letters.items() if letter.offset >= first[letter.service]
        }

    def _take(self, partition: TopicPartition, record: Any) -> None:
        if partition == self._notes:
            self._handled[record.key.decode()] = Handled(**json.loads(record.value))
            return
        letter = _letter(self._services[partition], record)
        self._letters[letter.note_key] = letter if self._keep_events else replace(letter, event=b"")

    @property
    def waiting(self) -> list[DeadLetter]:
        """The letters that nothing was done about, the oldest first."""
        waiting = [letter for key, letter in self._letters.items() if key not in self._handled]
        return sorted(waiting, key=lambda letter: letter.parked_ms)

    def find(self, name: str) -> tuple[DeadLetter, Handled | None] | None:
        """The letter of that name, and what was done about it."""
        for key, letter in self._letters.items():
            if letter.name == name:
                return letter, self._handled.get(key)
        return None


class Notes:
    """Writes down what was done about a letter; once this returns, a restart of everything keeps it."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, **login()
        )

    async def __aenter__(self) -> Self:
        await started(self._producer, self._bootstrap)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._producer.stop()

    async def write(self, letter: DeadLetter, outcome: str, reason: str = "") -> None:
        """Raises KafkaError unless every replica in sync has the note."""
        handled = Handled(outcome, datetime.now(UTC).isoformat(timespec="seconds"), reason)
        await self._producer.send_and_wait(
            HANDLED_LETTERS_TOPIC, json.dumps(asdict(handled)).encode(), key=letter.note_key.encode()
        )


def _letter(service: str, record: Any) -> DeadLetter:
    headers = {name: value.decode(errors="replace") for name, value in record.headers}
    published = headers.get("__timestamp", "")
    return DeadLetter(
        service=service,
        offset=record.offset,
        parked_ms=record.timestamp,
        topic=headers.get("__topic", ""),
        partition=headers.get("__partition", ""),
        source_offset=headers.get("__offset", ""),
        published_at=datetime.fromtimestamp(int(published) / 1000, UTC) if published.isdecimal() else None,
        key=headers.get("__key", ""),
        event=record.value or b"",
    )
