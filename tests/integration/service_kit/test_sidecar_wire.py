"""The sidecar's client on a real connection: what arrives there, and what becomes of one that fails."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter

import pytest
import pytest_asyncio

from service_kit.settings import ServiceSettings
from service_kit.sidecar import Outgoing, Sidecar, SidecarAbsent, SidecarUnavailable
from service_kit.state_store import StateStore
from service_kit.telemetry import span

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def say(
    writer: asyncio.StreamWriter, status: str = "204 No Content", *lines: str, body: bytes = b""
) -> None:
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}"))
    writer.write(head.encode() + b"\r\n" + body)


@dataclass
class Daprd:
    """Takes requests on a port of loopback and does as it is told with each."""

    port: int = 0
    connections: int = 0
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    behave: Behaviour = say

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                length = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(int(length[0].split(":")[1]) if length else 0))
                await self.behave(writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @property
    def asked_for(self) -> str:
        """The request line of the last one, without the version."""
        return self.heads[-1].split(" HTTP/")[0]


@pytest_asyncio.fixture(loop_scope="session")
async def daprd() -> AsyncIterator[Daprd]:
    one = Daprd()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    yield one
    server.close()


@pytest_asyncio.fixture(loop_scope="session")
async def sidecar(settings: ServiceSettings, daprd: Daprd) -> AsyncIterator[Sidecar]:
    one = Sidecar(settings.model_copy(update={"dapr_http_port": daprd.port}))
    yield one
    await one.aclose()


async def test_bytes_keys_and_tokens_arrive_as_they_are(sidecar: Sidecar, daprd: Daprd) -> None:
    event = '{"title":"Ölwechsel","n":1.50}'.encode()
    await sidecar.publish("task-created", event, "task 1&x/é")
    assert daprd.asked_for == (
        "POST /v1.0/publish/pubsub/task-created?metadata.partitionKey=task%201%26x%2F%C3%A9"
    )
    assert daprd.bodies == [event]
    assert "dapr-api-token: dapr-token\r\n" in daprd.heads[0]
    assert "content-type: application/cloudevents+json" in daprd.heads[0].lower()


async def test_a_key_with_a_slash_stays_one_key(sidecar: Sidecar, daprd: Daprd) -> None:
    await StateStore(sidecar, "statestore").delete("1:a/b c", "7")
    assert daprd.asked_for == "DELETE /v1.0/state/statestore/1%3Aa%2Fb%20c?concurrency=first-write"
    assert "if-match: 7" in daprd.heads[0].lower()


async def test_the_name_of_a_header_may_be_written_in_any_way(sidecar: Sidecar, daprd: Daprd) -> None:
    async def found(writer: asyncio.StreamWriter) -> None:
        await say(writer, "200 OK", "ETag: 12", "Content-Type: application/json", body=b'{"a":1}')

    daprd.behave = found
    stored = await StateStore(sidecar, "statestore").get("k")
    assert stored is not None
    assert (stored.value, stored.etag) == ({"a": 1}, "12")


async def test_a_connection_is_used_again(sidecar: Sidecar, daprd: Daprd) -> None:
    for _ in range(5):
        await sidecar.publish("task-created", b"{}", "k")
    assert (len(daprd.heads), daprd.connections) == (5, 1)


async def test_an_invocation_passes_the_trace_on(sidecar: Sidecar, daprd: Daprd) -> None:
    with span("work"):
        await sidecar.invoke("task-api", "GET", "/internal/v1/epoch", params={"limit": 5})
    assert daprd.asked_for == "GET /v1.0/invoke/task-api/method/internal/v1/epoch?limit=5"
    assert "traceparent: 00-" in daprd.heads[0]


async def test_nobody_listens(settings: ServiceSettings) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    alone = Sidecar(settings.model_copy(update={"dapr_http_port": port}))
    with pytest.raises(SidecarAbsent):
        await alone.check()
    await alone.aclose()


async def test_no_answer_in_time(sidecar: Sidecar, daprd: Daprd) -> None:
    async def hang(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    daprd.behave = hang
    began = perf_counter()
    with pytest.raises(SidecarUnavailable) as caught:
        await sidecar.invoke("task-api", "GET", "/x", timeout=0.2)
    assert not isinstance(caught.value, SidecarAbsent)
    assert perf_counter() - began < 2


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b"no http at all\r\n\r\n"]
)
async def test_a_connection_that_ends_half_way(sidecar: Sidecar, daprd: Daprd, said: bytes) -> None:
    """It may have been done or not: never taken for a refusal, and never for nobody being there."""

    async def break_off(writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.close()

    daprd.behave = break_off
    with pytest.raises(SidecarUnavailable) as caught:
        await sidecar.publish_bulk("task-created", [Outgoing("1", "k", b"{}")])
    assert not isinstance(caught.value, SidecarAbsent)
    assert len(daprd.heads) == 1, "an event is not sent twice by the client itself"


async def test_a_restarted_sidecar_is_found_again(
    settings: ServiceSettings, daprd: Daprd, sidecar: Sidecar
) -> None:
    """The connection that was kept is dead, which is noticed before the next request."""

    async def last_words(writer: asyncio.StreamWriter) -> None:
        await say(writer)
        await writer.drain()
        writer.close()

    daprd.behave = last_words
    await sidecar.publish("task-created", b"{}", "k")
    await asyncio.sleep(0.05)
    await sidecar.publish("task-created", b"{}", "k")
    assert daprd.connections == 2


async def test_no_proxy_of_the_environment_and_no_redirect(
    sidecar: Sidecar, daprd: Daprd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    async def elsewhere(writer: asyncio.StreamWriter) -> None:
        await say(writer, "307 Temporary Redirect", "Location: http://127.0.0.1:1/")

    daprd.behave = elsewhere
    assert (await sidecar.invoke("task-api", "GET", "/x")).status_code == 307
