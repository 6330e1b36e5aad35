"""Snooze and acknowledge: said by a person, kept through edits, and gone with the time they were about."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest

TASKS = "/api/v1/tasks"


@pytest.fixture
async def task(ada: Any) -> dict[str, Any]:
    made: dict[str, Any] = await ada.create(due_at="2026-01-06T10:00:00Z", reminders=[{"offset": "PT1H"}])
    return made


def reminder(task: dict[str, Any]) -> str:
    return f"{TASKS}/{task['id']}/reminders/{task['reminders'][0]['id']}"


async def last_event(rows: Any, task: dict[str, Any]) -> dict[str, Any]:
    found = await rows("SELECT event FROM outbox WHERE key = :key", key=task["id"])
    return max((orjson.loads(row["event"])["data"] for row in found), key=lambda data: data["version"])


async def test_put_off_by_minutes_or_to_a_moment(ada: Any, task: Any, rows: Any, clock: Any) -> None:
    clock.advance(timedelta(minutes=30))
    put_off = (await ada.call("POST", f"{reminder(task)}/snooze", 200, json={"minutes": 10})).json()
    assert put_off["reminders"][0]["snoozed_until"] == "2026-01-05T09:40:00Z"
    (sent,) = (await last_event(rows, task))["reminders"]
    assert (sent["snoozed_until"], sent["set_at"]) == ("2026-01-05T09:40:00Z", "2026-01-05T09:30:00Z")
    later = await ada.call("POST", f"{reminder(task)}/snooze", 200, json={"until": "2026-01-06T09:30:00Z"})
    assert later.json()["reminders"][0]["snoozed_until"] == "2026-01-06T09:30:00Z"
    kinds = [
        line["kind"]
        for line in (await ada.call("GET", f"{TASKS}/{task['id']}/activity", 200)).json()["items"]
    ]
    assert kinds == ["created", "reminder_snoozed", "reminder_snoozed"]
    await ada.call("POST", f"/api/v1/undo/{later.headers['x-undo-token']}", 200)
    now = (await ada.call("GET", f"{TASKS}/{task['id']}", 200)).json()
    assert now["reminders"] == put_off["reminders"]


async def test_it_outlives_edits_that_do_not_move_it(ada: Any, task: Any) -> None:
    await ada.call("POST", f"{reminder(task)}/snooze", 200, json={"until": "2026-01-06T09:30:00Z"})
    edited = (await ada.call("PATCH", f"{TASKS}/{task['id']}", 200, json={"title": "Other"})).json()
    assert edited["reminders"][0]["snoozed_until"] == "2026-01-06T09:30:00Z"
    moved = await ada.call("PATCH", f"{TASKS}/{task['id']}", 200, json={"due_at": "2026-01-07T10:00:00Z"})
    assert "snoozed_until" not in moved.json()["reminders"][0]


async def test_acknowledging_twice_is_once(ada: Any, task: Any, clock: Any) -> None:
    first = (await ada.call("POST", f"{reminder(task)}/ack", 200)).json()
    assert first["reminders"][0]["acknowledged_at"] == "2026-01-05T09:00:00Z"
    clock.advance(timedelta(minutes=1))
    again = await ada.call("POST", f"{reminder(task)}/ack", 200)
    assert again.json() == first
    snoozed = (await ada.call("POST", f"{reminder(task)}/snooze", 200, json={"minutes": 5})).json()
    assert "acknowledged_at" not in snoozed["reminders"][0]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"minutes": 0},
        {"minutes": 10**7},
        {"minutes": 5, "until": "2026-01-06T09:30:00Z"},
        {"until": "2026-01-05T08:59:59Z"},
        {"until": 5},
        {"hours": 1},
    ],
)
async def test_what_is_no_moment_to_come_is_refused(ada: Any, task: Any, body: Any) -> None:
    await ada.call("POST", f"{reminder(task)}/snooze", 422, json=body)


async def test_reminders_that_are_not_there_and_closed_tasks(ada: Any, task: Any) -> None:
    unknown = f"{TASKS}/{task['id']}/reminders/{uuid4()}"
    await ada.call("POST", f"{unknown}/snooze", 404, json={"minutes": 5})
    await ada.call("POST", f"{unknown}/ack", 404)
    await ada.call("POST", f"{TASKS}/{task['id']}/complete", 200)
    await ada.call("POST", f"{reminder(task)}/snooze", 409, json={"minutes": 5})
