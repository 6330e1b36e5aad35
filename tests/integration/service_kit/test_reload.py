"""A service that is told to reload: what is saved is served a moment later, and what cannot be run ends nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest_asyncio

from service_kit.testing.waiting import eventually
from stack.ports import free_ports

_MAIN = """
from fastapi import FastAPI
from service_kit.http_app import serve
from service_kit.settings import ServiceSettings, load_settings
from tiny.answer import ANSWER

def build():
    app = FastAPI()

    @app.get("/")
    async def answer() -> str:
        return ANSWER

    return app

if __name__ == "__main__":
    settings = load_settings(ServiceSettings)
    serve(build, settings)
"""


class Tiny:
    """A service of two files, started by `python -m tiny` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.package = folder / "tiny"
        self.package.mkdir()
        (self.package / "__init__.py").touch()
        (self.package / "__main__.py").write_text(_MAIN)
        self.save("ANSWER = 'first'\n")
        (port,) = free_ports(1)
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=5)
        variables = {
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "SERVICE_NAME": "reminders",
            "APP_PORT": str(port),
            "APP_API_TOKEN": "app-token-123",
            "DAPR_API_TOKEN": "dapr-token-123",
            "REDIS_URL": "redis://:secret-123@127.0.0.1:1/0",
            "RELOAD": "true",
        }
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tiny"], cwd=folder, env=variables, stdout=output, stderr=output
            )

    def save(self, source: str) -> None:
        (self.package / "answer.py").write_text(source)

    def says(self, answer: str) -> Callable[[], Awaitable[bool]]:
        async def asked() -> bool:
            assert self.process.poll() is None, self.output.read_text()
            try:
                return bool((await self.client.get("/")).json() == answer)
            except httpx.TransportError:
                return False

        return asked


@pytest_asyncio.fixture(loop_scope="session")
async def tiny(tmp_path: Path) -> AsyncIterator[Tiny]:
    service = Tiny(tmp_path)
    yield service
    if service.process.poll() is None:
        service.process.kill()
    service.process.wait(10)
    await service.client.aclose()


async def test_what_is_saved_is_served_by_the_same_container(tiny: Tiny) -> None:
    await eventually(tiny.says("first"))
    tiny.save("ANSWER = 'second'\n")
    await eventually(tiny.says("second"))
    tiny.save("ANSWER = 'first'\n")
    await eventually(tiny.says("first"))
    tiny.process.send_signal(signal.SIGTERM)
    assert tiny.process.wait(15) == 0, tiny.output.read_text()


async def test_a_source_that_cannot_be_run_waits_to_be_saved_again(tiny: Tiny) -> None:
    await eventually(tiny.says("first"))
    tiny.save("ANSWER = \n")

    async def broken() -> bool:
        return "SyntaxError" in tiny.output.read_text()

    await eventually(broken)
    tiny.save("ANSWER = 'mended'\n")
    await eventually(tiny.says("mended"))
