"""A service as a process: it starts, says what is wrong, answers, and leaves in good order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from service_kit import http_app
from service_kit.testing.waiting import eventually
from stack.ports import free_ports

PROGRAM = """
import asyncio
from contextlib import asynccontextmanager
from fastapi import FastAPI
from pydantic import Field
from service_kit.http_app import install_http, on_leaving, serve
from starlette.responses import StreamingResponse
from service_kit.settings import ServiceSettings, load_settings

class Settings(ServiceSettings):
    service_name: str = Field(default="reminders")

settings = load_settings(Settings)

@asynccontextmanager
async def lifespan(app):
    print('{"message": "opened"}', flush=True)
    yield
    print('{"message": "closed"}', flush=True)

def build():
    app = FastAPI(lifespan=lifespan)
    install_http(app, settings)

    @app.get("/slow")
    async def slow() -> str:
        print('{"message": "slow began"}', flush=True)
        await asyncio.sleep(0.7)
        return "done"

    leaving = asyncio.Event()
    on_leaving(app, leaving.set)

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def parts():
            yield b"began"
            await leaving.wait()
            yield b" ended"
        return StreamingResponse(parts())

    @app.get("/client")
    async def client(request: __import__("fastapi").Request) -> str:
        return request.client.host

    return app

serve(build, settings)
"""


class Service:
    """A process that serves, with what it printed."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=5)

    async def answers(self) -> bool:
        try:
            return (await self.client.get("/docs")).status_code == 200
        except httpx.TransportError:
            return False

    async def line(self, message: str) -> dict[str, Any]:
        """The next line with that message."""
        assert self.process.stdout is not None
        async with asyncio.timeout(10):
            while True:
                text = await self.process.stdout.readline()
                assert text, f"no line {message!r} was printed"
                found: dict[str, Any] = json.loads(text)
                if found["message"] == message:
                    return found

    async def end(self) -> tuple[int, str, str]:
        """Exit code, and the rest of both outputs."""
        async with asyncio.timeout(15):
            out, err = await self.process.communicate()
        return int(self.process.returncode or 0), out.decode(), err.decode()


Start = Callable[..., Awaitable[Service]]


@pytest_asyncio.fixture(loop_scope="session")
async def start() -> AsyncIterator[Start]:
    started: list[Service] = []

    async def begin(**environment: str) -> Service:
        port = environment.setdefault("APP_PORT", str(free_ports(1)[0]))
        variables = {
            "PATH": os.environ["PATH"],
            "APP_API_TOKEN": "app-token-123",
            "DAPR_API_TOKEN": "dapr-token-123",
            "REDIS_URL": "redis://:secret-123@127.0.0.1:1/0",
            **environment,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PROGRAM,
            env={name: value for name, value in variables.items() if value},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(Service(process, int(port) if port.isdecimal() else 1))
        return started[-1]

    yield begin
    for service in started:
        if service.process.returncode is None:
            service.process.kill()
            await service.process.communicate()
        await service.client.aclose()


async def test_a_wrong_start_is_sentences_and_nothing_else(start: Start) -> None:
    service = await start(REDIS_URL="", LOG_LEVEL="loud")
    code, out, err = await service.end()
    assert (code, out) == (1, "")
    first, second = err.splitlines()
    assert first.startswith("REDIS_URL is not set: give the address of Redis")
    assert second.startswith("LOG_LEVEL is not valid: ")


async def test_a_busy_port_is_one_sentence(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        service = await start(APP_PORT=str(port))
        code, _, err = await service.end()
    assert code == 1
    assert err == (
        f"Cannot listen on 127.0.0.1:{port} (Address already in use): stop what uses the port, "
        "or set APP_HOST and APP_PORT to an address that is free.\n"
    )


async def test_an_address_that_is_not_ours_is_one_sentence(start: Start) -> None:
    code, _, err = await (await start(APP_HOST="192.0.2.1")).end()
    assert (code, len(err.splitlines())) == (1, 1)


async def test_it_leaves_in_good_order(start: Start) -> None:
    service = await start()
    await eventually(service.answers)
    slow = asyncio.create_task(service.client.get("/slow"))
    await service.line("slow began")
    service.process.send_signal(signal.SIGTERM)
    answer = await slow
    assert (answer.status_code, answer.json()) == (200, "done")
    assert "server" not in answer.headers
    code, out, err = await service.end()
    lines = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert "closed" in [line["message"] for line in lines]
    (request,) = [line for line in lines if line["message"] == "request"]
    assert (request["route"], request["service"], request["status"]) == ("/slow", "reminders", 200)
    assert request["request_id"] == answer.headers["x-request-id"]
    assert len(request["trace_id"]) == 32


async def test_a_stream_hears_that_the_server_leaves_before_it_waits_for_it(start: Start) -> None:
    service = await start()
    await eventually(service.answers)
    began = asyncio.get_running_loop().time()
    async with service.client.stream("GET", "/endless") as answer:
        parts = answer.aiter_text()
        assert await anext(parts) == "began"
        service.process.send_signal(signal.SIGTERM)
        assert "".join([part async for part in parts]) == " ended"
    code, _, err = await service.end()
    assert (code, err) == (0, "")
    assert asyncio.get_running_loop().time() - began < 5


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system does not know it")
async def test_a_connection_that_takes_nothing_is_dropped_by_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_app, "UNREAD_SECONDS", 1)
    listener = http_app._listen("127.0.0.1", 0)
    lost = asyncio.Event()

    class Endless(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.WriteTransport)
            transport.write(b"x" * 30_000_000)
            transport.close()  # waits until everything is taken

        def connection_lost(self, error: Exception | None) -> None:
            lost.set()

    server = await asyncio.get_running_loop().create_server(Endless, sock=listener)
    with socket.create_connection(listener.getsockname()):
        async with asyncio.timeout(20):
            await lost.wait()
    server.close()


async def test_an_interrupt_is_no_traceback(start: Start) -> None:
    service = await start()
    await eventually(service.answers)
    service.process.send_signal(signal.SIGINT)
    code, _, err = await service.end()
    assert (code, err) == (0, "")


@pytest.mark.parametrize(("proxies", "host"), [("", "127.0.0.1"), ("127.0.0.0/8", "203.0.113.9")])
async def test_only_a_trusted_proxy_says_who_the_client_is(start: Start, proxies: str, host: str) -> None:
    service = await start(TRUSTED_PROXIES=proxies)
    await eventually(service.answers)
    answer = await service.client.get("/client", headers={"X-Forwarded-For": "203.0.113.9"})
    assert answer.json() == host


async def test_a_collector_that_is_away_does_not_hold_it_up(start: Start) -> None:
    service = await start(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_ports(1)[0]}")
    await eventually(service.answers)
    began = asyncio.get_running_loop().time()
    service.process.send_signal(signal.SIGTERM)
    code, _, _ = await service.end()
    assert code == 0
    assert asyncio.get_running_loop().time() - began < 6
