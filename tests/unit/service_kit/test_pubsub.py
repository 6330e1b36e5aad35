"""Deliveries: who may make them, what becomes of each, and what is counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from redis.exceptions import ConnectionError as RedisConnectionError

from event_contracts.envelope import CloudEvent
from service_kit.pubsub import Outcome, subscribe
from service_kit.settings import ServiceSettings
from service_kit.sidecar import SidecarUnavailable
from service_kit.state_store import StateConflict, StateUnavailable
from service_kit.telemetry import correlation_id, current_traceparent

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
