"""More is asked at once than can be done: some are refused, nobody waits for long, and nothing is half done."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any
from uuid import uuid4

import httpx
import psutil
from bench.http_client import Answer, Connection, encode
from tests.integration.task_api.test_serving import PASSWORD, served

AT_ONCE = 4
FLOOD = 400
_PER_CONNECTION = 3


async def test_a_flood_is_shed_and_the_rest_is_answered_in_time(settings: Any, rows: Any) -> None:
    async with (
        served(settings, REQUESTS_AT_ONCE=str(AT_ONCE)) as (client, process),
        output_of(process) as log,
    ):
        title = f"Water the plants of {uuid4()}"
        create = encode("POST", "/api/v1/tasks", await _register(client), {"title": title})
        resident = psutil.Process(process.pid).memory_info().rss
        connections = [await Connection.to(client.base_url.port or 0) for _ in range(FLOOD)]

        async def ask(connection: Connection) -> list[tuple[Answer, float]]:
            answers = []
            for _ in range(_PER_CONNECTION):
                began = perf_counter()
                answers.append((await connection.ask(create), perf_counter() - began))
            return answers

        async with probing(client):
            of_each = await asyncio.gather(*map(ask, connections))
        answers = list(itertools.chain.from_iterable(of_each))
        statuses = Counter(answer.status for answer, _ in answers)
        assert set(statuses) == {201, 503}
        assert statuses[201] >= 5 * AT_ONCE
        assert all(
            b'"error_code":"overloaded"' in answer.body for answer, _ in answers if answer.status == 503
        )
        # Whoever was refused has left nothing behind.
        assert len(await rows("SELECT id FROM tasks WHERE title = :title", title=title)) == statuses[201]
        # The bound is generous: others use this machine, too.
        assert max(took for answer, took in answers if answer.status == 201) < 10

        # At once there is room for everybody again, and nobody's turn is lost.
        for _ in range(2 * AT_ONCE):
            assert (await connections[0].ask(create)).status == 201
        said = (await client.get("/metrics", timeout=30)).text
        assert (
            sum(map(float, re.findall(r"^http_requests_shed_total\{.*\} (\S+)", said, re.MULTILINE)))
            == (statuses[503])
        )
        assert re.search(r"^http_requests_waiting 0\.0", said, re.MULTILINE)
        assert psutil.Process(process.pid).memory_info().rss - resident < 64 * 2**20
        for connection in connections:
            connection.close()
    # One line tells of many, or the lines would be the load.
    assert 1 <= b"".join(log).count(b'"overloaded"') <= 5
    assert b"Traceback" not in b"".join(log)


async def test_a_refusal_says_when_to_come_again(settings: Any) -> None:
    async with served(settings, REQUESTS_AT_ONCE="1", CORS_ALLOWED_ORIGINS="https://app.example") as (
        client,
        _,
    ):
        headers = {"Authorization": f"Bearer {await _register(client)}", "Origin": "https://app.example"}
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(base_url=client.base_url, limits=limits, headers=headers) as many:
            answers = await asyncio.gather(*(many.get("/api/v1/tasks") for _ in range(100)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused
    for answer in refused:
        body = answer.json()
        assert (answer.status_code, body["error_code"]) == (503, "overloaded")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-request-id"] == body["request_id"]
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["access-control-allow-origin"] == "https://app.example"


async def _register(client: httpx.AsyncClient) -> str:
    body = {"email": f"{uuid4().hex}@example.org", "password": PASSWORD}
    answer = await client.post("/api/v1/auth/register", json=body, timeout=30)
    return str(answer.json()["access_token"])


@asynccontextmanager
async def probing(client: httpx.AsyncClient) -> AsyncIterator[None]:
    """What keeps promises is answered all the while, for it does not wait for people."""

    async def probe() -> None:
        while True:
            for path in ("/health/live", "/health/ready", "/metrics"):
                assert (await client.get(path, timeout=30)).status_code == 200
            assert (await client.post("/events/reminder-due", timeout=30)).status_code == 403
            await asyncio.sleep(0.05)

    task = asyncio.create_task(probe())
    yield
    assert not task.done(), task.exception()
    task.cancel()


@asynccontextmanager
async def output_of(process: asyncio.subprocess.Process) -> AsyncIterator[list[bytes]]:
    """Read what it prints, so that a full pipe does not stop it."""
    read: list[bytes] = []

    async def follow() -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            read.append(line)

    task = asyncio.create_task(follow())
    try:
        yield read
    finally:
        task.cancel()
        await asyncio.wait([task])
