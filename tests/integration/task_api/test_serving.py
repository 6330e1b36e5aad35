"""The service as a process of its own, and how it stands when something it needs is away."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from service_kit.sidecar import Answer
from service_kit.testing.fakes import AnsweringSidecar
from stack.ports import free_ports
from task_api.__main__ import main
from task_api.adapters.postgres.database import connect
from task_api.app import build

PASSWORD = "correct horse battery"


def environment_of(settings: Any) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "JWT_PRIVATE_KEYS": settings.jwt_private_keys.get_secret_value().replace("\n", "\\n"),
        "ENCRYPTION_KEYS": settings.encryption_keys.get_secret_value(),
        "RATE_LIMITS_ENABLED": str(settings.rate_limits_enabled),
        "APP_API_TOKEN": "app-token",
        "DAPR_API_TOKEN": "dapr-token",
    }


@asynccontextmanager
async def served(
    settings: Any, **more: str
) -> AsyncIterator[tuple[httpx.AsyncClient, asyncio.subprocess.Process]]:
    """The service on a port of its own, once it answers; `more` are further variables of its environment."""
    port = free_ports(1)[0]
    ports = {"APP_PORT": str(port), "DAPR_HTTP_PORT": str(free_ports(1)[0])}
    environment = environment_of(settings) | ports | more
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "task_api",
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            async with asyncio.timeout(60):
                await _until_it_answers(client)
            yield client, process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def _until_it_answers(client: httpx.AsyncClient) -> None:
    while True:
        try:
            await client.get("/health/live")
        except httpx.TransportError:
            await asyncio.sleep(0.05)
        else:
            return


async def test_the_whole_flow_by_a_real_server(settings: Any) -> None:
    async with served(settings) as (client, process):
        body = {"email": f"{uuid4().hex}@example.org", "password": PASSWORD}
        session = (await client.post("/api/v1/auth/register", json=body)).json()
        client.headers["Authorization"] = f"Bearer {session['access_token']}"
        made = await client.post(
            "/api/v1/tasks", json={"title": "Water the plants", "due_date": "2999-01-06"}
        )
        assert made.status_code == 201
        done = await client.post(made.headers["location"] + "/complete")
        assert (done.json()["completed"], done.headers["etag"]) == (True, '"2"')
        health = (await client.get("/health")).json()
        assert {one["name"]: one["available"] for one in health["dependencies"]} == {
            "postgres": True,
            "redis": True,
            "sidecar": False,
            "kafka": False,
        }
        assert health["status"] == "healthy"
        metrics = (await client.get("/metrics")).text
        assert "outbox_depth" in metrics
        process.send_signal(signal.SIGTERM)
        output, _ = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0
        assert b"Traceback" not in output


@pytest.mark.parametrize("missing", ["JWT_PRIVATE_KEYS", "DATABASE_URL"])
def test_a_bad_start_is_one_sentence(settings: Any, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    monkeypatch.setattr("sys.argv", ["task_api"])
    with pytest.raises(SystemExit, match=f"^{missing} is not set") as refused:
        main()
    assert "\n" not in str(refused.value)


async def test_without_a_database_nothing_is_promised(settings: Any) -> None:
    away = settings.model_copy(
        update={"database_url": SecretStr(f"postgresql+asyncpg://u@127.0.0.1:{free_ports(1)[0]}/none")}
    )
    engine = connect(away.database_url.get_secret_value(), pool_size=2)
    sidecar = AnsweringSidecar(away, lambda _: Answer(503))
    app = build(away, engine=engine, sidecar=sidecar)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://task-api") as client:
            assert (await client.get("/health/ready")).status_code == 503
            assert (await client.get("/health/live")).status_code == 200
            answer = await client.post("/api/v1/auth/login", json={"email": "x", "password": "y"})
            assert (answer.status_code, answer.json()["error_code"]) == (503, "storage_unavailable")
            assert answer.headers["retry-after"] == "1"
    await sidecar.aclose()
    await engine.dispose()


async def test_a_lock_is_not_waited_for_for_ever(settings: Any, ada: Any, engine: Any, redis: Any) -> None:
    task = await ada.create()
    impatient = connect(settings.database_url.get_secret_value(), pool_size=2, lock_timeout="50ms")
    sidecar = AnsweringSidecar(settings, lambda _: Answer(503))
    transport = httpx.ASGITransport(app=build(settings, engine=impatient, redis=redis, sidecar=sidecar))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://task-api", headers=ada.headers
    ) as client:
        async with engine.begin() as holder:
            await holder.execute(text("SELECT 1 FROM tasks WHERE id = :id FOR UPDATE"), {"id": task["id"]})
            answer = await client.patch(f"/api/v1/tasks/{task['id']}", json={"title": "x"})
        assert (answer.status_code, answer.json()["error_code"]) == (503, "storage_unavailable")
        assert (await client.patch(f"/api/v1/tasks/{task['id']}", json={"title": "x"})).status_code == 200
    await sidecar.aclose()
    await impatient.dispose()


async def test_connections_that_the_server_closed_are_made_anew(ada: Any, rows: Any, engine: Any) -> None:
    task = await ada.create()
    async with engine.connect() as keeper:
        pid = (await keeper.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        await keeper.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> :pid"
            ),
            {"pid": pid},
        )
        answers = [await ada.call("GET", f"/api/v1/tasks/{task['id']}") for _ in range(20)]
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert answers[-1].status_code == 200


async def test_the_description_is_whole(app: Any, http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    create = document["paths"]["/api/v1/tasks"]["post"]
    assert create["responses"]["422"]["content"].keys() >= {"application/problem+json"}
    assert "examples" in document["components"]["schemas"]["TaskCreate"]
    assert not [path for path in document["paths"] if path.startswith(("/internal", "/events", "/dapr"))]
    assert (await http.get("/docs")).status_code == 200
