"""Undo: a change is taken back whole, or not at all; and taking back is a change itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from tests.unit.service_kit.spellings import other_spellings

DAILY = {"rrule": "FREQ=DAILY"}
TOMORROW = "2026-01-06"


def path(task: dict[str, Any]) -> str:
    return f"/api/v1/tasks/{task['id']}"


async def undo(person: Any, answer: Any, expect: int = 200) -> Any:
    return await person.call("POST", f"/api/v1/undo/{answer.headers['x-undo-token']}", expect)


async def read(person: Any, task: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = (await person.call("GET", path(task), 200)).json()
    return body


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Equal but for what every write moves on."""
    moved = ("version", "updated_at")
    return {k: v for k, v in one.items() if k not in moved} == {
        k: v for k, v in other.items() if k not in moved
    }


CHANGES: list[dict[str, Any]] = [
    {"title": "Another title"},
    {"description": "with words"},
    {"description": None},
    {"priority": "urgent", "tags": ["a", "b"]},
    {"due_at": "2026-01-09T08:00:00Z", "timezone": "America/New_York"},
    {"due_at": None, "due_date": "2026-01-09"},
    {"metadata": {"client": {"deep": [1, None, "x"]}}},
    {"reminders": []},
    {"reminders": [{"offset": "PT1H"}, {"at": "2026-01-06T07:00:00Z", "channels": ["email"]}]},
    {"status": "in_progress"},
    {"status": "completed"},
    {"status": "archived", "title": "Put away"},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: ",".join(change))
async def test_an_edit_is_taken_back_and_brought_again(ada: Any, change: dict[str, Any]) -> None:
    task = await ada.create(
        description="before",
        tags=["home"],
        due_at="2026-01-08T10:00:00Z",
        metadata={"kept": True},
        reminders=[{"offset": "PT30M"}],
    )
    changed = await ada.call("PATCH", path(task), 200, json=change)
    back = await undo(ada, changed)
    assert same((await read(ada, task)), task)
    assert [item["id"] for item in back.json()["items"]] == [task["id"]]
    again = await undo(ada, back)
    now = await read(ada, task)
    moment = "completed_at"
    assert same({**now, moment: None}, {**changed.json(), moment: None})
    assert (await undo(ada, again)).status_code == 200


async def test_the_same_change_is_not_taken_back_twice(ada: Any) -> None:
    task = await ada.create()
    changed = await ada.call("PATCH", path(task), 200, json={"title": "Second"})
    await undo(ada, changed)
    refused = await undo(ada, changed, 409)
    assert refused.json()["error_code"] == "undo_not_possible"
    assert "title" in refused.json()["detail"]


async def test_a_later_change_of_another_field_stays(ada: Any) -> None:
    task = await ada.create(priority="low")
    changed = await ada.call("PATCH", path(task), 200, json={"title": "Second"})
    await ada.call("PATCH", path(task), 200, json={"priority": "high"})
    await undo(ada, changed)
    now = await read(ada, task)
    assert (now["title"], now["priority"]) == (task["title"], "high")


async def test_a_later_change_of_the_same_field_is_not_lost(ada: Any) -> None:
    task = await ada.create()
    changed = await ada.call("PATCH", path(task), 200, json={"title": "Second", "priority": "high"})
    await ada.call("PATCH", path(task), 200, json={"title": "Third"})
    await undo(ada, changed, 409)
    now = await read(ada, task)
    assert (now["title"], now["priority"]) == ("Third", "high")


async def test_what_a_later_change_stands_on_is_not_taken_away(ada: Any) -> None:
    task = await ada.create()
    due = await ada.call("PATCH", path(task), 200, json={"due_at": "2026-01-08T10:00:00Z"})
    await ada.call("POST", f"{path(task)}/reminders", json={"offset": "PT30M"})
    await undo(ada, due, 409)
    await ada.call("PATCH", path(task), 200, json={"title": "Can be edited as before"})


async def test_a_due_does_not_come_back_beside_another(ada: Any) -> None:
    task = await ada.create(due_at="2026-01-08T10:00:00Z")
    cleared = await ada.call("PATCH", path(task), 200, json={"due_at": None})
    await ada.call("PATCH", path(task), 200, json={"due_date": "2026-01-09"})
    await undo(ada, cleared, 409)


async def test_what_was_completed_and_archived_stays_completed(ada: Any, clock: Any, rows: Any) -> None:
    task = await ada.create()
    await ada.call("POST", f"{path(task)}/complete", 200)
    done = await read(ada, task)
    clock.advance(timedelta(hours=1))
    archived = await ada.call("PATCH", path(task), 200, json={"status": "archived"})
    back = await undo(ada, archived)
    assert same(await read(ada, task), done)
    await undo(ada, back)
    reopened = await ada.call("PATCH", path(task), 200, json={"status": "pending"})
    await undo(ada, reopened)
    (row,) = await rows("SELECT status, closed_by FROM tasks WHERE id = :id", id=task["id"])
    assert row == {"status": "archived", "closed_by": "completed"}


@pytest.mark.parametrize("answer", [{"minutes": 120}, None], ids=["snoozed", "heard"])
async def test_a_due_that_moves_back_brings_the_answered_reminders(
    ada: Any, clock: Any, answer: dict[str, int] | None
) -> None:
    task = await ada.create(due_at="2026-01-05T09:30:00Z", reminders=[{"offset": "PT15M"}])
    clock.advance(timedelta(minutes=20))
    reminder = f"{path(task)}/reminders/{task['reminders'][0]['id']}"
    route = "ack" if answer is None else "snooze"
    answered = (await ada.call("POST", f"{reminder}/{route}", 200, json=answer)).json()
    moved = await ada.call("PATCH", path(task), 200, json={"due_at": "2026-01-09T10:00:00Z"})
    assert moved.json()["reminders"] == task["reminders"]
    back = await undo(ada, moved)
    assert (await read(ada, task))["reminders"] == answered["reminders"]
    await undo(ada, back)
    assert (await read(ada, task))["reminders"] == task["reminders"]


async def test_a_task_that_is_open_again_does_not_remind_of_what_is_past(
    ada: Any, clock: Any, rows: Any
) -> None:
    """Its reminders count as set when it was opened, also where the completion came with a change of them."""
    task = await ada.create(due_at="2026-01-05T10:00:00Z", reminders=[{"offset": "PT0S"}])
    reminder = {**task["reminders"][0], "channels": ["email"]}
    body = {"status": "completed", "reminders": [reminder]}
    closed = await ada.call("PATCH", path(task), 200, json=body)
    clock.advance(timedelta(hours=2))
    await undo(ada, closed)
    (row,) = await rows("SELECT set_at FROM task_reminders WHERE task_id = :id", id=task["id"])
    assert row["set_at"] == clock.instant


async def test_a_new_task_is_taken_back_and_brought_again(ada: Any) -> None:
    made = await ada.call("POST", "/api/v1/tasks", 201, json={"title": "Oops"})
    gone = await undo(ada, made)
    await ada.call("GET", path(made.json()), 404)
    await undo(ada, gone)
    assert same(await read(ada, made.json()), made.json())


async def test_a_new_task_that_was_edited_is_not_taken_back(ada: Any) -> None:
    made = await ada.call("POST", "/api/v1/tasks", 201, json={"title": "Oops"})
    await ada.call("PATCH", path(made.json()), 200, json={"description": "work"})
    await undo(ada, made, 409)


async def test_a_deleted_task_comes_back(ada: Any) -> None:
    task = await ada.create(reminders=[{"at": "2026-01-07T10:00:00Z"}])
    deleted = await ada.call("DELETE", path(task), 204)
    await undo(ada, deleted)
    assert same(await read(ada, task), task)


async def test_taking_back_a_completion_takes_the_untouched_successor(
    ada: Any, follow: Any, rows: Any
) -> None:
    task = await ada.create(due_date=TOMORROW, recurrence=DAILY, reminders=[{"offset": "PT1H"}])
    done = await ada.call("POST", f"{path(task)}/complete", 200)
    successor = await follow(task)
    await undo(ada, done)
    assert (await read(ada, task))["status"] == "pending"
    await ada.call("GET", path(successor), 404)
    told = await rows("SELECT topic, event FROM outbox WHERE key = :key", key=successor["id"])
    last = max((orjson.loads(row["event"])["data"] for row in told), key=lambda data: data["version"])
    assert last["closed_by"] == "withdrawn"

    # Completed again there is one live successor, the one of before.
    await ada.call("POST", f"{path(task)}/complete", 200)
    assert (await follow(task))["id"] == successor["id"]
    live = await rows(
        "SELECT id FROM tasks WHERE series_id = :id AND closed_by IS NULL AND deleted_at IS NULL",
        id=task["series_id"],
    )
    assert [str(row["id"]) for row in live] == [successor["id"]]


async def test_a_completion_whose_successor_was_touched_stays(ada: Any, follow: Any) -> None:
    task = await ada.create(due_date=TOMORROW, recurrence=DAILY)
    done = await ada.call("POST", f"{path(task)}/complete", 200)
    successor = await follow(task)
    await ada.call("PATCH", path(successor), 200, json={"title": "Mine"})
    refused = await undo(ada, done, 409)
    assert refused.json()["error_code"] == "undo_not_possible"
    assert (await read(ada, task))["status"] == "completed"
    assert (await read(ada, successor))["title"] == "Mine"


async def test_the_end_of_a_series_is_taken_back(ada: Any, rows: Any) -> None:
    task = await ada.create(due_date=TOMORROW, recurrence=DAILY)
    ended = await ada.call("DELETE", f"{path(task)}?scope=series", 204)
    await undo(ada, ended)
    assert same(await read(ada, task), task)
    (series,) = await rows("SELECT ended_at, version FROM series WHERE id = :id", id=task["series_id"])
    assert series == {"ended_at": None, "version": 3}


async def test_a_new_recurring_task_that_is_taken_back_ends_its_series(ada: Any, rows: Any) -> None:
    made = await ada.call(
        "POST", "/api/v1/tasks", 201, json={"title": "Oops", "due_date": TOMORROW, "recurrence": DAILY}
    )
    await undo(ada, made)
    (series,) = await rows("SELECT ended_at FROM series WHERE id = :id", id=made.json()["series_id"])
    assert series["ended_at"] is not None


async def test_a_recurrence_that_was_added_is_taken_away(ada: Any, rows: Any) -> None:
    task = await ada.create(due_date=TOMORROW)
    recurring = await ada.call("PATCH", path(task), 200, json={"recurrence": DAILY})
    await undo(ada, recurring)
    now = await read(ada, task)
    assert now["recurrence"] is None
    assert "series_id" not in now
    (series,) = await rows("SELECT ended_at FROM series WHERE id = :id", id=recurring.json()["series_id"])
    assert series["ended_at"] is not None


async def test_a_token_is_of_one_person_and_of_this_service(ada: Any, bob: Any) -> None:
    task = await ada.create()
    changed = await ada.call("PATCH", path(task), 200, json={"title": "Second"})
    await undo(bob, changed, 404)
    token = changed.headers["x-undo-token"]
    forged = ("B" if token[0] == "A" else "A") + token[1:]
    others = [other for other in other_spellings(token) if not set(other) & set("+/. \n")]
    told = set()
    for made_up in (forged, "A" * len(token), "nonsense", "%20", *others):
        problem = (await ada.call("POST", f"/api/v1/undo/{made_up}", 404)).json()
        told.add((problem["error_code"], problem["detail"]))
    assert told == {("undo_token_unknown", "This is no undo token.")}
    assert (await read(ada, task))["title"] == "Second"


async def test_what_changes_nothing_has_no_token(ada: Any) -> None:
    task = await ada.create()
    same_again = await ada.call("PATCH", path(task), 200, json={"title": task["title"]})
    assert "x-undo-token" not in same_again.headers


async def test_restoring_and_its_limits(ada: Any, follow: Any) -> None:
    task = await ada.create()
    await ada.call("POST", f"{path(task)}/complete", 200)
    await ada.call("DELETE", path(task), 204)
    restored = await ada.call("POST", f"{path(task)}/restore", 200)
    assert restored.json()["status"] == "completed"
    assert (await ada.call("POST", f"{path(task)}/restore", 200)).json()["version"] == restored.json()[
        "version"
    ]

    instance = await ada.create(due_date=TOMORROW, recurrence=DAILY)
    await ada.call("DELETE", path(instance), 204)
    successor = await follow(instance)
    back = await ada.call("POST", f"{path(instance)}/restore", 200)
    assert back.json()["status"] == "pending"
    await ada.call("GET", path(successor), 404)
    await ada.call("POST", f"{path(successor)}/restore", 409)
