"""What /metrics says of what happened: each number moves by what moved it, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
from prometheus_client import REGISTRY
from sqlalchemy import text
from tests.integration.task_api.conftest import PASSWORD

from task_api.adapters.postgres.database import connect
from task_api.adapters.postgres.pool_metrics import watch_pool

TASKS = "/api/v1/tasks"


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@contextmanager
def moves(name: str, by: float, **labels: str) -> Iterator[None]:
    before = value(name, **labels)
    yield
    assert value(name, **labels) - before == by, (name, labels)


async def test_tasks_are_counted_once_they_are_committed(ada: Any, clock: Any) -> None:
    with moves("tasks_created_total", 3, source="user"):
        task = await ada.create()
        await ada.call("POST", f"{TASKS}/bulk", 201, json={"tasks": [{"title": "a"}, {"title": "b"}]})
        await ada.call("POST", TASKS, 422, json={"title": ""})
    clock.advance(timedelta(hours=2))
    completed = f"{TASKS}/{task['id']}/complete"
    with (
        moves("tasks_completed_total", 1, source="user"),
        moves("task_completion_seconds_count", 1),
        moves("task_completion_seconds_sum", 7200),
        moves("task_completion_seconds_bucket", 0, le="3600.0"),
        moves("task_completion_seconds_bucket", 1, le="21600.0"),
    ):
        await ada.call("POST", completed, 200)
        await ada.call("POST", completed, 200)
    with moves("tasks_deleted_total", 1, source="user"), moves("tasks_completed_total", 0, source="user"):
        await ada.call("DELETE", f"{TASKS}/{task['id']}", 204)
        await ada.call("DELETE", f"{TASKS}/{task['id']}", 404)


async def test_what_is_rolled_back_is_not_counted(ada: Any) -> None:
    task = await ada.create()
    body = {"ids": [task["id"], str(uuid4())], "atomic": True}
    with moves("tasks_completed_total", 0, source="user"):
        await ada.call("POST", f"{TASKS}/bulk/complete", 409, json=body)
    with moves("tasks_completed_total", 1, source="user"):
        await ada.call("POST", f"{TASKS}/bulk/complete", 200, json=body | {"atomic": False})


async def test_a_generated_occurrence_is_a_services(ada: Any, follow: Any) -> None:
    task = await ada.create(due_date="2026-01-06", recurrence={"rrule": "FREQ=DAILY"})
    done = (await ada.call("POST", f"{TASKS}/{task['id']}/complete", 200)).json()
    with moves("tasks_created_total", 1, source="service"), moves("tasks_created_total", 0, source="user"):
        await follow(done)


async def test_registrations_and_logins(http: httpx.AsyncClient) -> None:
    body = {"email": f"{uuid4().hex}@example.org", "password": PASSWORD}
    with (
        moves("account_actions_total", 1, action="register", outcome="succeeded"),
        moves("account_actions_total", 1, action="register", outcome="failed"),
        moves("account_actions_total", 1, action="login", outcome="succeeded"),
        moves("account_actions_total", 2, action="login", outcome="failed"),
    ):
        await http.post("/api/v1/auth/register", json=body)
        await http.post("/api/v1/auth/register", json=body)
        await http.post("/api/v1/auth/login", json=body)
        for _ in range(2):
            await http.post("/api/v1/auth/login", json=body | {"password": "wrong"})


async def test_keys_that_are_kept_and_keys_that_are_not(http: httpx.AsyncClient, ada: Any) -> None:
    made = await ada.call("POST", "/api/v1/api-keys", 201, json={"name": "k", "scopes": ["tasks:read"]})
    for secret, stored, kept, nowhere in ((made.json()["key"], 1, 2, 0), ("tsk_nonsense", 0, 0, 3)):
        with (
            moves("api_key_lookups_total", stored, found="stored"),
            moves("api_key_lookups_total", kept, found="kept"),
            moves("api_key_lookups_total", nowhere, found="nowhere"),
        ):
            for _ in range(3):
                await http.get(TASKS, headers={"Authorization": f"Bearer {secret}"})


async def test_an_unchanged_list_is_a_304_of_its_route(ada: Any) -> None:
    await ada.create()
    tag = (await ada.call("GET", TASKS, 200)).headers["etag"]
    with moves("http_requests_total", 1, method="GET", route=TASKS, status="304"):
        await ada.call("GET", TASKS, 304, headers={"If-None-Match": tag})


async def test_pools_are_read_when_they_are_asked_for(settings: Any) -> None:
    engine = connect(settings.database_url.get_secret_value(), pool_size=3)
    watch_pool(engine, "test")
    seen = [(value("database_pool_open", pool="test"), value("database_pool_checked_out", pool="test"))]
    async with engine.connect() as one, engine.connect():
        await one.execute(text("SELECT 1"))
        seen.append(
            (value("database_pool_open", pool="test"), value("database_pool_checked_out", pool="test"))
        )
    seen.append((value("database_pool_open", pool="test"), value("database_pool_checked_out", pool="test")))
    await engine.dispose()
    assert (value("database_pool_size", pool="test"), seen) == (3, [(0, 0), (2, 2), (2, 0)])


async def test_the_scrape_has_the_pools_of_requests_and_relay(http: httpx.AsyncClient) -> None:
    lines = (await http.get("/metrics")).text
    for pool in ("requests", "relay"):
        assert f'database_pool_size{{pool="{pool}"}}' in lines
