"""A task is made: the answer, the rows and the event say the same."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from task_api.adapters.postgres.direct import Direct
from task_api.adapters.postgres.write_statements import INSERT, SHARED_INSERT

DAILY = {"rrule": "FREQ=DAILY"}


async def test_the_least_that_a_task_needs(ada: Any) -> None:
    answer = await ada.call("POST", "/api/v1/tasks", 201, json={"title": " Water the plants "})
    task = answer.json()
    assert answer.headers["location"] == f"/api/v1/tasks/{task['id']}"
    assert answer.headers["etag"] == '"1"'
    assert UUID(task["id"]).version == 7
    assert task == {
        "id": task["id"],
        "number": 1,
        "title": "Water the plants",
        "description": None,
        "status": "pending",
        "completed": False,
        "priority": "medium",
        "tags": [],
        "due_at": None,
        "due_date": None,
        "timezone": "Europe/Berlin",
        "completed_at": None,
        "created_at": "2026-01-05T09:00:00Z",
        "updated_at": "2026-01-05T09:00:00Z",
        "version": 1,
        "metadata": {},
        "reminders": [],
        "recurrence": None,
    }
    read = await ada.call("GET", answer.headers["location"], 200)
    assert read.json() == task


async def test_everything_that_a_task_can_have(ada: Any) -> None:
    task = await ada.create(
        description="All of them.",
        status="in_progress",
        priority="urgent",
        tags=["home", "garden"],
        due_at="2026-02-01T12:00:00+02:00",
        timezone="America/New_York",
        metadata={"room": {"number": 7}, "list": [1, None, "\u00e9"]},
        reminders=[{"offset": "P1D", "channels": ["email", "inbox"]}, {"at": "2026-01-31T00:00:00Z"}],
        recurrence={"rrule": "rrule:interval=2;freq=monthly", "month_end": "skip", "pile_up": "allow"},
    )
    assert task["due_at"] == "2026-02-01T10:00:00Z"
    first, second = task["reminders"]
    assert (first["offset"], first["channels"]) == ("P1D", ["email", "inbox"])
    assert second == {"id": second["id"], "at": "2026-01-31T00:00:00Z"}
    assert task["recurrence"] == {
        "rrule": "FREQ=MONTHLY;INTERVAL=2",
        "anchor": "schedule",
        "month_end": "skip",
        "overdue": "next_future",
        "dst_gap": "forward",
        "pile_up": "allow",
    }
    assert task["occurrence_key"] == "2026-02-01T05:00:00"
    assert (await ada.call("GET", f"/api/v1/tasks/{task['id']}", 200)).json() == task


async def test_what_is_committed_and_told(ada: Any, rows: Any) -> None:
    task = await ada.create(due_date="2026-01-06", reminders=[{"offset": "PT30M"}], recurrence=DAILY)
    told = await rows(
        "SELECT id, topic, key, event FROM outbox WHERE key IN (:task, :series) ORDER BY topic DESC",
        task=task["id"],
        series=task["series_id"],
    )
    assert [(row["topic"], row["key"]) for row in told] == [
        ("task-created", task["id"]),
        ("series-updated", task["series_id"]),
    ]
    created, updated = (orjson.loads(row["event"]) for row in told)
    assert created["id"] == str(told[0]["id"])
    assert (created["source"], created["type"], created["subject"]) == (
        "/task-api",
        "task.created.v1",
        task["id"],
    )
    assert created["traceid"] == created["traceparent"] is not None
    snapshot = created["data"]
    assert (snapshot["number"], snapshot["version"], snapshot["epoch"]) == (task["number"], 1, 1)
    assert (snapshot["due_date"], snapshot["day_start"], snapshot["timezone"]) == (
        "2026-01-06",
        "09:00",
        "Europe/Berlin",
    )
    assert (snapshot["occurrence_key"], snapshot["series_version"]) == ("2026-01-06", 1)
    assert snapshot["reminders"][0]["set_at"] == "2026-01-05T09:00:00Z"
    assert snapshot["actor"] == {"kind": "user", "id": str(ada.id)}
    series = updated["data"]
    assert (series["start"], series["rrule"], series["version"]) == ("2026-01-06", "FREQ=DAILY", 1)
    assert series["tip"] == {
        "task_id": task["id"],
        "version": 1,
        "occurrence_key": "2026-01-06",
        "is_open": True,
        "closed_by": None,
        "closed_at": None,
        "closed_version": None,
    }
    for table in ("task_history", "task_activity"):
        (row,) = await rows(f"SELECT id FROM {table} WHERE task_id = :id", id=task["id"])
        assert row["id"] == told[0]["id"]


async def test_text_that_looks_like_the_events_own(ada: Any, rows: Any) -> None:
    await ada.create()
    title = ',"number":1,"version":1'
    task = await ada.create(title, description='{"number":1,', tags=['"number":1,'])
    (row,) = await rows("SELECT event FROM outbox WHERE key = :id", id=task["id"])
    snapshot = orjson.loads(row["event"])["data"]
    assert (snapshot["number"], snapshot["title"], snapshot["version"]) == (2, title, 1)


async def test_numbers_are_each_persons_and_without_gaps(ada: Any, bob: Any) -> None:
    made = await asyncio.gather(*(ada.create() for _ in range(20)), bob.create())
    assert sorted(task["number"] for task in made[:20]) == list(range(1, 21))
    assert made[20]["number"] == 1


async def test_a_due_in_the_past_must_be_meant(ada: Any) -> None:
    for field, value in (("due_at", "2026-01-05T08:59:59Z"), ("due_date", "2026-01-04")):
        body = {"title": "Water the plants", field: value}
        problem = (await ada.call("POST", "/api/v1/tasks", 422, json=body)).json()
        assert (problem["error_code"], problem["errors"][0]["field"]) == ("due_in_past", field)
        await ada.call("POST", "/api/v1/tasks?allow_past=true", 201, json=body)
    await ada.create(due_date="2026-01-05")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"reminders": [{"offset": "PT5M"}]}, "reminders.0.offset"),
        ({"recurrence": DAILY}, "recurrence"),
        ({"recurrence": {"rrule": "FREQ=DAILY;BYDAY=9MO"}, "due_date": "2026-01-06"}, "recurrence.rrule"),
        ({"recurrence": {"rrule": "FREQ=HOURLY"}, "due_date": "2026-01-06"}, "recurrence.rrule"),
        ({"due_date": "2026-01-06", "due_at": "2026-01-06T10:00:00Z"}, "body"),
        ({"colour": "red"}, "colour"),
        ({"version": 7}, "version"),
        ({"priority": None}, "priority"),
    ],
)
async def test_what_does_not_go_together(ada: Any, rows: Any, fields: dict[str, Any], field: str) -> None:
    answer = await ada.call("POST", "/api/v1/tasks", 422, json={"title": "Water the plants", **fields})
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert await rows("SELECT 1 FROM tasks WHERE user_id = :id", id=ada.id) == []


async def test_settings_that_change_while_a_task_is_made(
    ada: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner is read before the write; the write notices and reads again."""
    asked: list[Direct] = []
    ask, ask_shared = Direct.row, Direct.together

    async def change(statement: Direct, *given: Any) -> Any:
        if not asked:
            await rows("UPDATE users SET timezone = 'Asia/Tokyo' WHERE id = :id RETURNING id", id=ada.id)
        asked.append(statement)
        return await (ask_shared if statement is SHARED_INSERT else ask)(statement, *given)

    monkeypatch.setattr(Direct, "row", change)
    monkeypatch.setattr(Direct, "together", change)
    task = await ada.create(due_date="2026-01-06")
    assert asked == [SHARED_INSERT, INSERT, SHARED_INSERT, INSERT]
    assert task["timezone"] == "Asia/Tokyo"
    assert len(await rows("SELECT 1 FROM outbox WHERE key = :id", id=task["id"])) == 1


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"", b"\xff"])
async def test_bodies_that_are_none(ada: Any, body: bytes) -> None:
    answer = await ada.call(
        "POST", "/api/v1/tasks", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_settings_that_another_replica_changed_count_at_once(ada: Any, rows: Any) -> None:
    """This process remembers ada's settings from the first task; they change behind its back."""
    await ada.create(due_date="2026-01-08")
    await rows(
        "UPDATE users SET timezone = 'Pacific/Auckland', day_start = '06:00', default_reminder = interval '1 hour' "
        "WHERE id = :id RETURNING id",
        id=ada.id,
    )
    task = await ada.create(due_date="2026-01-08")
    assert task["timezone"] == "Pacific/Auckland"
    assert [reminder["offset"] for reminder in task["reminders"]] == ["PT1H"]
    (row,) = await rows("SELECT due_instant FROM tasks WHERE id = :id", id=UUID(task["id"]))
    assert row["due_instant"] == datetime(2026, 1, 7, 17, tzinfo=UTC), "06:00 of 8 January in Auckland"


async def test_what_is_wrong_by_old_settings_alone_is_taken(ada: Any, rows: Any) -> None:
    """At 9:00 UTC the 4th of January is over in Berlin, and on Kiritimati, but not behind the date line."""
    await ada.create()
    await ada.call("POST", "/api/v1/tasks", 422, json={"title": "late", "due_date": "2026-01-04"})
    await rows("UPDATE users SET timezone = 'Etc/GMT+12' WHERE id = :id RETURNING id", id=ada.id)
    await ada.call("POST", "/api/v1/tasks", 201, json={"title": "in time", "due_date": "2026-01-04"})
