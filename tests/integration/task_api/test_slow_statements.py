"""A statement that hangs frees its connection, and whoever waited for it is told to come again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.sidecar import Answer
from service_kit.testing.fakes import AnsweringSidecar
from task_api.adapters.postgres.database import connect
from task_api.app import build


@pytest_asyncio.fixture(loop_scope="session")
async def one_connection(database_url: str) -> AsyncIterator[AsyncEngine]:
    made = connect(database_url, pool_size=1)
    yield made
    await made.dispose()


async def test_each_statement_has_half_a_minute(one_connection: AsyncEngine) -> None:
    async with one_connection.connect() as connection:
        assert (await connection.execute(text("SHOW statement_timeout"))).scalar_one() == "30s"


async def test_a_statement_that_took_too_long_is_a_503(
    ada: Any, settings: Any, engine: AsyncEngine, one_connection: AsyncEngine
) -> None:
    async with one_connection.begin() as connection:
        await connection.execute(text("SET statement_timeout = '100ms'"))
    async with Redis.from_url(settings.redis_url.get_secret_value(), decode_responses=True) as redis:
        sidecar = AnsweringSidecar(settings, lambda _: Answer(503))
        app = build(settings, engine=one_connection, redis=redis, sidecar=sidecar)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://task-api") as client:
            async with engine.begin() as beside:
                await beside.execute(text("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE"))
                refused = await client.get("/api/v1/tasks", headers=ada.headers)
            after = await client.get("/api/v1/tasks", headers=ada.headers)
        await sidecar.aclose()
    assert (refused.status_code, refused.json()["error_code"]) == (503, "storage_unavailable")
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"]
    assert after.status_code == 200, "the connection is free again"
