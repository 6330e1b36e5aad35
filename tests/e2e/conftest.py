"""One whole system for this lane: every service with its sidecar, reminders twice."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import pytest
from tests.e2e.eventually import eventually

from service_kit.testing.spans import SpanCollector, collecting_spans
from stack import Instance

Json = dict[str, Any]


@pytest.fixture(scope="session")
def collector() -> Iterator[SpanCollector]:
    """Where the services of `system` and their sidecars send all their spans."""
    with collecting_spans() as running:
        yield running


@pytest.fixture(scope="session")
def system(collector: SpanCollector) -> Iterator[Instance]:
    """The running instance; afterwards nothing of it is left, neither process nor port."""
    instance = Instance("e2e")
    instance.down(wipe=True)
    instance.up(
        replicas={"reminders": 2},
        env={
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "500",  # milliseconds
            "TRACE_SAMPLE_RATIO": "1",
        },
    )
    pids = [status.pid for status in instance.status() if status.pid is not None]
    ports = [port for status in instance.status() for port in status.ports.values()]
    try:
        yield instance
    finally:
        instance.down(wipe=True)
    left = [
        pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    ]
    assert left == [], "processes that outlived `down`"
    assert [port for port in ports if _listens(port)] == [], "ports that still listen after `down`"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Person:
    """A registered user and their session."""

    system: Instance
    client: httpx.AsyncClient
    email: str
    user_id: str
    password: str

    async def call(self, method: str, path: str, body: Json | None = None) -> Json:
        """One call of task-api that must succeed; its JSON answer."""
        answer = await self.client.request(method, path, json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else {}

    async def inbox(self) -> list[Json]:
        """What notifier keeps for this person, newest first."""
        answer = await self.client.get(f"{self.system.app_url('notifier')}/api/v1/notifications")
        assert answer.is_success, answer.text
        items: list[Json] = answer.json()["items"]
        return items

    async def activity(self, task_id: str) -> list[Json]:
        """The task's ledger, oldest first."""
        items: list[Json] = (await self.call("GET", f"/api/v1/tasks/{task_id}/activity?limit=200"))["items"]
        return items

    def mails(self) -> int:
        """How many mails came for this person."""
        return len(self.system.mail(to=self.email))


async def _all_take_events(system: Instance) -> bool:
    """Whether each app lets its sidecar deliver; after a restart it first waits for what was under way to end."""
    urls = [
        f"http://127.0.0.1:{status.ports['HTTP']}/health/deliveries"
        for status in system.status()
        if "HTTP" in status.ports
    ]
    async with httpx.AsyncClient(timeout=2) as client:
        answers = await asyncio.gather(*(client.get(url) for url in urls), return_exceptions=True)
    return all(isinstance(answer, httpx.Response) and answer.is_success for answer in answers)


async def registered(system: Instance, client: httpx.AsyncClient) -> Person:
    """Register somebody in Berlin, whose token the client sends along from now on."""
    email, password = f"e2e-{secrets.token_hex(6)}@example.com", secrets.token_urlsafe(18)
    answer = await client.post(
        "/api/v1/auth/register",
        json={"email": email, "password": password, "timezone": "Europe/Berlin"},
    )
    assert answer.status_code == 201, answer.text
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return Person(system, client, email, answer.json()["user"]["id"], password)


@pytest.fixture
async def register(system: Instance) -> AsyncIterator[Callable[[], Awaitable[Person]]]:
    """Registers people; their connections are closed at the end of the test."""
    clients: list[httpx.AsyncClient] = []

    async def make() -> Person:
        client = httpx.AsyncClient(base_url=system.app_url("task-api"), timeout=10)
        clients.append(client)
        return await registered(system, client)

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
async def person(system: Instance, register: Callable[[], Awaitable[Person]]) -> Person:
    """One registered user, of a system that has got over the test before."""
    await eventually(lambda: _all_take_events(system), what="deliveries everywhere")
    return await register()
