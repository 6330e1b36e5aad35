"""What a request may be and take, asked of a real server: a transport in the process would not limit the same."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, SecretStr
from starlette.responses import StreamingResponse

from service_kit.http_app import _server_config, install_http
from service_kit.problems import CONTENT_TYPE
from service_kit.settings import ServiceSettings
from service_kit.testing.waiting import eventually

TIMEOUT = 0.3


class Note(BaseModel):
    text: str


def service() -> tuple[FastAPI, ServiceSettings]:
    settings = ServiceSettings(
        service_name="reminders",
        app_port=8001,
        app_api_token=SecretStr("app-token-of-the-test"),
        dapr_api_token=SecretStr("dapr-token-of-the-test"),
        redis_url=SecretStr("redis://127.0.0.1:1/0"),
        request_timeout=TIMEOUT,
        cors_allowed_origins=("https://app.example",),
    )
    app = FastAPI()
    install_http(app, settings)

    @app.post("/notes")
    async def note(body: Note) -> str:
        return body.text

    @app.post("/optional")
    async def optional(body: Note | None = None) -> str:
        return "nothing" if body is None else body.text

    @app.api_route("/slow", methods=["GET", "POST"])
    async def slow() -> None:
        await asyncio.sleep(30)

    @app.get("/gives-up")
    async def gives_up() -> None:
        raise TimeoutError

    async def parts(pause: float) -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"part "
            await asyncio.sleep(pause)

    @app.get("/stream")
    async def stream(pause: float) -> StreamingResponse:
        return StreamingResponse(parts(pause))

    return app, settings


@pytest_asyncio.fixture(loop_scope="session")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app, settings = service()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(_server_config(app, settings))

        async def started() -> bool:
            return server.started

        serving = asyncio.create_task(server.serve(sockets=[listener]))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=address) as caller:
            await eventually(started)
            yield caller
        server.should_exit = True
        await serving


def told(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == CONTENT_TYPE, answer.text
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    return answer.status_code, answer.json()["error_code"]


@pytest.mark.parametrize("length", [8_192, 8_193])
async def test_an_address_has_a_longest(client: httpx.AsyncClient, length: int) -> None:
    path = "/optional?q="
    answer = await client.post(path + "x" * (length - len(path) + 1))
    if length == 8_192:
        assert answer.status_code == 200
    else:
        assert told(answer) == (414, "url_too_long")
        assert "8192 bytes" in answer.json()["detail"]


async def test_headers_have_a_size_together(client: httpx.AsyncClient) -> None:
    many = {f"x-{number}": "y" * 990 for number in range(15)}
    assert (await client.post("/optional", headers=many)).status_code == 200
    answer = await client.post("/optional", headers=many | {"x-15": "y" * 990, "x-16": "y" * 990})
    assert told(answer) == (431, "headers_too_large")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(("encoding", "status"), [("identity", 200), ("gzip", 415), ("br, identity", 415)])
async def test_an_encoded_body_is_not_taken(client: httpx.AsyncClient, encoding: str, status: int) -> None:
    answer = await client.post("/notes", json={"text": "x"}, headers={"Content-Encoding": encoding})
    assert answer.status_code == status
    if status == 415:
        assert told(answer) == (415, "unsupported_encoding")
        assert answer.headers["accept-encoding"] == "identity"
        assert answer.json()["errors"][0]["field"] == "content-encoding"


@pytest.mark.parametrize("path", ["/notes", "/optional"])
@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/cloudevents+json", 200),
        ("text/plain", 415),
        ("text/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        (None, 415),
    ],
)
async def test_a_body_says_that_it_is_json(
    client: httpx.AsyncClient, path: str, media_type: str | None, status: int
) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    answer = await client.post(path, content=b'{"text": "x"}', headers=headers)
    assert answer.status_code == status, answer.text
    if status == 415:
        assert told(answer) == (415, "unsupported_media_type")
        assert answer.headers["accept"] == "application/json"
        assert answer.json()["errors"][0]["field"] == "content-type"


async def test_a_missing_or_wrong_body_is_no_question_of_its_type(client: httpx.AsyncClient) -> None:
    assert told(await client.post("/notes")) == (422, "invalid_request")
    assert told(await client.post("/notes", json=["x"])) == (422, "invalid_request")
    assert (await client.post("/optional")).status_code == 200


async def test_a_request_that_takes_too_long_is_given_up(client: httpx.AsyncClient) -> None:
    read = await client.get("/slow", headers={"Origin": "https://app.example"})
    assert told(read) == (503, "request_timeout")
    assert read.headers["retry-after"] == "1"
    assert read.headers["access-control-allow-origin"] == "https://app.example"
    written = await client.post("/slow")
    assert told(written) == (503, "request_timeout")
    # Nothing invites programs to do it again, and the detail does not claim that nothing was done.
    assert "retry-after" not in written.headers
    assert "not known" in written.json()["detail"]
    assert "Idempotency-Key" in written.json()["detail"]


async def test_the_time_limits_of_others_are_not_explained_as_this_one(client: httpx.AsyncClient) -> None:
    assert told(await client.get("/gives-up")) == (500, "internal_error")


async def test_a_stream_may_last_but_not_stand_still(client: httpx.AsyncClient) -> None:
    whole = await client.get(f"/stream?pause={TIMEOUT / 2}")
    assert whole.text == "part " * 4
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(f"/stream?pause={TIMEOUT * 2}")


async def test_pages_of_other_origins_may_read_what_answers_tell(client: httpx.AsyncClient) -> None:
    answer: Any = await client.post("/optional", headers={"Origin": "https://app.example"})
    exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert exposed >= {
        "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After", "ETag", "Location",
        "X-Request-ID", "X-Undo-Token",
    }  # fmt: skip
