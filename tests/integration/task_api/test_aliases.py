"""The paths of older clients lead to the same handlers, and no further."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

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


@pytest.mark.parametrize("path", ["/api/v1/users/nobody/tasks", "/api/v1/todosx", "/api/v1/users/me/taskss"])
async def test_nothing_else_is_led_anywhere(ada: Any, path: str) -> None:
    assert (await ada.call("GET", path)).status_code in (403, 404)
