"""The live stream through the real flow: task-api, Kafka, Dapr, Redis; over a lost connection and a restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from tests.e2e.conftest import Person
from tests.e2e.eventually import eventually

from stack import Instance

Heard = tuple[str, str, Any]


async def _events(answer: httpx.Response) -> AsyncIterator[Heard]:
    """(id, name, data) of each event, as a browser reads them."""
    parts: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if line and name:
            parts[name] = value
        elif not line and "event" in parts:
            yield parts.get("id", ""), parts["event"], json.loads(parts["data"])
            parts = {}


@asynccontextmanager
async def _listening(person: Person, **params: str) -> AsyncIterator[AsyncIterator[Heard]]:
    url = f"{person.system.app_url('notifier')}/api/v1/stream"
    given = await person.client.post(f"{url}/ticket")
    assert given.status_code == 201, given.text
    async with (
        httpx.AsyncClient(timeout=None) as client,
        client.stream("GET", url, params=params | {"ticket": given.json()["ticket"]}) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        yield _events(answer)


async def _until(events: AsyncIterator[Heard], *names: str) -> list[Heard]:
    """Listen until an event of each name came."""
    heard: list[Heard] = []
    async with asyncio.timeout(60):
        while not set(names) <= {name for _, name, _ in heard}:
            heard.append(await anext(events))
    return heard


async def test_a_screen_hears_of_tasks_and_reminders_and_goes_on_where_it_was(
    system: Instance, person: Person
) -> None:
    async with _listening(person) as events:
        await _until(events, "ready")
        task = await person.call(
            "POST",
            "/api/v1/tasks",
            {
                "title": "Water the plants",
                "due_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
                "reminders": [{"at": (datetime.now(UTC) + timedelta(seconds=2)).isoformat()}],
            },
        )
        heard = await _until(events, "task", "notification")
    told = next(data for _, name, data in heard if name == "task")
    assert (told["id"], told["number"], told["title"]) == (task["id"], task["number"], "Water the plants")
    news = next(data for _, name, data in heard if name == "notification")
    assert news["task_id"] == task["id"]
    assert [item["id"] for item in await person.inbox()] == [news["id"]]

    await person.call("PATCH", f"/api/v1/tasks/{task['id']}", {"title": "Water all plants"})
    await person.call("POST", f"/api/v1/tasks/{task['id']}/complete", {})
    async with _listening(person, last_event_id=heard[-1][0]) as events:
        missed = await _until(events, "task", "notification-read")
        if [name for _, name, _ in missed].count("task") < 2:
            missed += await _until(events, "task")
        await asyncio.to_thread(system.restart, "notifier")
        (last,) = await _until(events, "end")
        assert last[2] == {"reason": "shutdown"}
    tasks = [data for _, name, data in missed if name == "task"]
    assert [one["status"] for one in tasks] == ["pending", "completed"]
    assert tasks[0]["changed"] == ["title"]
    assert "status" in tasks[1]["changed"]
    (read,) = [data for _, name, data in missed if name == "notification-read"]
    assert read == {"notification_ids": [news["id"]], "cleared": True, "unread": 0}

    await eventually(lambda: _answers(system), what="notifier after its restart")
    async with _listening(person, last_event_id=missed[-1][0]) as events:
        await person.call("POST", "/api/v1/tasks", {"title": "Another"})
        after = await _until(events, "task")
    assert [(name, data.get("title")) for _, name, data in after] == [("task", "Another")]


async def _answers(system: Instance) -> bool:
    async with httpx.AsyncClient(timeout=2) as client:
        try:
            return (await client.get(f"{system.app_url('notifier')}/health/ready")).is_success
        except httpx.TransportError:
            return False
