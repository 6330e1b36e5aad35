"""While a topic takes nothing one of its events at a time is tried, and no partition more often than it bears."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx
import orjson
import pytest

from service_kit.bus_outage import BusOutage, partition_of
from service_kit.settings import ServiceSettings
from service_kit.sidecar import Answer, BusAway, Outgoing, PublishRejected, Sidecar, SidecarUnavailable
from service_kit.testing.fakes import AnsweringSidecar

AWAY = "kafka: client has run out of available brokers to talk to"
SHUT = "circuit breaker is open"
TOPIC, OTHER = "task-created", "task-updated"


class Seconds:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bus:
    """A sidecar with its bus: `reason` gives why it does not take an entry, None when it does."""

    reason: Callable[[str], str | None] = lambda entry_id: None
    sent: list[list[str]] = field(default_factory=list)
    instead: Exception | Answer | None = None

    def __call__(self, request: httpx.Request) -> Answer:
        if isinstance(self.instead, Exception):
            raise self.instead
        if self.instead is not None:
            return self.instead
        if "/bulk/" not in request.url.path:
            self.sent.append(["single"])
            said = self.reason("single")
            return Answer(204) if said is None else Answer(500, orjson.dumps({"message": said}))
        ids = [entry["entryId"] for entry in orjson.loads(request.content)]
        self.sent.append(ids)
        failed = [{"entryId": one, "error": said} for one in ids if (said := self.reason(one)) is not None]
        return Answer(500, orjson.dumps({"failedEntries": failed})) if failed else Answer(204)


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def sidecar(settings: ServiceSettings, bus: Bus, seconds: Seconds) -> Sidecar:
    made = AnsweringSidecar(settings, bus)
    made._outages = {topic: BusOutage(topic, 6, seconds) for topic in (TOPIC, OTHER)}
    return made


def entries(count: int) -> list[Outgoing]:
    return [Outgoing(str(number), f"key-{number}", b"{}") for number in range(count)]


async def test_after_a_failure_nothing_is_sent_for_a_while(
    sidecar: Sidecar, bus: Bus, seconds: Seconds
) -> None:
    bus.reason = lambda _: AWAY
    assert not (await sidecar.publish_bulk(TOPIC, entries(3))).accepted
    assert sidecar.holds(TOPIC)
    for _ in range(5):
        with pytest.raises(BusAway):
            await sidecar.publish_bulk(TOPIC, entries(3))
        with pytest.raises(BusAway):
            await sidecar.publish(TOPIC, b"{}", "k")
    assert len(bus.sent) == 1
    seconds.now += 0.51
    assert not sidecar.holds(TOPIC)


async def test_one_event_finds_out_and_the_others_follow_when_it_got_through(
    sidecar: Sidecar, bus: Bus, seconds: Seconds
) -> None:
    bus.reason = lambda _: AWAY
    await sidecar.publish_bulk(TOPIC, entries(3))
    seconds.now += 1
    result = await sidecar.publish_bulk(TOPIC, entries(3))
    assert [len(ids) for ids in bus.sent] == [3, 1], "one finds out"
    (tried,) = bus.sent[-1]
    assert set(result.failed) == {"0", "1", "2"}
    assert result.unasked == {"0", "1", "2"} - {tried}, "the bus was asked for one of them"
    bus.reason = lambda _: None
    seconds.now += 1
    result = await sidecar.publish_bulk(TOPIC, entries(3))
    assert sorted(result.accepted) == ["0", "1", "2"]
    assert [len(ids) for ids in bus.sent] == [3, 1, 1, 2]
    await sidecar.publish_bulk(TOPIC, entries(3))
    assert len(bus.sent[-1]) == 3, "all together again"


@pytest.mark.parametrize(
    ("key", "partition"),
    # As Kafka's client in Go says: fnv.New32a, int32, modulo six, without the sign.
    [("", 3), ("key-0", 3), ("0197a1c0-0000-7000-8000-000000000001", 1), ("ключ", 5), ("a", 0)],
)
def test_the_partition_of_a_key_is_that_of_the_client(key: str, partition: int) -> None:
    assert partition_of(key, 6) == partition


class Client:
    """The sidecar's Kafka client with the bus away. Each event takes it a second; three failures shut a partition, ten
    quiet seconds forgive them."""

    def __init__(self, seconds: Seconds) -> None:
        self._seconds = seconds
        self._failures: dict[int, tuple[int, float]] = {}
        self.shut: set[int] = set()

    def fail(self, key: str) -> str:
        self._seconds.now += 1
        partition = partition_of(key, 6)
        count, at = self._failures.get(partition, (0, 0.0))
        count = 1 if self._seconds.now - at > 10 else count + 1
        self._failures[partition] = (count, self._seconds.now)
        if count >= 3:
            self.shut.add(partition)
        return AWAY


@pytest.mark.parametrize(("keys", "tries_in_7_seconds"), [(1, 1), (60, 4)])
@pytest.mark.parametrize("seconds_away", [7, 600])
async def test_no_partition_is_shut_however_long_it_lasts(
    sidecar: Sidecar, bus: Bus, seconds: Seconds, keys: int, tries_in_7_seconds: int, seconds_away: int
) -> None:
    client, began, all_entries = Client(seconds), seconds.now, entries(keys)
    bus.reason = lambda entry_id: client.fail(f"key-{entry_id}")
    await sidecar.publish_bulk(TOPIC, all_entries[:1])
    while seconds.now - began < seconds_away:
        try:
            await sidecar.publish_bulk(TOPIC, all_entries)
        except BusAway:
            seconds.now += 0.1
    assert client.shut == set()
    tries = len(bus.sent) - 1
    assert tries >= (tries_in_7_seconds if seconds_away == 7 else 40)
    bus.reason = lambda _: None
    seconds.now += 5.1 if keys > 1 else 11
    assert len((await sidecar.publish_bulk(TOPIC, all_entries)).accepted) == keys


async def test_other_topics_go_on(sidecar: Sidecar, bus: Bus) -> None:
    bus.reason = lambda _: AWAY
    await sidecar.publish_bulk(TOPIC, entries(2))
    bus.reason = lambda _: None
    assert not sidecar.holds(OTHER)
    assert len((await sidecar.publish_bulk(OTHER, entries(2))).accepted) == 2
    assert sidecar.holds(TOPIC), "what another topic takes says nothing of this one"


async def test_two_do_not_find_out_at_once(settings: ServiceSettings, seconds: Seconds) -> None:
    answered = asyncio.Event()
    sent: list[str] = []

    class Slow(Sidecar):
        async def _send(self, *request: Any) -> Answer:
            sent.append("asked")
            await answered.wait()
            return Answer(500)

    sidecar = Slow(settings)
    sidecar._outages = {TOPIC: BusOutage(TOPIC, 6, seconds)}
    answered.set()
    with pytest.raises(SidecarUnavailable):
        await sidecar.publish(TOPIC, b"{}", "k")
    answered.clear()
    seconds.now += 1
    first = asyncio.create_task(sidecar.publish(TOPIC, b"{}", "k"))
    await asyncio.sleep(0)
    assert sidecar.holds(TOPIC)
    with pytest.raises(BusAway):
        await sidecar.publish(TOPIC, b"{}", "k")
    answered.set()
    with pytest.raises(SidecarUnavailable):
        await first
    assert len(sent) == 2


async def test_one_that_is_given_up_lets_others_find_out(settings: ServiceSettings, seconds: Seconds) -> None:
    class Hanging(Sidecar):
        async def _send(self, *request: Any) -> Answer:
            await asyncio.Event().wait()
            raise AssertionError

    sidecar = Hanging(settings)
    sidecar._outages = {TOPIC: BusOutage(TOPIC, 6, seconds)}
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await sidecar.publish(TOPIC, b"{}", "k")
        assert sidecar.holds(TOPIC), "nobody answered"
        seconds.now += 1
        assert not sidecar.holds(TOPIC)


async def test_where_nobody_answered_it_is_not_known_what_failed(
    sidecar: Sidecar, bus: Bus, seconds: Seconds
) -> None:
    """A sidecar that died with a batch under way: the next one may be tried as soon as it is there."""
    bus.instead = aiohttp.ServerDisconnectedError("gone")
    with pytest.raises(SidecarUnavailable):
        await sidecar.publish_bulk(TOPIC, entries(60))
    assert sidecar.holds(TOPIC)
    bus.instead = None
    seconds.now += 0.51
    assert len((await sidecar.publish_bulk(TOPIC, entries(60))).accepted) == 60


async def test_the_longer_it_lasts_the_rarer_it_is_asked(
    sidecar: Sidecar, bus: Bus, seconds: Seconds
) -> None:
    bus.reason = lambda _: AWAY
    await sidecar.publish_bulk(TOPIC, entries(1))
    began, pauses = seconds.now, list[float]()
    while seconds.now - began < 120:
        asked = len(bus.sent)
        try:
            await sidecar.publish_bulk(TOPIC, entries(60))
        except BusAway:
            seconds.now += 0.05
            continue
        assert len(bus.sent) == asked + 1
        asked_at = seconds.now
        while sidecar.holds(TOPIC):
            seconds.now += 0.05
        pauses.append(seconds.now - asked_at)
    assert pauses[0] == pytest.approx(0.5, abs=0.06)
    assert pauses[-1] == pytest.approx(5, abs=0.06)
    assert pauses == sorted(pauses)


async def test_a_partition_that_is_shut_says_nothing_of_the_bus(
    sidecar: Sidecar, bus: Bus, seconds: Seconds
) -> None:
    bus.reason = lambda entry_id: SHUT
    result = await sidecar.publish_bulk(TOPIC, entries(2))
    assert result.unasked == {"0", "1"}
    with pytest.raises(SidecarUnavailable, match=SHUT):
        await sidecar.publish(TOPIC, b"{}", "k")
    assert not sidecar.holds(TOPIC), "no outage begins"
    bus.reason = lambda entry_id: AWAY
    await sidecar.publish_bulk(TOPIC, entries(1))
    seconds.now += 1
    bus.reason = lambda entry_id: SHUT if entry_id == "0" else None
    assert not (await sidecar.publish_bulk(TOPIC, entries(1))).accepted
    assert not sidecar.holds(TOPIC), "the next one may be tried at once"
    assert (await sidecar.publish_bulk(TOPIC, entries(2)[1:])).accepted == ["1"]


@pytest.mark.parametrize(
    "reason",
    [
        "kafka server: Message was too large, server rejected it to avoid allocation error",
        "kafka: invalid configuration (Attempt to produce message larger than configured Producer.MaxMessageBytes)",
    ],
)
async def test_an_event_that_no_bus_would_take_begins_no_outage(
    sidecar: Sidecar, bus: Bus, reason: str
) -> None:
    bus.reason = lambda _: reason
    result = await sidecar.publish_bulk(TOPIC, entries(2))
    assert not result.unasked, "the events were judged"
    with pytest.raises(SidecarUnavailable):
        await sidecar.publish(TOPIC, b"{}", "k")
    assert not sidecar.holds(TOPIC)


async def test_what_the_sidecar_says_for_itself_begins_no_outage(sidecar: Sidecar, bus: Bus) -> None:
    bus.instead = aiohttp.ClientConnectorError(None, OSError("refused"))  # type: ignore[arg-type]
    with pytest.raises(SidecarUnavailable):
        await sidecar.publish_bulk(TOPIC, entries(2))
    bus.instead = Answer(403, b"{}")
    with pytest.raises(PublishRejected):
        await sidecar.publish_bulk(TOPIC, entries(2))
    bus.instead = None
    assert not sidecar.holds(TOPIC)
    assert len((await sidecar.publish_bulk(TOPIC, entries(2))).accepted) == 2


async def test_taken_in_part_is_there(sidecar: Sidecar, bus: Bus) -> None:
    bus.reason = lambda entry_id: AWAY if entry_id == "0" else None
    await sidecar.publish_bulk(TOPIC, entries(2))
    assert not sidecar.holds(TOPIC)
