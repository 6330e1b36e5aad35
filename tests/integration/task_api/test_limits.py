"""Rate limits, on a real Redis; and what happens without one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from tests.integration.task_api.conftest import PASSWORD

from service_kit.sidecar import Sidecar
from task_api.app import build
from task_api.settings import Settings


@pytest_asyncio.fixture(loop_scope="session")
async def limited(settings: Settings, engine: Any) -> AsyncIterator[httpx.AsyncClient]:
    """An app of 5 requests a minute for a user, 12 for an address, 3 for logging in."""
    strict = settings.model_copy(
        update={
            "rate_limits_enabled": True, "rate_limit_user": 5, "rate_limit_address": 12, "rate_limit_auth": 3,
        }
    )  # fmt: skip
    async with Redis.from_url(settings.redis_url.get_secret_value(), decode_responses=True) as redis:
        async for key in redis.scan_iter("rate:*"):
            await redis.delete(key)
        sidecar = Sidecar(settings, transport=httpx.MockTransport(lambda _: httpx.Response(503)))
        transport = httpx.ASGITransport(build(strict, engine=engine, redis=redis, sidecar=sidecar))
        async with httpx.AsyncClient(transport=transport, base_url="http://task-api") as client:
            yield client
        await sidecar.aclose()


async def test_logging_in_is_limited_most(limited: httpx.AsyncClient) -> None:
    body = {"email": "nobody@example.org", "password": PASSWORD}
    answers = [await limited.post("/api/v1/auth/login", json=body) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    refused = answers[-1]
    assert 0 < int(refused.headers["retry-after"]) <= 20
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["error_code"] == "too_many_requests"
    assert refused.headers["x-request-id"]
    # Other routes have more left; the refused one counted for none.
    assert (await limited.get("/.well-known/jwks.json")).headers["ratelimit-remaining"] == "8"


async def test_a_user_and_an_address_have_limits_of_their_own(limited: httpx.AsyncClient) -> None:
    made = await limited.post(
        "/api/v1/auth/register", json={"email": f"{uuid4().hex}@example.org", "password": PASSWORD}
    )
    headers = {"Authorization": f"Bearer {made.json()['access_token']}"}
    seen = [(await limited.get("/api/v1/tasks", headers=headers)).status_code for _ in range(6)]
    assert seen == [200] * 5 + [429]
    rest = [(await limited.get("/.well-known/jwks.json")).status_code for _ in range(6)]
    assert rest == [200] * 5 + [429]


async def test_probes_and_metrics_are_free(limited: httpx.AsyncClient) -> None:
    for _ in range(20):
        assert (await limited.get("/health/live")).status_code == 200
        assert (await limited.get("/metrics")).status_code == 200


async def test_without_redis_everybody_may_pass(settings: Settings, engine: Any) -> None:
    strict = settings.model_copy(update={"rate_limits_enabled": True, "rate_limit_auth": 1})
    nowhere = Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2)
    sidecar = Sidecar(settings, transport=httpx.MockTransport(lambda _: httpx.Response(503)))
    transport = httpx.ASGITransport(build(strict, engine=engine, redis=nowhere, sidecar=sidecar))
    async with httpx.AsyncClient(transport=transport, base_url="http://task-api") as client:
        body = {"email": "nobody@example.org", "password": PASSWORD}
        seen = [(await client.post("/api/v1/auth/login", json=body)).status_code for _ in range(3)]
        metrics = (await client.get("/metrics")).text
    assert seen == [401] * 3
    skipped = next(line for line in metrics.splitlines() if line.startswith("rate_limit_skipped_total "))
    assert float(skipped.split()[1]) >= 3
    await sidecar.aclose()
    await nowhere.aclose()


@pytest.mark.parametrize("body", [{"email": "a@example.org", "password": PASSWORD}])
async def test_registration_can_be_closed(settings: Settings, engine: Any, body: dict[str, str]) -> None:
    closed = settings.model_copy(update={"registration_open": False})
    async with Redis.from_url(settings.redis_url.get_secret_value(), decode_responses=True) as redis:
        sidecar = Sidecar(settings, transport=httpx.MockTransport(lambda _: httpx.Response(503)))
        transport = httpx.ASGITransport(build(closed, engine=engine, redis=redis, sidecar=sidecar))
        async with httpx.AsyncClient(transport=transport, base_url="http://task-api") as client:
            answer = await client.post("/api/v1/auth/register", json=body)
        await sidecar.aclose()
    assert (answer.status_code, answer.json()["error_code"]) == (403, "registration_closed")
