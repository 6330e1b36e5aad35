"""A process that dies by SIGKILL after its commit and before its event is out; another one publishes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest_asyncio
import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic import SecretStr
from sqlalchemy import text
from tests.integration.task_api.test_serving import PASSWORD, served

from service_kit.testing.waiting import eventually
from stack.ports import free_ports
from task_api.adapters.postgres.database import connect
from task_api.migrations.runner import migrate
from task_api.settings import asyncpg_url


@dataclass
class StandInSidecar:
    """Takes what is to be published; while `holds`, it neither passes an event on nor answers."""

    port: int = field(default_factory=lambda: free_ports(1)[0])
    holds: bool = True
    held: list[dict[str, Any]] = field(default_factory=list)
    published: list[dict[str, Any]] = field(default_factory=list)

    async def was_asked(self) -> bool:
        return bool(self.held)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1.0/publish/bulk/{_pubsub}/{_topic}")
        async def publish(request: Request) -> Response:
            entries = await request.json()
            if self.holds:
                self.held += entries
                await eventually(request.is_disconnected, seconds=60)
            else:
                self.published += entries
            return Response(status_code=204)

        return app


@pytest_asyncio.fixture(loop_scope="session")
async def sidecar() -> AsyncIterator[StandInSidecar]:
    stand_in = StandInSidecar()
    config = uvicorn.Config(stand_in.app(), port=stand_in.port, log_config=None, access_log=False, ws="none")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    await eventually(started)
    yield stand_in
    server.should_exit = True
    await serving


async def test_killed_between_commit_and_publish(
    settings: Any, sidecar: StandInSidecar, fresh_database: Callable[[], Awaitable[str]]
) -> None:
    """The first process has answered 201 and asks its sidecar to publish when it is killed, with no answer yet."""
    url = asyncpg_url(await fresh_database())
    await migrate(url)
    own = settings.model_copy(update={"database_url": SecretStr(url)})
    engine = connect(url, pool_size=1)

    async def waiting() -> list[str]:
        async with engine.connect() as connection:
            return [str(row.id) for row in await connection.execute(text("SELECT id FROM outbox"))]

    async with served(own, DAPR_HTTP_PORT=str(sidecar.port)) as (client, process):
        body = {"email": f"{uuid4().hex}@example.org", "password": PASSWORD}
        session = (await client.post("/api/v1/auth/register", json=body)).json()
        bearer = {"Authorization": f"Bearer {session['access_token']}"}
        made = await client.post("/api/v1/tasks", json={"title": "Lock the door"}, headers=bearer)
        assert made.status_code == 201
        await eventually(sidecar.was_asked)
        process.kill()
        await process.communicate()
    (entry,) = sidecar.held
    assert await waiting() == [entry["entryId"]]
    assert sidecar.published == []

    sidecar.holds = False
    async with served(own, DAPR_HTTP_PORT=str(sidecar.port)) as (client, _):

        async def nothing_waits() -> bool:
            return await waiting() == []

        await eventually(nothing_waits)
        again = await client.get(made.headers["location"], headers=bearer)
        assert again.json() == made.json()
    assert sidecar.published == [entry], "the same event under the same id"
    await engine.dispose()
