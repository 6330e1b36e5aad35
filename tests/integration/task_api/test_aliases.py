"""The paths of older clients lead to the same handlers, and no further."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.integration.task_api.test_metrics import moves

TODOS = "/api/v1/todos"


async def test_todos_are_tasks(ada: Any) -> None:
    made = (
        await ada.call("POST", TODOS, 201, json={"title": "One", "due_date": "2026-01-08T10:00:00Z"})
    ).json()
    assert (made["due_at"], made["due_date"]) == ("2026-01-08T10:00:00Z", None)
    one = f"{TODOS}/{made['id']}"
    assert (await ada.call("GET", one, 200)).json() == made
    assert (await ada.call("GET", f"/api/v1/tasks/{made['id']}", 200)).json() == made
    patched = await ada.call("PATCH", one, 200, json={"due_date": "2026-01-09T10:00:00+01:00"})
    assert patched.json()["due_at"] == "2026-01-09T09:00:00Z"
    listed = await ada.call(
        "GET", TODOS, 200, params={"sort_by": "title", "order": "asc", "limit": 5, "offset": 0}
    )
    assert [item["id"] for item in listed.json()["items"]] == [made["id"]]
    done = await ada.call("POST", f"{TODOS}/bulk/complete", 200, json={"todo_ids": [made["id"]]})
    assert done.json()["updated"] == 1
    assert (await ada.call("GET", f"{TODOS}/search", 200, params={"q": "one"})).json()["items"]
    await ada.call("DELETE", one, 204)


@pytest.mark.parametrize(
    ("sort_by", "order", "titles"),
    [
        ("due_date", "asc", ["a", "b", "c"]),
        ("due_date", "desc", ["c", "b", "a"]),
        ("due", "asc", ["a", "b", "c"]),
        ("created_at", "asc", ["b", "c", "a"]),
        ("updated_at", "desc", ["a", "c", "b"]),
        ("priority", "desc", ["c", "b", "a"]),
        ("title", "asc", ["a", "b", "c"]),
    ],
)
async def test_todos_in_the_order_of_any_of_their_fields(
    ada: Any, clock: Any, sort_by: str, order: str, titles: list[str]
) -> None:
    for title, day, priority in [("b", 7, "medium"), ("c", 8, "high"), ("a", 6, "low")]:
        await ada.create(title, due_at=f"2026-01-0{day}T10:00:00Z", priority=priority)
        clock.advance(timedelta(minutes=1))
    asked = {"status": "pending", "limit": 20, "offset": 0, "sort_by": sort_by, "order": order}
    listed = await ada.call("GET", TODOS, 200, params=asked)
    assert [item["title"] for item in listed.json()["items"]] == titles


async def test_pages_of_todos_by_their_due_date(ada: Any) -> None:
    for day in (7, 6, 8):
        await ada.create(str(day), due_date=f"2026-01-0{day}")
    asked = {"sort_by": "due_date", "order": "asc", "limit": 2}
    first = (await ada.call("GET", TODOS, 200, params=asked)).json()
    second = await ada.call("GET", TODOS, 200, params=asked | {"cursor": first["next_cursor"]})
    assert [item["title"] for item in first["items"] + second.json()["items"]] == ["6", "7", "8"]


async def test_what_todos_cannot_be_sorted_by(ada: Any) -> None:
    refused = await ada.call("GET", TODOS, 422, params={"sort_by": "due_dates"})
    assert refused.json()["errors"][0]["field"] == "sort"


async def test_a_todo_is_replaced_with_a_moment_in_due_date(ada: Any) -> None:
    made = await ada.create(due_date="2026-01-08")
    whole: dict[str, Any] = {
        "title": "Read", "description": None, "status": "in_progress", "priority": "high", "tags": ["home"],
        "due_at": None, "due_date": "2026-01-09T10:00:00+01:00", "timezone": "Europe/Berlin", "metadata": {},
        "reminders": [], "recurrence": None,
    }  # fmt: skip
    put = (await ada.call("PUT", f"{TODOS}/{made['id']}", 200, json=whole)).json()
    assert (put["title"], put["due_at"], put["due_date"]) == ("Read", "2026-01-09T09:00:00Z", None)
    put = await ada.call("PUT", f"{TODOS}/{made['id']}", 200, json=whole | {"due_date": "2026-01-10"})
    assert (put.json()["due_at"], put.json()["due_date"]) == (None, "2026-01-10")
    both = whole | {"due_at": "2026-01-09T09:00:00Z"}
    await ada.call("PUT", f"{TODOS}/{made['id']}", 422, json=both)


async def test_a_patch_of_a_todo_clears_nothing_that_it_does_not_name(ada: Any) -> None:
    timed = await ada.create(due_at="2026-01-08T10:00:00Z")
    all_day = await ada.create(due_date="2026-01-08")
    for task, due in [(timed, ("2026-01-08T10:00:00Z", None)), (all_day, (None, "2026-01-08"))]:
        one = f"{TODOS}/{task['id']}"
        patched = (await ada.call("PATCH", one, 200, json={"priority": "high"})).json()
        assert (patched["due_at"], patched["due_date"]) == due
        moved = await ada.call("PATCH", one, 200, json={"due_date": "2026-01-09T10:00:00Z"})
        assert (moved.json()["due_at"], moved.json()["due_date"]) == ("2026-01-09T10:00:00Z", None)
        assert moved.json()["priority"] == "high"


async def test_a_todo_is_completed_when_we_hear_of_it(ada: Any, clock: Any) -> None:
    one = f"{TODOS}/{(await ada.create('One'))['id']}"
    told = {"status": "completed", "completed_at": "2026-01-02T03:04:05Z"}
    done = (await ada.call("PATCH", one, 200, json=told)).json()
    assert (done["status"], done["completed_at"]) == (
        "completed",
        clock.instant.isoformat().replace("+00:00", "Z"),
    )
    opened = await ada.call("PATCH", one, 200, json={"status": "pending", "completed_at": None})
    assert opened.json()["completed_at"] is None
    refused = await ada.call("PATCH", one, 422, json={"completed_at": "2026-01-02T03:04:05Z"})
    assert refused.json()["errors"][0]["field"] == "completed_at"
    ours = one.replace("/todos/", "/tasks/")
    await ada.call("PATCH", ours, 422, json=told)


async def test_a_moment_is_cleared_by_the_name_it_came_under(ada: Any) -> None:
    made = (
        await ada.call("POST", TODOS, 201, json={"title": "A", "due_date": "2026-01-09T10:00:00Z"})
    ).json()
    one = f"{TODOS}/{made['id']}"
    assert made["due_at"] == "2026-01-09T10:00:00Z"
    cleared = (await ada.call("PATCH", one, 200, json={"due_date": None})).json()
    assert (cleared["due_at"], cleared["due_date"]) == (None, None)
    kept = await ada.call("PATCH", one, 200, json={"due_date": None, "due_at": "2026-01-10T10:00:00Z"})
    assert kept.json()["due_at"] == "2026-01-10T10:00:00Z"


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("q=analysis&tags=monaco,performance", {"both"}),
        ("q=analysis&tags=monaco%2C%20performance,", {"both"}),
        ("q=analysis&tags=monaco&tags=performance", {"both"}),
        ("q=analysis&tags=monaco", {"both", "one"}),
        ("q=analysis&tags=", {"both", "one", "none"}),
        ("q=analysis", {"both", "one", "none"}),
    ],
)
async def test_todos_are_looked_for_by_several_tags(ada: Any, query: str, titles: set[str]) -> None:
    for title, tags in {"both": ["performance", "monaco"], "one": ["monaco"], "none": []}.items():
        await ada.create(title, description="An analysis", tags=tags)
    found = (await ada.call("GET", f"{TODOS}/search?{query}", 200)).json()["items"]
    assert {item["title"] for item in found} == titles


async def test_what_todos_may_tasks_may_not(ada: Any) -> None:
    body = {"title": "One", "due_date": "2026-01-08T10:00:00Z"}
    await ada.call("POST", "/api/v1/tasks", 422, json=body)
    for unknown in ({"sort_by": "title"}, {"sort": "due_date"}):
        await ada.call("GET", "/api/v1/tasks", 422, params=unknown)
    await ada.create("One", tags=["here,there"])
    found = await ada.call("GET", "/api/v1/tasks/search", 200, params={"q": "one", "tags": "here,there"})
    assert len(found.json()["items"]) == 1
    await ada.call("POST", "/api/v1/tasks/bulk/complete", 422, json={"todo_ids": [str(uuid4())]})


async def test_a_users_tasks_are_the_users_alone(ada: Any, bob: Any, http: Any) -> None:
    mine = f"/api/v1/users/{ada.id}/tasks"
    made = (await ada.call("POST", mine, 201, json={"title": "Mine"})).json()
    assert (await ada.call("GET", f"{mine}/{made['id']}", 200)).json() == made
    await ada.call("PATCH", f"{mine}/{made['id']}/complete", 200, json={"completed": True})
    for method, path in [
        ("GET", mine),
        ("POST", mine),
        ("GET", f"{mine}/{made['id']}"),
        ("DELETE", f"{mine}/{made['id']}"),
    ]:
        refused = await bob.call(method, path, 403, json={"title": "x"} if method == "POST" else None)
        assert refused.json()["error_code"] == "not_yours"
    assert (await http.get(mine)).status_code == 401


@pytest.mark.parametrize("root", [TODOS, "/api/v1/users/{user}/tasks"])
async def test_they_are_measured_and_logged_by_the_route_that_answers(
    ada: Any, bob: Any, caplog: pytest.LogCaptureFixture, root: str
) -> None:
    root = root.format(user=ada.id)
    one = f"{root}/{(await ada.create())['id']}"
    caplog.set_level(logging.INFO, "service_kit.access")
    for person, path, route, status in [
        (ada, root, "/api/v1/tasks", 200),
        (ada, one, "/api/v1/tasks/{task_id}", 200),
        (bob, one, "/api/v1/tasks/{task_id}", 404 if root == TODOS else 403),
    ]:
        caplog.clear()
        with moves("http_requests_total", 1, method="GET", route=route, status=str(status)):
            await person.call("GET", path, status)
        (line,) = [record.getMessage() for record in caplog.records if record.name == "service_kit.access"]
        assert f"path={path} route={route} status={status} " in line


@pytest.mark.parametrize("path", ["/api/v1/users/nobody/tasks", "/api/v1/todosx", "/api/v1/users/me/taskss"])
async def test_nothing_else_is_led_anywhere(ada: Any, path: str) -> None:
    assert (await ada.call("GET", path)).status_code in (403, 404)
