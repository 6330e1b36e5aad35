"""While the bus is away one event at a time is tried, and nobody else is sent on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx
import orjson
import pytest

from service_kit.bus_outage import BusOutage
from service_kit.settings import ServiceSettings
from service_kit.sidecar import Answer, BusAway, Outgoing, PublishRejected, Sidecar, SidecarUnavailable
from service_kit.testing.fakes import AnsweringSidecar

AWAY = "kafka: client has run out of available brokers to talk to"
SHUT = "circuit breaker is open"
TOPIC = "task-created"


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
    made._outage = BusOutage(seconds)
    return made


def entries(count: int) -> list[Outgoing]:
    return [Outgoing(str(number), f"key-{number}", b"{}") for number in range(count)]


async def test_after_a_failure_nothing_is_sent_for_a_while(
    sidecar: Sidecar, bus: Bus, seconds: Seconds
) -> None:
    bus.reason = lambda _: AWAY
    assert not (await sidecar.publish_bulk(TOPIC, entries(3))).accepted
    assert sidecar.holds_events
    for _ in range(5):
        with pytest.raises(BusAway):
            await sidecar.publish_bulk(TOPIC, entries(3))
        with pytest.raises(BusAway):
            await sidecar.publish("task-updated", b"{}", "k")
    assert len(bus.sent) == 1
    seconds.now += 0.51
    assert not sidecar.holds_events


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


async def test_it_is_not_always_the_same_one(sidecar: Sidecar, bus: Bus, seconds: Seconds) -> None:
    """One key is one partition, which would be shut by the third failure."""
    bus.reason = lambda _: AWAY
    for _ in range(40):
        await sidecar.publish_bulk(TOPIC, entries(6))
        seconds.now += 6
    assert len({ids[0] for ids in bus.sent[1:]}) > 3


async def test_two_do_not_find_out_at_once(settings: ServiceSettings, seconds: Seconds) -> None:
    answered = asyncio.Event()
    sent: list[str] = []

    class Slow(Sidecar):
        async def _send(self, *request: Any) -> Answer:
            sent.append("asked")
            await answered.wait()
            return Answer(500)

    sidecar = Slow(settings)
    sidecar._outage = BusOutage(seconds)
    answered.set()
    with pytest.raises(SidecarUnavailable):
        await sidecar.publish(TOPIC, b"{}", "k")
    answered.clear()
    seconds.now += 1
    first = asyncio.create_task(sidecar.publish(TOPIC, b"{}", "k"))
    await asyncio.sleep(0)
    assert sidecar.holds_events
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
    sidecar._outage = BusOutage(seconds)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await sidecar.publish(TOPIC, b"{}", "k")
        assert sidecar.holds_events, "nobody answered"
        seconds.now += 1
        assert not sidecar.holds_events


async def test_the_longer_it_lasts_the_rarer_it_is_asked(
    sidecar: Sidecar, bus: Bus, seconds: Seconds
) -> None:
    bus.reason = lambda _: AWAY
    began, pauses = seconds.now, list[float]()
    while seconds.now - began < 120:
        await sidecar.publish_bulk(TOPIC, entries(1))
        asked_at = seconds.now
        while sidecar.holds_events:
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
    assert not sidecar.holds_events, "no outage begins"
    bus.reason = lambda entry_id: AWAY
    await sidecar.publish_bulk(TOPIC, entries(1))
    seconds.now += 1
    bus.reason = lambda entry_id: SHUT if entry_id == "0" else None
    assert not (await sidecar.publish_bulk(TOPIC, entries(1))).accepted
    assert not sidecar.holds_events, "the next one may be tried at once"
    assert (await sidecar.publish_bulk(TOPIC, entries(2)[1:])).accepted == ["1"]


async def test_what_the_sidecar_says_for_itself_begins_no_outage(sidecar: Sidecar, bus: Bus) -> None:
    bus.instead = aiohttp.ClientConnectorError(None, OSError("refused"))  # type: ignore[arg-type]
    with pytest.raises(SidecarUnavailable):
        await sidecar.publish_bulk(TOPIC, entries(2))
    bus.instead = Answer(403, b"{}")
    with pytest.raises(PublishRejected):
        await sidecar.publish_bulk(TOPIC, entries(2))
    bus.instead = None
    assert not sidecar.holds_events
    assert len((await sidecar.publish_bulk(TOPIC, entries(2))).accepted) == 2


async def test_taken_in_part_is_there(sidecar: Sidecar, bus: Bus) -> None:
    bus.reason = lambda entry_id: AWAY if entry_id == "0" else None
    await sidecar.publish_bulk(TOPIC, entries(2))
    assert not sidecar.holds_events
