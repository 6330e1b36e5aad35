"""Health: what is asked, how long it may take, what is told, what is kept and logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from time import perf_counter

import httpx
import pytest
from fastapi import FastAPI
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service_kit import health
from service_kit.health import Dependency, install_health
from service_kit.settings import ServiceSettings


class Switch:
    """A dependency that a test turns on and off."""

    def __init__(self, name: str, *, critical: bool = True) -> None:
        self.name = name
        self.error: Exception | None = None
        self.delay = 0.0
        self.asked = 0
        self.dependency = Dependency(name, self.check, critical)

    async def check(self) -> None:
        self.asked += 1
        await asyncio.sleep(self.delay)
        if self.error is not None:
            raise self.error


@pytest.fixture
def redis() -> Switch:
    return Switch("redis")


@pytest.fixture
def kafka() -> Switch:
    return Switch("kafka", critical=False)


@pytest.fixture(autouse=True)
def installed(app: FastAPI, settings: ServiceSettings, redis: Switch, kafka: Switch) -> None:
    install_health(app, settings, [redis.dependency, kafka.dependency])


class Seconds:
    """The seconds that health counts by."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def seconds(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    passing = Seconds()
    monkeypatch.setattr(health, "monotonic", passing)
    return passing


async def test_the_body_is_that_of_the_api(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health")
    body = answer.json()
    assert answer.status_code == 200
    assert datetime.fromisoformat(body.pop("timestamp")).tzinfo is not None
    times = [one.pop("response_time_ms") for one in body["dependencies"]]
    assert all(0 <= time < 500 for time in times)
    assert body == {
        "status": "healthy",
        "service": "reminders",
        "version": "0.1.0",
        "dependencies": [{"name": "redis", "available": True}, {"name": "kafka", "available": True}],
    }


async def test_a_critical_dependency_makes_it_unhealthy(client: httpx.AsyncClient, redis: Switch) -> None:
    redis.error = RedisConnectionError("Error 111 connecting to redis.internal:6379 with hunter2")
    answer = await client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
    assert answer.json()["dependencies"][0]["error"] == "unavailable"
    assert "internal" not in answer.text
    assert "hunter2" not in answer.text
    assert (await client.get("/health/ready")).status_code == 503


async def test_another_one_is_only_shown(client: httpx.AsyncClient, kafka: Switch) -> None:
    kafka.error = OSError("no route to kafka.internal")
    answer = await client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "healthy")
    assert answer.json()["dependencies"][1]["available"] is False
    ready = await client.get("/health/ready")
    assert ready.status_code == 200
    assert [one["name"] for one in ready.json()["dependencies"]] == ["redis"]


async def test_being_alive_asks_nobody(client: httpx.AsyncClient, redis: Switch) -> None:
    redis.error = OSError()
    answer = await client.get("/health/live")
    assert (answer.status_code, answer.json()["dependencies"], redis.asked) == (200, [], 0)


async def test_slow_dependencies_are_given_up_together(
    client: httpx.AsyncClient, redis: Switch, kafka: Switch
) -> None:
    redis.delay = kafka.delay = 30.0
    began = perf_counter()
    answer = await client.get("/health")
    assert perf_counter() - began < 0.9
    assert [one["error"] for one in answer.json()["dependencies"]] == ["timeout", "timeout"]
    assert answer.status_code == 503


async def test_a_clients_own_timeout_is_a_timeout(client: httpx.AsyncClient, redis: Switch) -> None:
    redis.error = RedisTimeoutError("Timeout reading from socket")
    assert (await client.get("/health")).json()["dependencies"][0]["error"] == "timeout"


async def test_those_who_ask_at_once_share_one_check(client: httpx.AsyncClient, redis: Switch) -> None:
    redis.delay = 0.05
    answers = await asyncio.gather(*(client.get("/health") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert redis.asked == 1
    await client.get("/health")
    assert redis.asked == 1


async def test_one_who_hangs_up_does_not_end_the_check_for_others(
    client: httpx.AsyncClient, redis: Switch
) -> None:
    redis.delay = 0.05
    first = asyncio.create_task(client.get("/health"))
    second = asyncio.create_task(client.get("/health"))
    await asyncio.sleep(0.01)
    first.cancel()
    assert (await second).status_code == 200
    assert redis.asked == 1


@pytest.mark.parametrize(("path", "kept_for"), [("/health", 5.0), ("/health/ready", 0.5)])
async def test_an_answer_is_kept_for_a_while(
    client: httpx.AsyncClient, redis: Switch, seconds: Seconds, path: str, kept_for: float
) -> None:
    await client.get(path)
    seconds.now += kept_for - 0.01
    await client.get(path)
    assert redis.asked == 1
    seconds.now += 0.02
    await client.get(path)
    assert redis.asked == 2


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/health/live", "/health/deliveries"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_only_get_is_answered(client: httpx.AsyncClient, path: str, method: str) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]


async def test_only_changes_are_logged(
    client: httpx.AsyncClient, redis: Switch, seconds: Seconds, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "service_kit.health")
    for error in (None, OSError("db.internal"), OSError("db.internal"), None, None):
        redis.error = error
        seconds.now += 6
        await client.get("/health")
    told = [(record.levelname, record.getMessage().split()[0]) for record in caplog.records]
    assert [line for line in told if line[1].startswith("dependency")] == [
        ("WARNING", "dependency_lost"),
        ("INFO", "dependency_back"),
    ]
    assert "db.internal" not in caplog.text


async def test_checks_are_measured(
    client: httpx.AsyncClient, redis: Switch, sample: Callable[..., float]
) -> None:
    before = sample("health_check_total", status="unhealthy")
    timed = sample("health_check_duration_seconds_count", status="unhealthy")
    redis.error = OSError()
    await client.get("/health")
    assert sample("health_check_total", status="unhealthy") == before + 1
    assert sample("health_check_duration_seconds_count", status="unhealthy") == timed + 1
    assert sample("dependency_available", dependency="redis") == 0
    assert sample("dependency_available", dependency="kafka") == 1


async def test_a_store_that_is_slow_stops_no_deliveries(client: httpx.AsyncClient, redis: Switch) -> None:
    redis.delay = 0.7
    answers = await asyncio.gather(client.get("/health/ready"), client.get("/health/deliveries"))
    assert [answer.status_code for answer in answers] == [503, 200]
