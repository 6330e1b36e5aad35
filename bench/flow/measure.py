"""Tasks are created at a steady pace, each with a reminder; the bus is watched from outside. Times are in seconds."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
from bench import requests
from bench.http_client import Connection
from bench.load import arrivals, closed_loop, open_loop
from bench.place import Served

from stack import Instance
from stack.demo import Witness

HALF = 0.5
_PEOPLE = 32


@dataclass
class Flow:
    """`answered`: requests; `handled`: from a commit to the handler's own event; `late`: reminders after their time."""

    answered: list[float] = field(default_factory=list)
    handled: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)


async def flow(instance: Instance, tasks: int, pace: float) -> Flow:
    """Create that many tasks, `pace` seconds apart, and await what each one brings about."""
    seen, committed = Flow(), dict[str, float]()
    async with AsyncExitStack() as opened:
        client = await opened.enter_async_context(
            httpx.AsyncClient(base_url=instance.app_url("task-api"), timeout=30, trust_env=False)
        )
        bus = await opened.enter_async_context(Witness.watching(instance.kafka_bootstrap))
        session = await client.post(
            "/api/v1/auth/register",
            json={
                "email": f"bench-{secrets.token_hex(4)}@example.com",
                "password": secrets.token_urlsafe(16),
            },
        )
        session.raise_for_status()
        client.headers["Authorization"] = f"Bearer {session.json()['access_token']}"
        for number in range(tasks):
            beat = asyncio.create_task(asyncio.sleep(pace))
            body = {
                "title": f"bench {number}",
                "due_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
                "reminders": [{"at": (datetime.now(UTC) + timedelta(seconds=2)).isoformat()}],
            }
            started = time.perf_counter()
            answer = await client.post("/api/v1/tasks", json=body)
            seen.answered.append(time.perf_counter() - started)
            answer.raise_for_status()
            committed[answer.json()["id"]] = time.time()
            await beat
        for task_id, moment in committed.items():
            of_task = partial(_is_of_task, task_id)
            scheduled, _ = await bus.event("reminder-scheduled", of_task)
            seen.handled.append(max(0.0, datetime.fromisoformat(scheduled["time"]).timestamp() - moment))
            due, _ = await bus.event("reminder-due", of_task)
            fired, fire_at = due["data"]["fired_at"], due["data"]["fire_at"]
            seen.late.append(
                (datetime.fromisoformat(fired) - datetime.fromisoformat(fire_at)).total_seconds()
            )
    return seen


async def flow_beside_load(instance: Instance, server: Served, tasks: int, pace: float) -> Flow:
    """The same while others create half as many tasks a second as a closed loop can."""
    connection = await Connection.to(server.port)
    made = requests.creating(await requests.register(connection, _PEOPLE))
    connection.close()
    saturation = (await closed_loop(server.port, made, 8, 2.0)).per_second
    await asyncio.sleep(2)
    # It lasts longer than the creating; what was created last is handled beside it, too.
    schedule = arrivals(HALF * saturation, tasks * pace + 5, seed=3)
    load = asyncio.create_task(open_loop(server.port, made, schedule))
    await asyncio.sleep(2)
    try:
        return await flow(instance, tasks, pace)
    finally:
        load.cancel()
        await asyncio.wait([load])


def _is_of_task(task_id: str, data: dict[str, Any]) -> bool:
    return bool(data["task_id"] == task_id)
