"""The sidecar's HTTP API: what is sent, and what each answer means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
import httpx
import orjson
import pytest

from service_kit.settings import ServiceSettings
from service_kit.sidecar import Answer, BulkResult, Outgoing, PublishRejected, Sidecar, SidecarUnavailable
from service_kit.telemetry import bind_request, span, unbind_request
from service_kit.testing.fakes import AnsweringSidecar


class Daprd:
    """Answers as it is told and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.answer: Callable[[], Answer] = lambda: Answer(204)

    def __call__(self, request: httpx.Request) -> Answer:
        self.asked.append(request)
        return self.answer()

    @property
    def last(self) -> httpx.Request:
        return self.asked[-1]

    def fail(self, error: Exception) -> None:
        def answer() -> Answer:
            raise error

        self.answer = answer

    def say(self, status: int, body: Any = None) -> None:
        self.answer = lambda: Answer(status, content=b"" if body is None else orjson.dumps(body))


@pytest.fixture
def daprd() -> Daprd:
    return Daprd()


@pytest.fixture
def sidecar(settings: ServiceSettings, daprd: Daprd) -> Sidecar:
    return AnsweringSidecar(settings, daprd)


EVENTS = [Outgoing("1", "task-1", b'{"id":"a","n":1.50}'), Outgoing("2", "task-2", b'{"id":"b"}')]


async def test_an_event_goes_out_as_it_is_with_its_key(sidecar: Sidecar, daprd: Daprd) -> None:
    await sidecar.publish("task-created", b'{"id":"a","n":1.50}', "task 1&x")
    assert daprd.last.method == "POST"
    assert daprd.last.url.path == "/v1.0/publish/pubsub/task-created"
    assert dict(daprd.last.url.params) == {"metadata.partitionKey": "task 1&x"}
    assert daprd.last.headers["content-type"] == "application/cloudevents+json"
    assert daprd.last.headers["dapr-api-token"] == "dapr-token-of-the-test"
    assert daprd.last.content == b'{"id":"a","n":1.50}'


@pytest.mark.parametrize("status", [400, 403, 404, 413])
async def test_a_refused_event_will_never_be_taken(sidecar: Sidecar, daprd: Daprd, status: int) -> None:
    daprd.say(status, {"errorCode": "ERR_PUBSUB_FORBIDDEN"})
    with pytest.raises(PublishRejected, match="ERR_PUBSUB_FORBIDDEN"):
        await sidecar.publish("task-created", b"{}", "k")


TROUBLE = [TimeoutError("slow"), aiohttp.ServerDisconnectedError("gone"), aiohttp.ClientPayloadError("half")]


@pytest.mark.parametrize("error", TROUBLE)
async def test_an_event_may_be_out_when_nobody_answers(
    sidecar: Sidecar, daprd: Daprd, error: Exception
) -> None:
    daprd.fail(error)
    with pytest.raises(SidecarUnavailable):
        await sidecar.publish("task-created", b"{}", "k")
    with pytest.raises(SidecarUnavailable):
        await sidecar.publish_bulk("task-created", EVENTS)
    with pytest.raises(SidecarUnavailable):
        await sidecar.invoke("task-api", "GET", "/x")
    assert not await sidecar.healthy()


async def test_a_bulk_has_a_key_for_each_and_the_events_own_bytes(sidecar: Sidecar, daprd: Daprd) -> None:
    assert await sidecar.publish_bulk("task-created", EVENTS) == BulkResult(accepted=["1", "2"])
    assert daprd.last.url.path == "/v1.0/publish/bulk/pubsub/task-created"
    assert daprd.last.headers["content-type"] == "application/json"
    # As text that the sidecar passes on as it is: it would decode and encode JSON twice, and round what it reads.
    assert dict(daprd.last.url.params) == {"metadata.rawPayload": "true"}
    assert orjson.loads(daprd.last.content) == [
        {
            "entryId": entry.entry_id,
            "event": entry.event.decode(),
            "contentType": "text/plain",
            "metadata": {"partitionKey": entry.key},
        }
        for entry in EVENTS
    ]


async def test_an_empty_bulk_asks_nobody(sidecar: Sidecar, daprd: Daprd) -> None:
    assert await sidecar.publish_bulk("task-created", []) == BulkResult()
    assert daprd.asked == []


@pytest.mark.parametrize("status", [200, 207, 500])
async def test_a_bulk_may_be_taken_in_part(sidecar: Sidecar, daprd: Daprd, status: int) -> None:
    daprd.say(status, {"failedEntries": [{"entryId": "2", "error": "too large"}], "errorCode": "X"})
    if status == 200:
        # A plain success is a success of all: daprd names failures only with another status.
        assert (await sidecar.publish_bulk("task-created", EVENTS)).accepted == ["1", "2"]
        return
    result = await sidecar.publish_bulk("task-created", EVENTS)
    assert result == BulkResult(accepted=["1"], failed={"2": "too large"})


@pytest.mark.parametrize("body", [None, {"errorCode": "ERR"}, {"failedEntries": []}, ["odd"]])
async def test_a_failed_bulk_that_names_nobody_may_be_out(sidecar: Sidecar, daprd: Daprd, body: Any) -> None:
    daprd.say(500, body)
    with pytest.raises(SidecarUnavailable):
        await sidecar.publish_bulk("task-created", EVENTS)


async def test_a_refused_bulk_is_refused_as_a_whole(sidecar: Sidecar, daprd: Daprd) -> None:
    daprd.say(400, {"errorCode": "ERR_PUBSUB_EVENTS_SER"})
    with pytest.raises(PublishRejected):
        await sidecar.publish_bulk("task-created", EVENTS)


async def test_an_invocation_gives_the_answer_and_passes_the_context_on(
    sidecar: Sidecar, daprd: Daprd
) -> None:
    daprd.say(404, {"error_code": "task_not_found"})
    tokens = bind_request("r-1", "c-1")
    with span("work"):
        answer = await sidecar.invoke(
            "task-api", "POST", "internal/v1/tasks", params={"limit": 5}, json={"a": 1}
        )
    unbind_request(tokens)
    assert (answer.status_code, answer.json()["error_code"]) == (404, "task_not_found")
    assert str(daprd.last.url) == (
        "http://127.0.0.1:3500/v1.0/invoke/task-api/method/internal/v1/tasks?limit=5"
    )
    assert orjson.loads(daprd.last.content) == {"a": 1}
    assert daprd.last.headers["x-request-id"] == "r-1"
    assert daprd.last.headers["x-correlation-id"] == "c-1"
    assert daprd.last.headers["traceparent"].startswith("00-")


async def test_a_failed_invocation_is_unavailable(sidecar: Sidecar, daprd: Daprd) -> None:
    daprd.say(500, {"errorCode": "ERR_DIRECT_INVOKE"})
    with pytest.raises(SidecarUnavailable, match="ERR_DIRECT_INVOKE"):
        await sidecar.invoke("task-api", "GET", "/x")


async def test_the_sidecars_own_health(sidecar: Sidecar, daprd: Daprd) -> None:
    assert await sidecar.healthy()
    assert daprd.last.url.path == "/v1.0/healthz/outbound"
    daprd.say(500, {"errorCode": "ERR_OUTBOUND_HEALTH_NOT_READY"})
    assert not await sidecar.healthy()


async def test_metadata_is_an_object(sidecar: Sidecar, daprd: Daprd) -> None:
    daprd.say(200, {"id": "reminders"})
    assert await sidecar.metadata() == {"id": "reminders"}
    daprd.say(401)
    with pytest.raises(SidecarUnavailable):
        await sidecar.metadata()


async def test_failures_are_counted_by_kind(
    sidecar: Sidecar, daprd: Daprd, sample: Callable[..., float]
) -> None:
    before = sample("sidecar_failures_total", operation="publish", kind="timeout")
    daprd.fail(TimeoutError("slow"))
    with pytest.raises(SidecarUnavailable):
        await sidecar.publish("task-created", b"{}", "k")
    assert sample("sidecar_failures_total", operation="publish", kind="timeout") == before + 1


async def test_errors_do_not_hold_the_token(sidecar: Sidecar, daprd: Daprd) -> None:
    daprd.fail(aiohttp.ServerDisconnectedError("gone"))
    with pytest.raises(SidecarUnavailable) as caught:
        await sidecar.publish("task-created", b"{}", "k")
    assert "dapr-token-of-the-test" not in repr(caught.value)


async def test_the_sidecar_may_have_a_host_of_its_own(settings: ServiceSettings, daprd: Daprd) -> None:
    apart = settings.model_copy(update={"dapr_runtime_host": "reminders-dapr", "dapr_http_port": 3501})
    await AnsweringSidecar(apart, daprd).publish("task-created", b"{}", "task-1")
    assert (daprd.last.url.host, daprd.last.url.port) == ("reminders-dapr", 3501)
