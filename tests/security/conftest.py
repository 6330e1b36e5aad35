"""A service as a process of its own on a real socket, spoken to byte by byte."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import psutil
import pytest_asyncio

from service_kit.testing.waiting import eventually
from stack.ports import free_ports

HEAD_SECONDS = 1.0
REQUEST_SECONDS = 2.0
HEAD_BYTES = (8 + 16) * 1024

PROGRAM = f"""
import asyncio
from fastapi import FastAPI, Request
from pydantic import Field
from service_kit import http_protocol
from service_kit.http_app import install_http, serve
from service_kit.settings import ServiceSettings, load_settings

http_protocol.HEAD_SECONDS = {HEAD_SECONDS}

class Settings(ServiceSettings):
    service_name: str = Field(default="reminders")

settings = load_settings(Settings)

def build():
    app = FastAPI()
    install_http(app, settings)

    @app.get("/here")
    async def here(seconds: float = 0) -> str:
        await asyncio.sleep(seconds)
        return "here"

    @app.post("/told")
    async def told(request: Request) -> dict[str, str]:
        body = await request.body()
        return {{"body": body.decode("latin-1"), "headers": ",".join(sorted(request.headers))}}

    return app

serve(build, settings)
"""


@dataclass(frozen=True)
class Served:
    """The process and its port."""

    process: asyncio.subprocess.Process
    port: int

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def say(self, data: bytes, seconds: float = 5.0) -> bytes:
        """Send it and give all that comes until the other side closes. Raises TimeoutError when it does not."""
        reader, writer = await self.open()
        try:
            with suppress(ConnectionError):
                writer.write(data)
                await writer.drain()
            async with asyncio.timeout(seconds):
                return await _all_of(reader)
        finally:
            writer.close()

    async def answers(self) -> bool:
        """Whether it serves somebody else, and at once."""
        try:
            async with asyncio.timeout(0.5):
                return b" 200 OK" in await self.say(
                    b"GET /here HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                )
        except (TimeoutError, OSError):
            return False

    def memory(self) -> int:
        """Resident bytes."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    heard = b""
    with suppress(ConnectionError):
        while part := await reader.read(65536):
            heard += part
    return heard


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def served() -> AsyncIterator[Served]:
    (port,) = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        env={
            "PATH": os.environ["PATH"],
            "APP_PORT": str(port),
            "APP_API_TOKEN": "app-token-123",
            "DAPR_API_TOKEN": "dapr-token-123",
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "REQUEST_TIMEOUT": str(REQUEST_SECONDS),
        },
        stdout=asyncio.subprocess.DEVNULL,
    )
    found = Served(process, port)
    try:
        await eventually(found.answers)
        yield found
    finally:
        process.terminate()
        await process.wait()
