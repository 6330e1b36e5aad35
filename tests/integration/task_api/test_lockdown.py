"""The emergency stop: pulled in the database, obeyed by the service, and what was open before stays shut after."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from tests.integration.task_api.conftest import PASSWORD, Person
from tests.integration.task_api.test_serving import served

from service_kit.sidecar import Answer
from service_kit.testing.fakes import AnsweringSidecar
from task_api.adapters.postgres.database import connect
from task_api.app import build
from task_api.migrations.runner import migrate
from task_api.settings import Settings, asyncpg_url

TASKS = "/api/v1/tasks"


@pytest.fixture
async def alone(fresh_database: Any, settings: Settings) -> Settings:
    """The settings of an installation of its own: nobody else may be locked out."""
    url = asyncpg_url(await fresh_database())
    await migrate(url)
    values = settings.model_dump() | {"database_url": url}
    return Settings(**values)


@pytest.fixture
async def operate(alone: Settings) -> Any:
    """Run `taskstream lockdown` with these arguments; gives what it printed."""

    async def run(*arguments: str, expect: int = 0) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "taskstream_cli",
            "lockdown",
            *arguments,
            env={"PATH": os.environ["PATH"], "DATABASE_URL": alone.database_url.get_secret_value()},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == expect, said.decode()
        return said.decode()

    return run


async def register(http: httpx.AsyncClient) -> Person:
    body = {"email": "ada@example.org", "password": PASSWORD}
    answer = await http.post("/api/v1/auth/register", json=body)
    assert answer.status_code == 201, answer.text
    tokens = answer.json()
    return Person(tokens["user"]["id"], "ada@example.org", tokens, http)


async def until(http: httpx.AsyncClient, status: int) -> None:
    """Return when a login is answered so; it has 5 s, and the service a second."""
    body = {"email": "nobody@example.org", "password": PASSWORD}
    async with asyncio.timeout(5):
        while (  # noqa: ASYNC110 - the service tells nobody
            await http.post("/api/v1/auth/login", json=body)
        ).status_code != status:
            await asyncio.sleep(0.05)


async def test_a_stop_closes_everything_and_ends_what_was_open(alone: Settings, operate: Any) -> None:
    async with served(alone) as (http, _):
        ada = await register(http)
        key = (
            await ada.call("POST", "/api/v1/api-keys", 201, json={"name": "k", "scopes": ["tasks:read"]})
        ).json()
        with_key = {"Authorization": f"Bearer {key['key']}"}
        assert (await http.get(TASKS, headers=with_key)).status_code == 200, "kept in memory from here on"
        assert await operate("--status") == "open\n"

        assert "1 sessions and 1 API keys ended" in await operate("--yes", "--reason", "stolen laptop")
        await until(http, 503)
        for method, path, headers in (
            ("GET", TASKS, ada.headers),
            ("GET", TASKS, with_key),
            ("GET", "/api/v1/todos", ada.headers),
            ("POST", "/api/v1/auth/register", {}),
            ("POST", "/internal/v1/actions", {}),
        ):
            answer = await http.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["error_code"]) == (503, "locked_down"), path
        assert (await http.get("/health/live")).status_code == 200
        assert "stolen laptop" in await operate("--status")

        assert "open again" in await operate("--lift")
        await until(http, 401)
        assert (await http.get(TASKS, headers=ada.headers)).status_code == 401
        assert (await http.get(TASKS, headers=with_key)).status_code == 401
        refresh = {"refresh_token": ada.tokens["refresh_token"]}
        assert (await http.post("/api/v1/auth/refresh", json=refresh)).status_code == 401
        login = {"email": ada.email, "password": PASSWORD}
        assert (await http.post("/api/v1/auth/login", json=login)).status_code == 200
        assert "nothing to do" in await operate("--lift")


@pytest.fixture
async def unlooking(alone: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A replica that has looked once and whose loops do not run."""
    engine = connect(alone.database_url.get_secret_value(), pool_size=2)
    async with Redis.from_url(alone.redis_url.get_secret_value(), decode_responses=True) as redis:
        sidecar = AnsweringSidecar(alone, lambda _: Answer(503))
        app = build(alone, engine=engine, redis=redis, sidecar=sidecar)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://task-api") as http:
            yield http
        await sidecar.aclose()
    await engine.dispose()


async def test_who_came_in_before_a_replica_knew_is_out_after_it(
    unlooking: httpx.AsyncClient, operate: Any, alone: Settings
) -> None:
    """Stop; a replica that has not looked yet lets somebody in; lift: that session ended too."""
    await unlooking.get("/api/v1/tasks")
    await operate("--yes")
    ada = await register(unlooking)
    await operate("--lift")
    async with served(alone) as (http, _):
        await until(http, 401)
        assert (await http.get(TASKS, headers=ada.headers)).status_code == 401


async def test_a_replica_that_starts_during_a_stop_serves_nobody(
    unlooking: httpx.AsyncClient, operate: Any
) -> None:
    await operate("--yes")
    assert (await unlooking.post("/api/v1/auth/login", json={})).status_code == 503


async def test_a_stop_waits_for_a_login_under_way_and_ends_it(alone: Settings, operate: Any) -> None:
    """A login has inserted its session and not committed; the stop must not miss it."""
    engine = connect(alone.database_url.get_secret_value(), pool_size=2)
    try:
        async with engine.connect() as login:
            await login.execute(
                text(
                    "WITH person AS (INSERT INTO users (id, email, email_key, password_hash) "
                    "VALUES (gen_random_uuid(), 'a', 'a', '') RETURNING id) "
                    "INSERT INTO session_families (id, user_id, created_at, expires_at) "
                    "SELECT gen_random_uuid(), id, now(), now() FROM person"
                )
            )
            stopping = asyncio.create_task(operate("--yes"))
            await asyncio.sleep(1.5)
            assert not stopping.done()
            await login.commit()
            assert "1 sessions" in await stopping
    finally:
        await engine.dispose()


async def test_it_asks_first_and_says_what_is_wrong(operate: Any, alone: Settings) -> None:
    assert "Go on?" in await operate(expect=1)
    assert await operate("--status") == "open\n"
    away = ("--database-url", "postgresql://u:p@127.0.0.1:1/d", "--status")
    assert "check DATABASE_URL" in await operate(*away, expect=1)
    assert "DATABASE_URL is not valid" in await operate("--database-url", "nonsense", "--status", expect=1)
