"""What operators do to a running system: have a service built again, and ask what is wrong."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped, unused-ignore]
from redis.asyncio import Redis
from tests.e2e.conftest import Json, Person
from tests.e2e.eventually import eventually

from stack import Instance


async def _taskstream(system: Instance, *words: str) -> tuple[int, str]:
    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "taskstream_cli", *words]
        return subprocess.run(
            command, env=os.environ | system.env(), capture_output=True, text=True, check=False, timeout=120
        )

    done = await asyncio.to_thread(run)
    return done.returncode, done.stdout + done.stderr


async def test_a_rebuild_neither_loses_nor_repeats_a_reminder(system: Instance, person: Person) -> None:
    async def task(fires_in: float) -> Json:
        fire_at = datetime.now(UTC) + timedelta(seconds=fires_in)
        body: Json = {"title": "Call back", "reminders": [{"at": fire_at.isoformat()}]}
        return await person.call("POST", "/api/v1/tasks", body)

    async def fired(task: Json) -> int:
        return len([one for one in await person.activity(task["id"]) if one["kind"] == "reminder_fired"])

    before, after = await task(1), await task(30)
    await eventually(lambda: fired(before), what="the reminder before")
    for service in ("reminders", "recurrence"):
        code, said = await _taskstream(system, "rebuild", service, "--yes")
        assert code == 0, said
        assert f"{service} is ready again" in said
    await eventually(lambda: fired(after), what="the reminder after")
    await asyncio.sleep(1)
    assert (await fired(before), await fired(after)) == (1, 1)


async def test_the_doctor_names_what_is_wrong_and_nothing_else(system: Instance, person: Person) -> None:
    async def well() -> tuple[int, str]:
        return await _taskstream(system, "doctor")

    code, said = await eventually(
        well, lambda answer: answer[0] == 0, seconds=90, what="a system that is well"
    )
    assert "all is well" in said

    row_id = uuid4()
    database = await asyncpg.connect(system.database_url)
    async with Redis.from_url(system.redis_url, decode_responses=True) as redis:
        policy = str((await redis.config_get("maxmemory-policy"))["maxmemory-policy"])
        try:
            await redis.config_set("maxmemory-policy", "allkeys-lru")
            await database.execute(
                "INSERT INTO outbox (id, topic, key, event, attempts, parked_at) "
                "VALUES ($1, 'task-created', 'k', '{}', 10, now())",
                row_id,
            )
            await asyncio.to_thread(system.pause, "notifier")
            code, said = await _taskstream(system, "doctor")
        finally:
            await asyncio.to_thread(system.resume, "notifier")
            await redis.config_set("maxmemory-policy", policy)
            await database.execute("DELETE FROM outbox WHERE id = $1", row_id)
            await database.close()
    assert code == 1
    assert "maxmemory-policy is allkeys-lru: set noeviction" in said
    assert "1 events are parked" in said
    assert "NOTIFIER_URL" in said
    assert {line.split()[1] for line in said.splitlines() if line.startswith("  !")} >= {
        "redis",
        "outbox",
        "notifier",
    }
    code, said = await eventually(
        well, lambda answer: answer[0] == 0, seconds=90, what="a system that is well"
    )
    assert person.mails() == 0


async def test_the_doctor_needs_nothing_that_runs() -> None:
    """Everything is away: each part is a finding, and no traceback."""
    nowhere = {
        "DATABASE_URL": "postgresql://nobody:secret@127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "KAFKA_BOOTSTRAP": "127.0.0.1:1",
    }
    nowhere |= {
        f"{name}_URL": "http://127.0.0.1:1" for name in ("TASK_API", "REMINDERS", "RECURRENCE", "NOTIFIER")
    }
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "taskstream_cli", "doctor"],
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    parts = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("  !")}
    assert parts == {"postgres", "redis", "kafka", "task-api", "reminders", "recurrence", "notifier"}
    assert "secret" not in done.stdout + done.stderr
