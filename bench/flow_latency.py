"""Commit to handler, and due to fired, on a running idle instance: `make up`, then `make bench`.

Tasks are created one after another at a steady pace, each with a reminder; the bus is watched from outside.
Printed: p50, p95 and maximum in milliseconds, as text and as one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import statistics
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx

from stack import Instance
from stack.demo import Witness

TASKS_MAX = 2_000


def _summary(name: str, seconds: list[float]) -> dict[str, Any]:
    ordered = sorted(value * 1000 for value in seconds)
    cuts = statistics.quantiles(ordered, n=20, method="inclusive")
    row = {
        "measure": name,
        "n": len(ordered),
        "p50_ms": round(cuts[9], 1),
        "p95_ms": round(cuts[18], 1),
        "max_ms": round(ordered[-1], 1),
    }
    print(
        f"{name:<28} n={row['n']:<5} p50 {row['p50_ms']:>7} ms   p95 {row['p95_ms']:>7} ms   max {row['max_ms']:>7} ms"
    )
    return row


def _is_of_task(task_id: str, data: dict[str, Any]) -> bool:
    return bool(data["task_id"] == task_id)


async def _measure(instance: Instance, tasks: int, pace: float) -> list[dict[str, Any]]:
    answered: dict[str, float] = {}
    requests: list[float] = []
    async with (
        httpx.AsyncClient(base_url=instance.app_url("task-api"), timeout=10) as client,
        Witness.watching(instance.kafka_bootstrap) as bus,
    ):
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
            requests.append(time.perf_counter() - started)
            answer.raise_for_status()
            answered[answer.json()["id"]] = time.time()
            await beat
        handled, late = [], []
        for task_id, committed in answered.items():
            of_task = partial(_is_of_task, task_id)
            scheduled, _ = await bus.event("reminder-scheduled", of_task)
            handled.append(max(0.0, datetime.fromisoformat(scheduled["time"]).timestamp() - committed))
            due, _ = await bus.event("reminder-due", of_task)
            fired = datetime.fromisoformat(due["data"]["fired_at"]) - datetime.fromisoformat(
                due["data"]["fire_at"]
            )
            late.append(fired.total_seconds())
    return [
        _summary("create, answered", requests),
        _summary("commit to handler", handled),
        _summary("reminder late", late),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instance", default="dev")
    parser.add_argument("--tasks", type=int, default=200, help=f"how many, at most {TASKS_MAX}")
    parser.add_argument("--pace", type=float, default=0.05, help="seconds between two creations")
    arguments = parser.parse_args()
    rows = asyncio.run(
        _measure(Instance(arguments.instance), min(arguments.tasks, TASKS_MAX), max(arguments.pace, 0.005))
    )
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
