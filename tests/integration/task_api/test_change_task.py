"""A task is read, and then written without locks: whatever happens in between must show in what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from task_api.adapters.postgres.unlocked_tasks import PostgresUnlockedTasks

DUE = "2026-01-06T10:00:00Z"
CALLS = pytest.mark.parametrize(
    ("method", "suffix", "body"),
    [("POST", "/complete", None), ("PATCH", "", {"title": "Mine"}), ("DELETE", "", None)],
)


@dataclass
class Between:
    """What is done once, after the next task was read."""

    act: Callable[[], Awaitable[Any]] | None = None


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Between:
    due = Between()
    read = PostgresUnlockedTasks.read

    async def read_and_wait(self: PostgresUnlockedTasks, *which: Any) -> Any:
        found = await read(self, *which)
        act, due.act = due.act, None
        if act is not None:
            await act()
        return found

    monkeypatch.setattr(PostgresUnlockedTasks, "read", read_and_wait)
    return due


def path(task: dict[str, Any]) -> str:
    return f"/api/v1/tasks/{task['id']}"


async def test_another_edit_in_between_stands_beside_this_one(ada: Any, between: Between, rows: Any) -> None:
    task = await ada.create()
    between.act = lambda: ada.call("PATCH", path(task), 200, json={"priority": "high"})
    after = (await ada.call("PATCH", path(task), 200, json={"title": "Mine"})).json()
    assert (after["title"], after["priority"], after["version"]) == ("Mine", "high", 3)
    history = await rows(
        "SELECT version, changes FROM task_history WHERE task_id = :id ORDER BY version", id=task["id"]
    )
    assert [(row["version"], list(row["changes"])) for row in history][1:] == [
        (2, ["priority"]),
        (3, ["title"]),
    ]


@CALLS
async def test_a_version_that_is_no_longer_so_is_412_with_the_state_of_now(
    ada: Any, between: Between, method: str, suffix: str, body: Any
) -> None:
    task = await ada.create()
    between.act = lambda: ada.call("PATCH", path(task), 200, json={"title": "Theirs"})
    refused = await ada.call(method, path(task) + suffix, 412, json=body, headers={"If-Match": '"1"'})
    assert (refused.json()["current"]["title"], refused.json()["current"]["version"]) == ("Theirs", 2)


@CALLS
async def test_what_is_deleted_in_between_is_not_there(
    ada: Any, between: Between, method: str, suffix: str, body: Any
) -> None:
    task = await ada.create()
    between.act = lambda: ada.call("DELETE", path(task), 204)
    await ada.call(method, path(task) + suffix, 404, json=body)


async def test_what_is_completed_twice_at_once_is_completed_once(
    ada: Any, between: Between, rows: Any
) -> None:
    task = await ada.create()
    between.act = lambda: ada.call("POST", path(task) + "/complete", 200)
    assert (await ada.call("POST", path(task) + "/complete", 200)).json()["version"] == 2
    found = await rows("SELECT topic FROM outbox WHERE key = :id ORDER BY created_at", id=task["id"])
    assert [row["topic"] for row in found] == ["task-created", "task-completed"]


async def test_a_task_that_becomes_recurring_in_between_is_closed_as_one_of_its_series(
    ada: Any, between: Between, rows: Any
) -> None:
    task = await ada.create(due_at=DUE)
    rule = {"recurrence": {"rrule": "FREQ=DAILY"}}
    between.act = lambda: ada.call("PATCH", path(task), 200, json=rule)
    done = (await ada.call("POST", path(task) + "/complete", 200)).json()
    assert (done["version"], done["recurrence"]["rrule"]) == (3, "FREQ=DAILY")
    (event,) = await rows(
        "SELECT convert_from(event, 'UTF8')::jsonb -> 'data' AS data FROM outbox "
        "WHERE key = :id AND topic = 'task-completed'",
        id=task["id"],
    )
    assert event["data"]["series_version"] == 1


@pytest.mark.parametrize(
    "edit", [{"due_date": "2026-01-07"}, {"title": "Renamed"}, {"timezone": "Asia/Tokyo"}]
)
async def test_a_day_that_starts_elsewhere_in_between_moves_what_is_due_on_one(
    ada: Any, between: Between, rows: Any, edit: dict[str, Any]
) -> None:
    task = await ada.create(due_date=None if "due_date" in edit else "2026-01-07", timezone="UTC")
    between.act = lambda: ada.call("PATCH", "/api/v1/users/me", 200, json={"day_start": "05:30"})
    await ada.call("PATCH", path(task), 200, json=edit)
    if between.act is not None:  # it was made under locks, where there is no in between
        await between.act()
    (row,) = await rows(
        "SELECT due_instant = timezone(timezone, due_date + time '05:30') AS moved FROM tasks WHERE id = :id",
        id=task["id"],
    )
    assert row["moved"]


async def test_what_reminders_tell_of_in_between_stays(ada: Any, between: Between, rows: Any) -> None:
    task = await ada.create(due_at=DUE, reminders=[{"offset": "PT30M"}])
    fired = "UPDATE task_reminders SET fired_for = :at WHERE task_id = :id"
    between.act = lambda: rows(
        fired + " RETURNING id", at=datetime(2026, 1, 6, 9, 30, tzinfo=UTC), id=task["id"]
    )
    await ada.call("PATCH", path(task), 200, json={"title": "Mine"})
    (row,) = await rows(
        "SELECT fired_for IS NOT NULL AS kept FROM task_reminders WHERE task_id = :id", id=task["id"]
    )
    assert row["kept"]


async def test_what_somebody_else_has_locked_is_waited_for(ada: Any, engine: Any) -> None:
    task = await ada.create()
    async with engine.begin() as holder:
        await holder.execute(
            text("UPDATE tasks SET description = 'theirs' WHERE id = :id"), {"id": task["id"]}
        )
        waiting = asyncio.create_task(ada.call("PATCH", path(task), 200, json={"title": "Mine"}))
        await asyncio.sleep(0.2)
        assert not waiting.done()
    after = (await waiting).json()
    assert (after["title"], after["description"]) == ("Mine", "theirs")
