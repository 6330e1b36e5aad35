"""Undo where a series is involved: it is begun, taken back and begun again as one with its task."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from tests.integration.task_api.deliveries import until_waiting

DAILY = {"rrule": "FREQ=DAILY"}
TOMORROW = "2026-01-06"


def path(task: dict[str, Any]) -> str:
    return f"/api/v1/tasks/{task['id']}"


async def undo(person: Any, answer: Any, expect: int = 200) -> Any:
    return await person.call("POST", f"/api/v1/undo/{answer.headers['x-undo-token']}", expect)


async def read(person: Any, task: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = (await person.call("GET", path(task), 200)).json()
    return body


async def test_a_recurrence_that_was_taken_away_is_brought_again(ada: Any, rows: Any, clock: Any) -> None:
    task = await ada.create(due_date=TOMORROW)
    recurring = await ada.call("PATCH", path(task), 200, json={"recurrence": DAILY, "title": "Every day"})
    clock.advance(timedelta(minutes=1))
    back = await undo(ada, recurring)
    clock.advance(timedelta(minutes=1))
    again = await undo(ada, back)
    now = await read(ada, task)
    for field in ("series_id", "occurrence_key", "recurrence", "title"):
        assert now[field] == recurring.json()[field]
    assert again.json()["items"] == [now]
    (series,) = await rows("SELECT ended_at, version FROM series WHERE id = :id", id=now["series_id"])
    assert series == {"ended_at": None, "version": 3}
    clock.advance(timedelta(minutes=1))
    await undo(ada, again)
    assert "series_id" not in await read(ada, task)
    past = await ada.call("GET", path(task) + "?as_of=2026-01-05T09:00:30Z", 200)
    assert past.json()["series_id"] == now["series_id"]


@pytest.mark.parametrize("begun_by", ["POST", "PATCH"])
async def test_a_series_that_was_changed_since_is_not_lost(ada: Any, clock: Any, begun_by: str) -> None:
    begun = await ada.call("POST", "/api/v1/tasks", 201, json={"title": "x", "due_date": TOMORROW})
    if begun_by == "PATCH":
        begun = await ada.call("PATCH", path(begun.json()), 200, json={"recurrence": DAILY})
    else:
        body = {"title": "x", "due_date": TOMORROW, "recurrence": DAILY}
        begun = await ada.call("POST", "/api/v1/tasks", 201, json=body)
    clock.advance(timedelta(minutes=1))
    series = f"/api/v1/series/{begun.json()['series_id']}"
    await ada.call("PATCH", series, 200, json={"overdue": "catch_up"})
    await undo(ada, begun, 409)
    assert (await ada.call("GET", series, 200)).json()["ended_at"] is None
    # One that was ended since has nothing more to lose.
    await ada.call("DELETE", series, 200)
    await undo(ada, begun)


async def test_a_series_that_has_gone_on_keeps_its_first_instance(ada: Any, follow: Any) -> None:
    task = await ada.create(due_date=TOMORROW)
    recurring = await ada.call("PATCH", path(task), 200, json={"recurrence": DAILY})
    await ada.call("POST", f"{path(task)}/complete", 200)
    successor = await follow(recurring.json())
    await undo(ada, recurring, 409)
    # Else nobody would take it away: the first one would have no series that leads to it.
    await ada.call("POST", f"{path(task)}/complete", 200, json={"completed": False})
    await ada.call("GET", path(successor), 404)


async def test_a_task_that_becomes_recurring_while_it_is_undone(ada: Any, engine: Any, rows: Any) -> None:
    """The undo has looked for the task's series, and waits for its row, when the series is committed."""
    task = await ada.create(due_date=TOMORROW)
    changed = await ada.call("PATCH", path(task), 200, json={"title": "Second"})
    async with engine.begin() as holder:
        await holder.execute(
            text(
                "INSERT INTO series (id, user_id, version, rrule, timezone, start_local, created_at, updated_at) "
                "VALUES (:series, :user, 1, 'FREQ=DAILY', 'UTC', :key, now(), now())"
            ),
            {"series": (series := uuid4()), "user": ada.id, "key": TOMORROW},
        )
        await holder.execute(
            text("UPDATE tasks SET series_id = :series, occurrence_key = :key WHERE id = :id"),
            {"series": series, "key": TOMORROW, "id": task["id"]},
        )
        undoing = asyncio.create_task(undo(ada, changed, 409))
        await until_waiting(rows, 1)
    assert (await undoing).json()["error_code"] == "concurrent_change"
