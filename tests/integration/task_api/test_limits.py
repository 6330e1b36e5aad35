"""Rate limits, on a real Redis; and what happens without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text
from tests.integration.task_api.conftest import PASSWORD, Hooks

from service_kit.sidecar import Answer
from service_kit.testing.fakes import AnsweringSidecar
from task_api.adapters.postgres.database import connect
from task_api.app import build
from task_api.settings import Settings


@pytest_asyncio.fixture(loop_scope="session")
async def limited(settings: Settings, engine: Any, hooks: Hooks) -> AsyncIterator[httpx.AsyncClient]:
    """An app of 5 requests a minute for a user, 12 for an address, 3 for logging in."""
    strict = settings.model_copy(
        update={
            "rate_limits_enabled": True, "rate_limit_user": 5, "rate_limit_address": 12, "rate_limit_auth": 3,
        }
    )  # fmt: skip
    async with Redis.from_url(settings.redis_url.get_secret_value(), decode_responses=True) as redis:
        await forget(redis)
        sidecar = AnsweringSidecar(settings, lambda _: Answer(503))
        transport = httpx.ASGITransport(build(strict, engine=engine, redis=redis, sidecar=sidecar))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://task-api", event_hooks=hooks
        ) as client:
            yield client
        await sidecar.aclose()
        # Other tests come from the same address.
        await forget(redis)


async def forget(redis: Redis) -> None:
    async for key in redis.scan_iter("rate:*"):
        await redis.delete(key)


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


async def test_guessing_calendars_is_limited_and_keeps_nobody_from_logging_in(
    limited: httpx.AsyncClient,
) -> None:
    guesses = [(await limited.get("/api/v1/calendar.ics?token=guess")).status_code for _ in range(4)]
    assert guesses == [404, 404, 404, 429]
    body = {"email": "nobody@example.org", "password": PASSWORD}
    assert (await limited.post("/api/v1/auth/login", json=body)).status_code == 401


async def test_a_user_and_an_address_have_limits_of_their_own(limited: httpx.AsyncClient) -> None:
    made = await limited.post(
        "/api/v1/auth/register", json={"email": f"{uuid4().hex}@example.org", "password": PASSWORD}
    )
    headers = {"Authorization": f"Bearer {made.json()['access_token']}"}
    seen = [(await limited.get("/api/v1/tasks", headers=headers)).status_code for _ in range(6)]
    assert seen == [200] * 5 + [429]
    rest = [(await limited.get("/.well-known/jwks.json")).status_code for _ in range(6)]
    assert rest == [200] * 5 + [429]


async def test_answers_tell_the_limit_that_leaves_least(limited: httpx.AsyncClient) -> None:
    made = await limited.post(
        "/api/v1/auth/register", json={"email": f"{uuid4().hex}@example.org", "password": PASSWORD}
    )
    # The third part of three a minute is paid off in 20 s.
    assert told(made) == ("3", "2", "20")
    headers = {"Authorization": f"Bearer {made.json()['access_token']}"}
    answers = [await limited.get("/api/v1/tasks", headers=headers) for _ in range(6)]
    assert [told(answer)[:2] for answer in answers] == [("5", left) for left in "432100"]
    resets = [int(answer.headers["ratelimit-reset"]) for answer in answers]
    assert all(12 * (1 + n) - 3 <= reset <= 12 * (1 + n) for n, reset in enumerate(resets[:5])), resets
    # A refusal tells when one request is there again, in both headers alike.
    assert answers[5].headers["retry-after"] == answers[5].headers["ratelimit-reset"]
    assert 0 < resets[5] <= 12
    alias = await limited.get("/api/v1/todos", headers=headers)
    assert (alias.status_code, told(alias)[0]) == (429, "5")
    # Twelve an address: nine were asked, and the refused ones counted there.
    assert told(await limited.get("/.well-known/jwks.json"))[:2] == ("12", "3")


def told(answer: httpx.Response) -> tuple[str, str, str]:
    limit, left, reset = (answer.headers[f"ratelimit-{name}"] for name in ("limit", "remaining", "reset"))
    return limit, left, reset


async def test_a_write_that_takes_too_long_changes_nothing_and_frees_its_connection(
    settings: Settings, ada: Any, engine: Any, redis: Any
) -> None:
    """The row is held by another transaction until the time is over, and let go afterwards."""
    task = await ada.create()
    hasty = settings.model_copy(update={"request_timeout": 0.3})
    own = connect(settings.database_url.get_secret_value(), pool_size=1)
    sidecar = AnsweringSidecar(settings, lambda _: Answer(503))
    transport = httpx.ASGITransport(build(hasty, engine=own, redis=redis, sidecar=sidecar))
    path = f"/api/v1/tasks/{task['id']}"
    async with httpx.AsyncClient(
        transport=transport, base_url="http://task-api", headers=ada.headers
    ) as client:
        async with engine.begin() as holder:
            await holder.execute(text("SELECT 1 FROM tasks WHERE id = :id FOR UPDATE"), {"id": task["id"]})
            given_up = await client.patch(path, json={"title": "too late"})
        assert (given_up.status_code, given_up.json()["error_code"]) == (503, "request_timeout")
    assert (await ada.call("GET", path, 200)).json()["title"] == task["title"]
    # A free connection at once, out of a pool of one.
    async with asyncio.timeout(3), own.connect():
        pass
    await sidecar.aclose()
    await own.dispose()


async def test_probes_and_metrics_are_free(limited: httpx.AsyncClient) -> None:
    for _ in range(20):
        assert (await limited.get("/health/live")).status_code == 200
        assert (await limited.get("/metrics")).status_code == 200


async def test_without_redis_everybody_may_pass(settings: Settings, engine: Any) -> None:
    strict = settings.model_copy(update={"rate_limits_enabled": True, "rate_limit_auth": 1})
    nowhere = Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2)
    sidecar = AnsweringSidecar(settings, lambda _: Answer(503))
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
        sidecar = AnsweringSidecar(settings, lambda _: Answer(503))
        transport = httpx.ASGITransport(build(closed, engine=engine, redis=redis, sidecar=sidecar))
        async with httpx.AsyncClient(transport=transport, base_url="http://task-api") as client:
            answer = await client.post("/api/v1/auth/register", json=body)
        await sidecar.aclose()
    assert (answer.status_code, answer.json()["error_code"]) == (403, "registration_closed")
