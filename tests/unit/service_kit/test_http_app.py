"""What stands around every route: ids, metrics, access log, limits, headers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from service_kit.http_app import MAX_BODY_BYTES, install_http, mark_quiet
from service_kit.http_middleware import BodyBound
from service_kit.settings import ServiceSettings
from service_kit.telemetry import correlation_id, current_traceparent, request_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Note(BaseModel):
    text: str


@pytest.fixture(autouse=True)
def routes(app: FastAPI) -> None:
    inner = APIRouter(prefix="/inner")

    @inner.get("/{part}")
    async def part(part: str) -> str:
        return part

    outer = APIRouter()
    outer.include_router(inner, prefix="/outer")
    app.include_router(outer, prefix="/api")

    @app.get("/ids")
    async def ids() -> dict[str, str | None]:
        return {
            "request": request_id(),
            "correlation": correlation_id(),
            "traceparent": current_traceparent(),
        }

    @app.get("/tasks/{task_id}")
    async def task(task_id: str) -> str:
        return task_id

    @app.post("/notes")
    async def note(note: Note) -> int:
        return len(note.text)

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @app.get("/quiet")
    async def quiet(request: Request, fail: bool = False) -> None:
        mark_quiet(request)
        if fail:
            raise RuntimeError("loud")


async def test_a_request_id_is_echoed(client: httpx.AsyncClient) -> None:
    answer = await client.get("/ids", headers={"X-Request-ID": "mine-1", "X-Correlation-ID": "chain-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.json()["request"] == "mine-1"
    assert answer.json()["correlation"] == "chain-1"


@pytest.mark.parametrize("bad", ["", "a b", "x" * 129, 'x"\n', "<script>"])
async def test_a_missing_or_odd_request_id_is_made_anew(client: httpx.AsyncClient, bad: str) -> None:
    answer = await client.get("/ids", headers={"X-Request-ID": bad.replace("\n", "\t")})
    made = answer.headers["x-request-id"]
    assert str(UUID(made)) == made
    assert answer.json()["request"] == answer.json()["correlation"] == made


async def test_ids_do_not_outlive_their_request(client: httpx.AsyncClient) -> None:
    await client.get("/ids")
    assert (request_id(), correlation_id(), current_traceparent()) == (None, None, None)


async def test_a_request_continues_the_callers_trace(client: httpx.AsyncClient) -> None:
    sent = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    inside = (await client.get("/ids", headers=sent)).json()["traceparent"]
    assert inside.split("-")[1] == TRACE
    assert "00f067aa0ba902b7" not in inside
    own = (await client.get("/ids")).json()["traceparent"]
    assert own.split("-")[1] != TRACE


@pytest.mark.parametrize(
    ("path", "route", "status"),
    [
        ("/tasks/7", "/tasks/{task_id}", "200"),
        ("/api/outer/inner/x", "/api/outer/inner/{part}", "200"),
        ("/no/such/place", "unmatched", "404"),
    ],
)
async def test_requests_are_counted_by_the_routes_template(
    client: httpx.AsyncClient, sample: Callable[..., float], path: str, route: str, status: str
) -> None:
    labels = {"method": "GET", "route": route, "status": status}
    before = sample("http_requests_total", **labels)
    timed = sample("http_request_duration_seconds_count", method="GET", route=route)
    await client.get(path)
    assert sample("http_requests_total", **labels) == before + 1
    assert sample("http_request_duration_seconds_count", method="GET", route=route) == timed + 1
    assert sample("http_requests_in_progress") == 0


async def test_made_up_methods_do_not_grow_the_metrics(
    client: httpx.AsyncClient, sample: Callable[..., float]
) -> None:
    await client.request("BREW", "/tasks/7")
    assert sample("http_requests_total", method="OTHER", route="/tasks/{task_id}", status="405") >= 1


async def test_metrics_are_served(client: httpx.AsyncClient) -> None:
    await client.get("/tasks/7")
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'http_requests_total{method="GET",route="/tasks/{task_id}",status="200"}' in answer.text


async def test_each_request_is_one_line(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "service_kit.access")
    await client.get("/tasks/7?secret=hunter2")
    await client.get("/nowhere")
    lines = [record.getMessage() for record in caplog.records if record.name == "service_kit.access"]
    assert len(lines) == 2
    assert "path=/tasks/7 route=/tasks/{task_id} status=200" in lines[0]
    assert "status=404" in lines[1]
    assert "hunter2" not in "".join(lines)


async def test_probes_and_quiet_routes_are_logged_only_when_they_fail(
    client: httpx.AsyncClient, app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "service_kit.access")
    for path in ("/metrics", "/quiet"):
        await client.get(path)
    assert caplog.records == []
    await client.get("/health/ready")
    await client.get("/quiet?fail=true")
    assert [record.levelname for record in caplog.records if record.name == "service_kit.access"] == [
        "INFO",
        "WARNING",
    ]


async def test_answers_carry_security_headers(client: httpx.AsyncClient) -> None:
    for path in ("/tasks/7", "/nowhere"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
async def test_documentation_is_served(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert ("content-security-policy" in answer.headers) == (path == "/openapi.json")


async def test_the_largest_body_passes(client: httpx.AsyncClient) -> None:
    assert (await client.post("/raw", content=b"x" * MAX_BODY_BYTES)).json() == MAX_BODY_BYTES


async def test_a_path_may_take_more_and_has_its_own_bound(settings: ServiceSettings) -> None:
    service = FastAPI()
    bound = BodyBound(2 * MAX_BODY_BYTES, "Send it in parts.")
    install_http(service, settings, larger_bodies={"/files": bound})

    async def size(request: Request) -> int:
        return len(await request.body())

    for path in ("/files", "/other"):
        service.add_api_route(path, size, methods=["POST"])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service), base_url="http://test") as caller:
        assert (await caller.post("/files", content=b"x" * bound.max_bytes)).status_code == 200
        for path, length, detail in [
            (
                "/files",
                bound.max_bytes + 1,
                f"The body may have {bound.max_bytes} bytes at most. Send it in parts.",
            ),
            ("/other", MAX_BODY_BYTES + 1, f"The body may have {MAX_BODY_BYTES} bytes at most."),
        ]:
            answer = await caller.post(path, content=b"x" * length)
            assert (answer.status_code, answer.json()["detail"]) == (413, detail)


async def test_an_announced_body_that_is_too_large_is_refused_at_once(client: httpx.AsyncClient) -> None:
    answer = await client.post("/raw", content=b"x" * (MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.json()["error_code"]) == (413, "body_too_large")
    assert answer.headers["connection"] == "close"
    assert "x-request-id" in answer.headers


@pytest.mark.parametrize("path", ["/raw", "/notes"])
async def test_a_streamed_body_is_counted(client: httpx.AsyncClient, path: str) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(40):
            sent += 1
            yield b" " * 65_536

    answer = await client.post(path, content=chunks(), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error_code"]) == (413, "body_too_large")
    assert sent <= 18


async def test_a_length_that_is_no_number_is_not_trusted(client: httpx.AsyncClient) -> None:
    answer = await client.post("/raw", content=b"x", headers={"content-length": "-5"})
    assert answer.status_code == 200


async def test_other_origins_are_not_let_in_by_default(client: httpx.AsyncClient) -> None:
    answer = await client.get("/ids", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


async def test_named_origins_are_let_in(settings: ServiceSettings) -> None:
    service = FastAPI()
    install_http(service, settings.model_copy(update={"cors_allowed_origins": ("https://app.example",)}))
    transport = httpx.ASGITransport(service)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as caller:
        ask = {
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "authorization,if-match,last-event-id",
        }
        allowed = await caller.options("/docs", headers=ask)
        other = await caller.options("/docs", headers=ask | {"Origin": "https://evil.example"})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-origin" not in other.headers
    assert "x-request-id" in allowed.headers


async def test_streams_are_passed_on_as_they_come(app: FastAPI) -> None:
    second = asyncio.Event()

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            await second.wait()
            yield b"two"

        return StreamingResponse(parts())

    seen: list[bytes] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and message.get("body"):
            seen.append(message["body"])
            second.set()

    async def receive() -> Any:
        await asyncio.Event().wait()

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/stream",
        "raw_path": b"/stream",
        "query_string": b"",
        "headers": [(b"host", b"test")],
        "root_path": "",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("test", 80),
        "client": ("test", 1),
    }
    async with asyncio.timeout(5):
        await app(scope, receive, send)
    assert seen == [b"one", b"two"]


async def test_an_answer_that_breaks_half_way_is_logged_and_cut_off(
    app: FastAPI, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/half")
    async def half() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            raise RuntimeError("gone")

        return StreamingResponse(parts())

    with pytest.raises(RuntimeError, match="gone"):
        await client.get("/half")
    assert any("request_failed" in record.getMessage() for record in caplog.records)


async def test_a_wrong_method_is_told_all_that_the_address_answers(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    app.add_api_route("/things/{thing}", lambda thing: thing, methods=["GET"])
    app.add_api_route("/things/{thing}", lambda thing: thing, methods=["PATCH", "DELETE"])
    answer = await client.put("/things/1")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, GET, PATCH"


@pytest.mark.parametrize("fails", [False, True])
async def test_a_token_in_a_path_is_not_logged(
    app: FastAPI, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, fails: bool
) -> None:
    @app.post("/undo/{token}/of/{task_id}")
    async def undo(token: str, task_id: int) -> None:
        if fails:
            raise RuntimeError("a bug")

    with caplog.at_level("INFO"):
        await client.post("/undo/opens-it/of/7")
    ours = [one.getMessage() for one in caplog.records if one.name.startswith("service_kit")]
    assert len(ours) == 1 + fails
    assert all("path=/undo/***/of/7" in line for line in ours)
