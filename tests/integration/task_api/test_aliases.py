"""The paths of older clients lead to the same handlers, and no further."""

from __future__ import annotations

import logging
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


async def test_what_todos_may_tasks_may_not(ada: Any) -> None:
    body = {"title": "One", "due_date": "2026-01-08T10:00:00Z"}
    await ada.call("POST", "/api/v1/tasks", 422, json=body)
    await ada.call("GET", "/api/v1/tasks", 422, params={"sort_by": "title"})
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
