"""A Redis of a test's own, which it may stop, freeze and start again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.exceptions import RedisError

from service_kit.redis_connection import connect_redis
from service_kit.settings import ServiceSettings
from service_kit.testing.waiting import eventually
from stack.ports import free_ports


class OwnRedis:
    """A redis-server process with its own port and data."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._launch()
        await eventually(self._answers)

    def _launch(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("needs the program redis-server")
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        # What is written outlives the process, and no test takes the machine away: it need not wait for a disk.
        command += ["--appendonly", "yes", "--appendfsync", "no", "--save", ""]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    async def _answers(self) -> bool:
        async with Redis.from_url(self.url) as client:
            try:
                return bool(await client.ping())
            except RedisError:
                return False

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)


@pytest_asyncio.fixture(loop_scope="session")
async def own_redis(tmp_path: Path) -> AsyncIterator[OwnRedis]:
    server = OwnRedis(tmp_path)
    await server.start()
    yield server
    server.kill()


@pytest.fixture
def settings(own_redis: OwnRedis) -> ServiceSettings:
    return ServiceSettings(
        service_name="reminders",
        app_port=8001,
        app_api_token=SecretStr("app-token"),
        dapr_api_token=SecretStr("dapr-token"),
        redis_url=SecretStr(own_redis.url),
    )


@pytest_asyncio.fixture(loop_scope="session")
async def connection(settings: ServiceSettings) -> AsyncIterator[Redis]:
    """The client that a service gets, connected to the test's own Redis."""
    client = connect_redis(settings)
    yield client
    await client.aclose()
