"""Deliveries: who may make them, what becomes of each, and what is counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from redis.exceptions import ConnectionError as RedisConnectionError

from event_contracts.envelope import CloudEvent
from service_kit import pubsub
from service_kit.deliveries import Deliveries
from service_kit.pubsub import AT_ONCE, Outcome, subscribe
from service_kit.settings import ServiceSettings
from service_kit.sidecar import SidecarUnavailable
from service_kit.state_store import StateConflict, StateUnavailable
from service_kit.telemetry import correlation_id, current_traceparent
from service_kit.testing.waiting import eventually

EXAMPLES = Path(__file__).parents[3] / "packages/event-contracts/examples"
DUE: dict[str, Any] = json.loads((EXAMPLES / "reminder.due.v1.json").read_text(encoding="utf-8"))


class Handler:
    """Remembers what it got, in which context, and answers as it is told."""

    def __init__(self) -> None:
        self.events: list[CloudEvent[Any]] = []
        self.contexts: list[tuple[str | None, str | None]] = []
        self.outcome = Outcome.SUCCESS
        self.error: Exception | None = None

    async def __call__(self, event: CloudEvent[Any]) -> Outcome:
        self.events.append(event)
        self.contexts.append((correlation_id(), current_traceparent()))
        if self.error is not None:
            raise self.error
        return self.outcome


@pytest.fixture
def handler(app: FastAPI, settings: ServiceSettings) -> Handler:
    answering = Handler()
    subscribe(app, settings, {"reminder-due": answering, "task-created": answering})
    return answering


Deliver = Callable[..., Any]


@pytest.fixture
def deliver(client: httpx.AsyncClient, sidecar_headers: dict[str, str], handler: Handler) -> Deliver:
    async def post(event: object = DUE, **changes: Any) -> str:
        body = event if isinstance(event, bytes) else json.dumps({**DUE, **changes}).encode()
        headers = {"content-type": "application/cloudevents+json", **sidecar_headers}
        answer = await client.post("/events/reminder-due", content=body, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json().keys() == {"status"}
        return str(answer.json()["status"])

    return post


async def test_the_sidecar_learns_what_to_deliver_where(
    client: httpx.AsyncClient, handler: Handler, sidecar_headers: dict[str, str]
) -> None:
    answer = await client.get("/dapr/subscribe", headers=sidecar_headers)
    assert answer.json() == [
        {
            "pubsubname": "pubsub",
            "topic": topic,
            "route": f"/events/{topic}",
            "metadata": {},
            "deadLetterTopic": "reminders-dlq",
        }
        for topic in ("reminder-due", "task-created")
    ]


async def test_an_unknown_topic_is_refused_at_the_start(app: FastAPI, settings: ServiceSettings) -> None:
    with pytest.raises(KeyError):
        subscribe(app, settings, {"no-such-topic": Handler()})


@pytest.mark.parametrize("extra", [{}, {"dapr-api-token": "wrong"}, {"dapr-caller-app-id": "task-api"}])
async def test_only_the_own_sidecar_delivers(
    client: httpx.AsyncClient, handler: Handler, sidecar_headers: dict[str, str], extra: dict[str, str]
) -> None:
    headers = {**sidecar_headers, **extra} if extra else {}
    delivered = await client.post("/events/reminder-due", content=b"not even json", headers=headers)
    asked = await client.get("/dapr/subscribe", headers=headers)
    assert (delivered.status_code, asked.status_code) == (403, 403)
    assert handler.events == []


async def test_internal_routes_are_not_documented(client: httpx.AsyncClient, handler: Handler) -> None:
    assert "/events" not in (await client.get("/openapi.json")).text


@pytest.mark.parametrize("outcome", list(Outcome))
async def test_the_handler_decides(deliver: Deliver, handler: Handler, outcome: Outcome) -> None:
    handler.outcome = outcome
    assert await deliver() == outcome.value
    (event,) = handler.events
    assert (event.id, event.type) == (DUE["id"], "reminder.due.v1")
    assert str(event.data.task_id) == DUE["data"]["task_id"]


async def test_what_daprd_adds_is_no_matter(deliver: Deliver, handler: Handler) -> None:
    assert await deliver(topic="reminder-due", pubsubname="pubsub", expiration="x") == "SUCCESS"


async def test_trace_and_correlation_go_on(deliver: Deliver, handler: Handler) -> None:
    await deliver()
    correlation, traceparent = handler.contexts[0]
    assert correlation == DUE["correlationid"]
    assert str(traceparent).split("-")[1] == DUE["traceparent"].split("-")[1]


async def test_traceid_serves_when_traceparent_was_emptied(deliver: Deliver, handler: Handler) -> None:
    await deliver(traceparent="")
    assert DUE["traceid"].split("-")[1] in str(handler.contexts[0][1])


async def test_without_correlation_the_events_own_id_is_it(deliver: Deliver, handler: Handler) -> None:
    await deliver(correlationid=None, traceparent=None, traceid=None)
    correlation, traceparent = handler.contexts[0]
    assert correlation == DUE["id"]
    assert traceparent is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {}},
        {"data": None},
        {"time": "yesterday"},
        {"id": ""},
        {"specversion": "0.3"},
        {"type": "reminder.due.v2"},
        {"type": "task.created.v1"},
    ],
)
async def test_what_does_not_parse_is_dropped(
    deliver: Deliver, handler: Handler, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert await deliver(**changes) == "DROP"
    assert handler.events == []
    assert [record.levelname for record in caplog.records].count("ERROR") == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
async def test_what_is_no_event_is_dropped(deliver: Deliver, handler: Handler, body: bytes) -> None:
    assert await deliver(body) == "DROP"


async def test_a_fault_is_logged_without_the_text(deliver: Deliver, caplog: pytest.LogCaptureFixture) -> None:
    await deliver(time="a very private thing")
    assert "time: datetime" in caplog.text
    assert "private" not in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        StateConflict("k"),
        StateUnavailable("k"),
        SidecarUnavailable("x"),
        RedisConnectionError("away"),
        TimeoutError(),
        ConnectionResetError(),
    ],
)
async def test_passing_trouble_is_retried_without_a_traceback(
    deliver: Deliver, handler: Handler, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    handler.error = error
    assert await deliver() == "RETRY"
    (record,) = [one for one in caplog.records if "event_to_be_retried" in one.getMessage()]
    assert record.levelname == "WARNING"
    assert record.exc_info is None
    assert DUE["id"] in record.getMessage()


async def test_the_unexpected_is_retried_with_a_traceback(
    deliver: Deliver, handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    handler.error = ZeroDivisionError("of ours")
    assert await deliver() == "RETRY"
    (record,) = [one for one in caplog.records if "event_handler_failed" in one.getMessage()]
    assert record.exc_info is not None


class Soon(Handler):
    """Fails until it was called `after` times; the first time it is told so, deliveries are off from then on."""

    def __init__(self, after: int, error: Exception | None, stop: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.after = after
        self.trouble = error
        self.stop = stop

    async def __call__(self, event: CloudEvent[Any]) -> Outcome:
        self.error = self.trouble if len(self.events) < self.after else None
        self.outcome = (
            Outcome.RETRY if self.error is None and len(self.events) < self.after else Outcome.SUCCESS
        )
        if self.stop is not None:
            self.stop()
        return await super().__call__(event)


class On(Deliveries):
    """What the sidecar was told."""

    def __init__(self) -> None:
        super().__init__(None)
        self.on = True

    @property
    def are_on(self) -> bool:
        return self.on


@pytest.fixture
def on(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> On:
    monkeypatch.setattr(pubsub, "TRIED_FOR_SECONDS", 0.5)
    monkeypatch.setattr(pubsub, "_AGAIN_AFTER_SECONDS", 0.05)
    told = app.state.deliveries = On()
    return told


Called = Callable[[Soon], Awaitable[str]]


@pytest.fixture
def called(
    app: FastAPI, settings: ServiceSettings, client: httpx.AsyncClient, sidecar_headers: dict[str, str]
) -> Called:
    async def deliver(soon: Soon) -> str:
        subscribe(app, settings, {"reminder-due": soon})
        answer = await client.post(
            "/events/reminder-due",
            content=json.dumps(DUE),
            headers={"content-type": "application/cloudevents+json", **sidecar_headers},
        )
        return str(answer.json()["status"])

    return deliver


@pytest.mark.parametrize("error", [RedisConnectionError("away"), None], ids=["trouble", "asked for"])
async def test_passing_trouble_is_outlasted_where_it_is(
    called: Called, on: On, error: Exception | None
) -> None:
    soon = Soon(3, error)
    assert await called(soon) == "SUCCESS"
    assert len(soon.events) == 4


async def test_what_does_not_pass_is_answered_before_the_sidecar_gives_up(called: Called, on: On) -> None:
    soon = Soon(1_000, RedisConnectionError("away"))
    began = asyncio.get_running_loop().time()
    assert await called(soon) == "RETRY"
    assert asyncio.get_running_loop().time() - began >= 0.5
    assert len(soon.events) >= 3


@pytest.mark.parametrize("how", ["off", "off meanwhile", "a fault of ours"])
async def test_nothing_is_held_once_deliveries_are_off_and_no_fault_of_ours(
    called: Called, on: On, how: str
) -> None:
    def stop() -> None:
        on.on = False

    on.on = how != "off"
    error = ZeroDivisionError("of ours") if how == "a fault of ours" else RedisConnectionError("away")
    soon = Soon(1_000, error, stop if how == "off meanwhile" else None)
    assert await called(soon) == "RETRY"
    assert len(soon.events) == 1


async def test_deliveries_are_counted(
    deliver: Deliver, handler: Handler, sample: Callable[..., float]
) -> None:
    def counted(outcome: str) -> float:
        return sample("events_handled_total", topic="reminder-due", outcome=outcome)

    before = {outcome: counted(outcome) for outcome in ("SUCCESS", "RETRY", "DROP")}
    aged = sample("event_age_seconds_count", topic="reminder-due")
    timed = sample("event_handling_seconds_count", topic="reminder-due")
    await deliver()
    await deliver(b"{")
    handler.error = TimeoutError()
    await deliver()
    assert {outcome: counted(outcome) - value for outcome, value in before.items()} == {
        "SUCCESS": 1,
        "RETRY": 1,
        "DROP": 1,
    }
    assert sample("event_age_seconds_count", topic="reminder-due") == aged + 2
    assert sample("event_handling_seconds_count", topic="reminder-due") == timed + 3


def test_outcomes_are_daprs_words() -> None:
    assert [outcome.value for outcome in Outcome] == ["SUCCESS", "RETRY", "DROP"]


class Busy(Handler):
    """Holds what it is given until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def __call__(self, event: CloudEvent[Any]) -> Outcome:
        await super().__call__(event)
        await self.go.wait()
        return Outcome.SUCCESS


async def test_no_more_is_begun_than_can_be_ended_in_time(
    app: FastAPI, settings: ServiceSettings, client: httpx.AsyncClient, sidecar_headers: dict[str, str]
) -> None:
    """As many deliveries as a sidecar hands over at once: the first ones end first, and all of them do."""
    busy = Busy()
    subscribe(app, settings, {"reminder-due": busy, "task-created": busy})
    headers = {"content-type": "application/cloudevents+json", **sidecar_headers}
    under_way = [
        asyncio.create_task(
            client.post("/events/reminder-due", content=json.dumps({**DUE, "id": str(n)}), headers=headers)
        )
        for n in range(42)
    ]
    await eventually(lambda: _reached(busy, AT_ONCE))
    await asyncio.sleep(0.05)
    assert len(busy.events) == AT_ONCE
    busy.go.set()
    assert {(await one).json()["status"] for one in under_way} == {"SUCCESS"}
    assert [event.id for event in busy.events] == [str(n) for n in range(42)]


async def test_what_comes_again_while_it_is_worked_on_gets_the_outcome_of_that(
    app: FastAPI,
    settings: ServiceSettings,
    client: httpx.AsyncClient,
    sidecar_headers: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sidecar hung up after three seconds and asks again: the work is done once, its outcome is not lost."""
    busy = Busy()
    subscribe(app, settings, {"reminder-due": busy, "task-created": busy})
    headers = {"content-type": "application/cloudevents+json", **sidecar_headers}

    def deliver() -> asyncio.Task[httpx.Response]:
        return asyncio.create_task(
            client.post("/events/reminder-due", content=json.dumps(DUE), headers=headers)
        )

    given_up = deliver()
    await eventually(lambda: _reached(busy, 1))
    given_up.cancel()
    again = deliver()
    await asyncio.sleep(0.05)
    monkeypatch.setattr(pubsub, "GIVEN_UP_AFTER_SECONDS", 0.0)
    busy.go.set()
    assert (await again).json() == {"status": "SUCCESS"}
    assert (await deliver()).json() == {"status": "SUCCESS"}, "a third one, a moment after the work was done"
    assert len(busy.events) == 1


async def test_what_was_to_come_again_is_worked_on_again(
    deliver: Deliver, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub, "GIVEN_UP_AFTER_SECONDS", 0.0)
    handler.outcome = Outcome.RETRY
    assert [await deliver(), await deliver()] == ["RETRY", "RETRY"]
    handler.outcome = Outcome.SUCCESS
    assert await deliver() == "SUCCESS"
    assert len(handler.events) == 3


async def _reached(busy: Busy, count: int) -> bool:
    return len(busy.events) >= count
