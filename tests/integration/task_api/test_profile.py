"""The profile, and what a new zone or start of the day does to tasks that have a date alone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import orjson
import pytest
from sqlalchemy import text
from tests.integration.task_api.deliveries import until_waiting


async def change(person: Any, expect: int = 200, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = (await person.call("PATCH", "/api/v1/users/me", expect, json=fields)).json()
    return body


async def newest(rows: Any, key: str) -> dict[str, Any]:
    found = await rows("SELECT event FROM outbox WHERE key = :key", key=key)
    told: list[dict[str, Any]] = [orjson.loads(row["event"])["data"] for row in found]
    return max(told, key=lambda data: data["version"])


async def test_fields_are_merged(ada: Any) -> None:
    after = await change(ada, first_name="Ada", locale="de-DE", default_reminder="P1D")
    assert (after["first_name"], after["locale"], after["default_reminder"]) == ("Ada", "de-DE", "P1D")
    after = await change(ada, first_name=None, default_reminder=None)
    assert (after["first_name"], after["default_reminder"], after["locale"]) == (None, None, "de-DE")
    assert (await ada.call("GET", "/api/v1/users/me", 200)).json() == after


async def test_another_address(ada: Any, bob: Any, http: Any) -> None:
    assert (await change(ada, 409, email=bob.email.upper()))["error_code"] == "email_taken"
    mine = f"new.{ada.email}"
    assert (await change(ada, email=mine))["email"] == mine
    body = {"email": mine.upper(), "password": "correct horse battery"}
    assert (await http.post("/api/v1/auth/login", json=body)).status_code == 200


async def test_what_cannot_be_changed(ada: Any) -> None:
    for fields in ({"id": "x"}, {"role": "admin"}, {"timezone": "Mars/Olympus"}, {"email": None}):
        await change(ada, 422, **fields)


async def test_a_new_start_of_the_day_moves_open_all_day_tasks(ada: Any, rows: Any, clock: Any) -> None:
    all_day = await ada.create(due_date="2026-01-06", reminders=[{"offset": "PT30M"}])
    timed = await ada.create(due_at="2026-01-06T10:00:00Z", reminders=[{"offset": "PT30M"}])
    done = await ada.create(due_date="2026-01-06")
    await ada.call("POST", f"/api/v1/tasks/{done['id']}/complete", 200)
    clock.advance(timedelta(minutes=5))
    await change(ada, day_start="07:30")
    told = await newest(rows, all_day["id"])
    assert (told["version"], told["day_start"]) == (2, "07:30")
    assert told["reminders"][0]["set_at"] == "2026-01-05T09:05:00Z"
    assert (await newest(rows, timed["id"]))["version"] == 1
    assert (await newest(rows, done["id"]))["version"] == 2
    await change(ada, day_start="07:30", first_name="Ada")
    assert (await newest(rows, all_day["id"]))["version"] == 2


async def test_a_new_start_of_the_day_leaves_a_snooze_alone(ada: Any, rows: Any, clock: Any) -> None:
    """The reminder was due this morning and was put off to the evening: the morning's new time changes nothing."""
    task = await ada.create(due_date="2026-01-06", reminders=[{"offset": "PT0S"}])
    clock.advance(timedelta(days=1, hours=2))
    path = f"/api/v1/tasks/{task['id']}/reminders/{task['reminders'][0]['id']}/snooze"
    await ada.call("POST", path, 200, json={"until": "2026-01-06T18:00:00Z"})
    await change(ada, day_start="07:30")
    told = await newest(rows, task["id"])
    assert told["day_start"] == "07:30"
    assert told["reminders"][0]["snoozed_until"] == "2026-01-06T18:00:00Z"


async def test_a_new_zone_takes_along_what_was_in_the_old_one(ada: Any, rows: Any) -> None:
    here = await ada.create(due_date="2026-01-06", recurrence={"rrule": "FREQ=DAILY"})
    there = await ada.create(due_date="2026-01-06", timezone="Asia/Tokyo", recurrence={"rrule": "FREQ=DAILY"})
    timed = await ada.create(due_at="2026-01-06T10:00:00Z", recurrence={"rrule": "FREQ=DAILY"})
    await change(ada, timezone="America/New_York")
    moved = await newest(rows, here["id"])
    assert (moved["timezone"], moved["version"], moved["series_version"]) == ("America/New_York", 2, 2)
    assert moved["changes"] == {"timezone": {"old": "Europe/Berlin", "new": "America/New_York"}}
    series = await newest(rows, here["series_id"])
    assert (series["timezone"], series["version"], series["tip"]["version"]) == ("America/New_York", 2, 2)
    assert (await newest(rows, there["id"]))["version"] == 1
    for untouched in (there, timed):
        assert (await newest(rows, untouched["series_id"]))["version"] == 1
    assert (await ada.create(due_date="2026-01-06"))["timezone"] == "America/New_York"


@pytest.mark.parametrize("fields", [{"timezone": "Asia/Tokyo"}, {"day_start": "06:00"}])
async def test_tasks_made_meanwhile_are_of_one_mind_with_the_profile(
    ada: Any, rows: Any, fields: dict[str, Any]
) -> None:
    made = await asyncio.gather(
        *(ada.create(due_date="2026-01-06") for _ in range(8)),
        change(ada, **fields),
        *(ada.create(due_date="2026-01-06") for _ in range(8)),
    )
    for task in (*made[:8], *made[9:]):
        told = await newest(rows, task["id"])
        assert fields.items() <= told.items()


async def test_a_task_that_gets_its_date_while_the_day_starts_elsewhere(
    ada: Any, engine: Any, rows: Any
) -> None:
    """The edit has read the old start of the day and is held back before it is written; then the profile changes."""
    task = await ada.create(due_at="2026-01-07T10:00:00Z")
    async with engine.begin() as holder:
        await holder.execute(text("LOCK TABLE task_history IN SHARE MODE"))
        edit = {"due_date": "2026-01-07"}
        editing = asyncio.create_task(ada.call("PATCH", f"/api/v1/tasks/{task['id']}", 200, json=edit))
        await until_waiting(rows, 1)
        changing = asyncio.create_task(change(ada, day_start="07:00:00"))
        await until_waiting(rows, 2)
    await asyncio.gather(editing, changing)
    told = await newest(rows, task["id"])
    assert (told["due_date"], told["day_start"]) == ("2026-01-07", "07:00")


@pytest.mark.parametrize("way", ["status", "series", "undo", "restore"])
async def test_a_task_that_is_opened_while_the_day_starts_elsewhere(
    ada: Any, engine: Any, rows: Any, way: str
) -> None:
    recurrence = {"rrule": "FREQ=DAILY"} if way == "series" else None
    task = await ada.create(due_date="2026-01-07", recurrence=recurrence)
    path = f"/api/v1/tasks/{task['id']}"
    if way == "restore":
        await ada.call("DELETE", path)
        opening = ada.call("POST", f"{path}/restore", 200)
    else:
        closed = await ada.call("POST", f"{path}/complete", 200)
        opening = {
            "status": partial(ada.call, "PATCH", path, 200, json={"status": "pending"}),
            "series": partial(ada.call, "PATCH", f"{path}?scope=series", 200, json={"status": "pending"}),
            "undo": partial(ada.call, "POST", f"/api/v1/undo/{closed.headers['x-undo-token']}", 200),
        }[way]()
    async with engine.begin() as holder:
        await holder.execute(text("LOCK TABLE task_history IN SHARE MODE"))
        waiting = asyncio.create_task(opening)
        await until_waiting(rows, 1)
        changing = asyncio.create_task(change(ada, day_start="07:00:00"))
        await until_waiting(rows, 2)
    await asyncio.gather(waiting, changing)
    told = await newest(rows, task["id"])
    assert (told["closed_by"], told["deleted_at"], told["day_start"]) == (None, None, "07:00")


async def test_a_series_that_goes_on_again_while_the_person_moves(ada: Any, engine: Any, rows: Any) -> None:
    daily = {"rrule": "FREQ=DAILY"}
    task = await ada.create(due_date="2026-01-07", recurrence=daily)
    path = f"/api/v1/tasks/{task['id']}?scope=series"
    await ada.call("PATCH", path, 200, json={"recurrence": None})
    async with engine.begin() as holder:
        await holder.execute(text("LOCK TABLE series_history IN SHARE MODE"))
        going_on = asyncio.create_task(ada.call("PATCH", path, 200, json={"recurrence": daily}))
        await until_waiting(rows, 1)
        moving = asyncio.create_task(change(ada, timezone="Asia/Tokyo"))
        await until_waiting(rows, 2)
    await asyncio.gather(going_on, moving)
    for told in (await newest(rows, task["id"]), await newest(rows, task["series_id"])):
        assert told["timezone"] == "Asia/Tokyo"


async def test_what_it_waited_for_came_before_it(ada: Any, engine: Any, rows: Any, clock: Any) -> None:
    """History tells in the order of its versions: the time of a change is that at which it holds its locks."""
    task = await ada.create(due_date="2026-01-07")
    async with engine.begin() as holder:
        await holder.execute(text("SELECT FROM tasks WHERE id = :id FOR UPDATE"), {"id": task["id"]})
        changing = asyncio.create_task(change(ada, day_start="07:00:00"))
        await until_waiting(rows, 1)
        clock.advance(timedelta(minutes=1))
    await changing
    assert (await newest(rows, task["id"]))["updated_at"] == "2026-01-05T09:01:00Z"
