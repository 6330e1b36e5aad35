"""Complete, reopen, skip, delete: one closing, one version, one event; and what becomes of a series."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

DAILY = {"rrule": "FREQ=DAILY"}
Follow = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


def path(task: dict[str, Any]) -> str:
    return f"/api/v1/tasks/{task['id']}"


async def event_list(rows: Any, key: str) -> list[tuple[str, dict[str, Any]]]:
    found = await rows("SELECT topic, event FROM outbox WHERE key = :key", key=key)
    told = [(row["topic"], orjson.loads(row["event"])["data"]) for row in found]
    return sorted(told, key=lambda pair: pair[1]["version"])


async def test_completing_is_one_version_and_one_event(ada: Any, rows: Any, clock: Any) -> None:
    task = await ada.create()
    clock.advance(timedelta(minutes=5))
    answer = await ada.call("POST", path(task) + "/complete", 200)
    done = answer.json()
    assert (done["status"], done["completed"], done["version"]) == ("completed", True, 2)
    assert (done["completed_at"], done["next"], answer.headers["etag"]) == (
        "2026-01-05T09:05:00Z",
        None,
        '"2"',
    )
    clock.advance(timedelta(minutes=5))
    for method, body in (("POST", None), ("PATCH", {"completed": True}), ("POST", {})):
        again = await ada.call(method, path(task) + "/complete", 200, json=body)
        assert again.json() == done
    topic, snapshot = (await event_list(rows, task["id"]))[-1]
    assert (topic, snapshot["version"]) == ("task-completed", 2)
    assert (snapshot["closed_by"], snapshot["closed_version"]) == ("completed", 2)
    assert snapshot["closed_at"] == "2026-01-05T09:05:00Z"


async def test_a_status_may_be_patched_with_the_rest(ada: Any, rows: Any) -> None:
    task = await ada.create()
    body = {"status": "completed", "title": "Done and renamed"}
    done = (await ada.call("PATCH", path(task), 200, json=body)).json()
    assert (done["completed"], done["title"], done["version"]) == (True, "Done and renamed", 2)
    topic, snapshot = (await event_list(rows, task["id"]))[-1]
    assert (topic, snapshot["closed_version"]) == ("task-completed", 2)
    assert set(snapshot["changes"]) == {"status", "closed_by", "title"}


async def test_opening_again(ada: Any, rows: Any, clock: Any) -> None:
    task = await ada.create(due_at="2026-01-06T10:00:00Z", reminders=[{"offset": "PT30M"}])
    await ada.call("POST", path(task) + "/complete", 200)
    clock.advance(timedelta(minutes=5))
    again = (await ada.call("POST", path(task) + "/complete", 200, json={"completed": False})).json()
    assert (again["status"], again["completed_at"], again["version"]) == ("pending", None, 3)
    same = await ada.call("PATCH", path(task) + "/complete", 200, json={"completed": False})
    assert same.json() == again
    topic, snapshot = (await event_list(rows, task["id"]))[-1]
    assert (topic, snapshot["closed_by"], snapshot["closed_version"]) == ("task-updated", None, None)
    assert snapshot["reminders"][0]["set_at"] == "2026-01-05T09:05:00Z"


@pytest.mark.parametrize(
    ("statuses", "versions"),
    [
        (["in_progress", "completed", "in_progress"], [2, 3, 4]),
        (["archived", "pending"], [2, 3]),
        (["completed", "archived", "archived"], [2, 3, 3]),
    ],
)
async def test_statuses_by_patch(ada: Any, statuses: list[str], versions: list[int]) -> None:
    task = await ada.create()
    for status, version in zip(statuses, versions, strict=True):
        after = (await ada.call("PATCH", path(task), 200, json={"status": status})).json()
        assert (after["status"], after["version"]) == (status, version)
        assert (after["completed_at"] is not None) == (status == "completed")


async def test_an_archived_task_is_reopened_first(ada: Any) -> None:
    task = await ada.create()
    await ada.call("PATCH", path(task), 200, json={"status": "archived"})
    for refused in (
        await ada.call("POST", path(task) + "/complete", 409),
        await ada.call("PATCH", path(task), 409, json={"status": "completed"}),
    ):
        assert refused.json()["error_code"] == "transition_refused"


async def test_deleting(ada: Any, rows: Any) -> None:
    task = await ada.create()
    await ada.call("DELETE", path(task), 204)
    for method, route in (("GET", ""), ("DELETE", ""), ("PATCH", ""), ("POST", "/complete")):
        await ada.call(method, path(task) + route, 404, json={})
    topic, snapshot = (await event_list(rows, task["id"]))[-1]
    assert (topic, snapshot["closed_by"], snapshot["version"]) == ("task-deleted", "withdrawn", 2)
    assert snapshot["deleted_at"] is not None
    ledger = (await ada.call("GET", path(task) + "/activity", 200)).json()["items"]
    assert [line["kind"] for line in ledger] == ["created", "deleted"]
    assert len((await ada.call("GET", path(task) + "/history", 200)).json()["items"]) == 2


@pytest.mark.parametrize("give_up", ["delete", "skip", "archive"])
async def test_giving_up_an_instance_makes_room_for_the_next(ada: Any, rows: Any, give_up: str) -> None:
    task = await ada.create(due_date="2026-01-06", recurrence=DAILY)
    if give_up == "delete":
        await ada.call("DELETE", path(task), 204)
    elif give_up == "skip":
        skipped = (await ada.call("POST", path(task) + "/skip", 200)).json()
        assert (skipped["status"], skipped["version"]) == ("archived", 2)
        assert (await ada.call("POST", path(task) + "/skip", 200)).json() == skipped
    else:
        await ada.call("PATCH", path(task), 200, json={"status": "archived"})
    _, snapshot = (await event_list(rows, task["id"]))[-1]
    assert (snapshot["closed_by"], snapshot["closed_version"]) == ("skipped", 2)
    assert len(await event_list(rows, task["series_id"])) == 1


async def test_only_an_open_instance_can_be_skipped(ada: Any) -> None:
    single = await ada.create()
    refused = await ada.call("POST", path(single) + "/skip", 409)
    assert refused.json()["error_code"] == "not_recurring"
    task = await ada.create(due_date="2026-01-06", recurrence=DAILY)
    await ada.call("POST", path(task) + "/complete", 200)
    refused = await ada.call("POST", path(task) + "/skip", 409)
    assert refused.json()["error_code"] == "transition_refused"


async def test_the_next_instance_is_shown_once_it_is_there(ada: Any, follow: Follow) -> None:
    task = await ada.create(due_date="2026-01-06", recurrence=DAILY)
    assert (await ada.call("POST", path(task) + "/complete", 200)).json()["next"] is None
    successor = await follow(task)
    shown = (await ada.call("POST", path(task) + "/complete", 200)).json()["next"]
    assert shown == successor
    assert shown["due_date"] == "2026-01-07"


async def test_reopening_takes_the_untouched_successor_away(ada: Any, rows: Any, follow: Follow) -> None:
    task = await ada.create(due_date="2026-01-06", recurrence=DAILY)
    await ada.call("POST", path(task) + "/complete", 200)
    successor = await follow(task)
    again = (await ada.call("POST", path(task) + "/complete", 200, json={"completed": False})).json()
    assert (again["status"], again["next"]) == ("pending", None)
    await ada.call("GET", path(successor), 404)
    topic, snapshot = (await event_list(rows, successor["id"]))[-1]
    assert (topic, snapshot["closed_by"], snapshot["version"]) == ("task-deleted", "withdrawn", 2)
    # Completed again, the same row comes back: withdrawn is not forgotten.
    await ada.call("POST", path(task) + "/complete", 200)
    revived = await follow(task)
    assert (revived["id"], revived["version"]) == (successor["id"], 3)
    await ada.call("POST", path(task) + "/complete", 200, json={"completed": False})
    await ada.call("GET", path(successor), 404)


@pytest.mark.parametrize("touch", ["edit", "complete", "delete", "skip"])
async def test_a_touched_successor_is_not_lost(ada: Any, rows: Any, follow: Follow, touch: str) -> None:
    task = await ada.create(due_date="2026-01-06", recurrence=DAILY)
    await ada.call("POST", path(task) + "/complete", 200)
    successor = await follow(task)
    if touch == "edit":
        await ada.call("PATCH", path(successor), 200, json={"title": "Changed"})
    elif touch == "delete":
        await ada.call("DELETE", path(successor), 204)
    else:
        await ada.call("POST", f"{path(successor)}/{touch}", 200)
    for method, route, body in (
        ("POST", "/complete", {"completed": False}),
        ("PATCH", "", {"status": "pending"}),
    ):
        refused = await ada.call(method, path(task) + route, 409, json=body)
        assert refused.json()["error_code"] == "successor_touched"
    assert (await ada.call("GET", path(task), 200)).json()["version"] == 2
    (row,) = await rows("SELECT version FROM tasks WHERE id = :id", id=successor["id"])
    assert row["version"] == 2


async def test_another_start_of_the_day_touches_no_successor(ada: Any, follow: Follow, rows: Any) -> None:
    task = await ada.create(due_date="2026-01-06", recurrence=DAILY)
    await ada.call("POST", path(task) + "/complete", 200)
    successor = await follow(task)
    await ada.call("PATCH", "/api/v1/users/me", 200, json={"day_start": "07:00:00"})
    assert len(await event_list(rows, successor["id"])) == 2
    await ada.call("POST", path(task) + "/complete", 200, json={"completed": False})
    await ada.call("GET", path(successor), 404)


async def test_deleting_the_series_ends_it(ada: Any, rows: Any, follow: Follow) -> None:
    first = await ada.create(due_date="2026-01-06", recurrence=DAILY)
    await ada.call("POST", path(first) + "/complete", 200)
    second = await follow(first)
    await ada.call("DELETE", path(second) + "?scope=series", 204)
    await ada.call("GET", path(second), 404)
    assert (await ada.call("GET", path(first), 200)).json()["completed"] is True
    topic, snapshot = (await event_list(rows, second["id"]))[-1]
    assert (topic, snapshot["closed_by"], snapshot["series_version"]) == ("task-deleted", "erased", 2)
    _, series = (await event_list(rows, first["series_id"]))[-1]
    assert (series["version"], series["ended"], series["tip"]["task_id"]) == (2, True, second["id"])
    assert series["tip"]["closed_by"] == "erased"


async def test_deleting_the_series_from_a_closed_instance_takes_the_open_one_along(
    ada: Any, rows: Any, follow: Follow
) -> None:
    first = await ada.create(due_date="2026-01-06", recurrence=DAILY)
    await ada.call("POST", path(first) + "/complete", 200)
    second = await follow(first)
    await ada.call("DELETE", path(first) + "?scope=series", 204)
    for task in (first, second):
        await ada.call("GET", path(task), 404)
    closed = await rows("SELECT id, closed_by FROM tasks WHERE series_id = :id", id=first["series_id"])
    assert {str(row["id"]): row["closed_by"] for row in closed} == {
        first["id"]: "completed",
        second["id"]: "erased",
    }
    # What went with the whole series does not stand in the way of an instance that is wanted back.
    await ada.call("POST", path(first) + "/restore", 200)
    await ada.call("POST", path(first) + "/complete", 200, json={"completed": False})
    assert (await ada.call("GET", path(first), 200)).json()["status"] == "pending"
    await ada.call("GET", path(second), 404)


async def test_deleting_the_series_of_a_single_task_deletes_the_task(ada: Any) -> None:
    task = await ada.create()
    await ada.call("DELETE", path(task) + "?scope=series", 204)
    await ada.call("GET", path(task), 404)
    await ada.call("DELETE", path(task) + "?scope=everything", 422)


async def test_the_ledger_in_the_order_of_time(ada: Any, clock: Any, rows: Any) -> None:
    task = await ada.create()
    for step, body in enumerate(({"title": "x"}, {"status": "completed"}, {"status": "pending"}), start=1):
        clock.advance(timedelta(minutes=1))
        await ada.call("PATCH", path(task), 200, json=body)
        assert step
    await rows(
        "INSERT INTO task_activity (id, task_id, user_id, at, kind, detail) VALUES "
        "(:id, :task, :user, '2026-01-05T09:00:30Z', 'reminder_fired', "
        '\'{"reminder_id": "01900000-0000-7000-8000-000000000001", '
        '"fire_at": "2026-01-05T09:00:29Z", "fired_at": "2026-01-05T09:00:30Z"}\')',
        id=uuid4(),
        task=task["id"],
        user=ada.id,
    )
    whole = (await ada.call("GET", path(task) + "/activity", 200)).json()
    assert [line["kind"] for line in whole["items"]] == [
        "created",
        "reminder_fired",
        "updated",
        "completed",
        "reopened",
    ]
    assert whole["items"][1]["sentence"] == (
        "The reminder for 5 January 2026 at 09:00:29 UTC went out at 5 January 2026 at 09:00:30 UTC."
    )
    assert whole["items"][2]["detail"] == {"version": 2, "changed": ["title"], "actor": "user"}
    pages: list[dict[str, Any]] = []
    query = "?limit=2"
    while query:
        page = (await ada.call("GET", path(task) + "/activity" + query, 200)).json()
        pages += page["items"]
        query = f"?limit=2&cursor={page['next_cursor']}" if page["has_next"] else ""
    assert pages == whole["items"]
    UUID(pages[0]["id"])
