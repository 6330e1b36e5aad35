"""Nobody reaches another's task: on every route it is as if it were not there."""

from __future__ import annotations

from typing import Any

import pytest

ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("PATCH", "", {"title": "Mine now"}),
    (
        "PUT",
        "",
        {
            "title": "Mine now",
            "description": None,
            "status": "pending",
            "priority": "low",
            "tags": [],
            "due_at": None,
            "due_date": "2030-01-01",
            "timezone": "UTC",
            "metadata": {},
            "reminders": [],
            "recurrence": None,
        },
    ),
    ("POST", "/restore", None),
    ("DELETE", "", None),
    ("DELETE", "?scope=series", None),
    ("POST", "/complete", None),
    ("PATCH", "/complete", {"completed": False}),
    ("POST", "/skip", None),
    ("POST", "/reminders", {"offset": "PT5M"}),
    ("DELETE", "/reminders/{reminder}", None),
    ("POST", "/reminders/{reminder}/snooze", {"minutes": 5}),
    ("POST", "/reminders/{reminder}/ack", None),
    ("GET", "/activity", None),
    ("GET", "/history", None),
]


def test_every_task_route_is_among_them(app: Any) -> None:
    served = {
        (method, path.removeprefix("/api/v1/tasks/{task_id}").replace("{reminder_id}", "{reminder}"))
        for path, methods in app.openapi()["paths"].items()
        if path.startswith("/api/v1/tasks/{task_id}")
        for method in map(str.upper, methods)
    }
    assert {(method, path.partition("?")[0]) for method, path, _ in ROUTES} == served


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_anothers_task_is_not_there(
    ada: Any, bob: Any, rows: Any, method: str, path: str, body: Any
) -> None:
    task = await ada.create(
        due_at="2026-01-06T10:00:00Z", reminders=[{"offset": "PT30M"}], recurrence={"rrule": "FREQ=DAILY"}
    )
    path = path.format(reminder=task["reminders"][0]["id"])
    answer = await bob.call(method, f"/api/v1/tasks/{task['id']}{path}", 404, json=body)
    assert answer.json()["error_code"] == "task_not_found"
    (row,) = await rows("SELECT version FROM tasks WHERE id = :id", id=task["id"])
    assert row["version"] == 1
    assert (await ada.call("GET", f"/api/v1/tasks/{task['id']}", 200)).json() == task


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_without_a_token_nothing_is_said(
    ada: Any, http: Any, method: str, path: str, body: Any
) -> None:
    task = await ada.create()
    answer = await http.request(
        method, f"/api/v1/tasks/{task['id']}{path.format(reminder=task['id'])}", json=body
    )
    assert answer.status_code == 401


async def test_lists_show_the_callers_tasks_alone(ada: Any, bob: Any) -> None:
    series = (await ada.create(due_date="2026-01-06", recurrence={"rrule": "FREQ=DAILY"}))["series_id"]
    own = await bob.create()
    listed = (await bob.call("GET", "/api/v1/tasks", 200)).json()["items"]
    assert [task["id"] for task in listed] == [own["id"]]
    assert (await bob.call("GET", f"/api/v1/tasks?series_id={series}", 200)).json()["items"] == []


async def test_anothers_cursor_is_refused(ada: Any, bob: Any) -> None:
    for _ in range(2):
        await ada.create()
        await bob.create()
    cursor = (await ada.call("GET", "/api/v1/tasks?limit=1", 200)).json()["next_cursor"]
    answer = await bob.call("GET", f"/api/v1/tasks?limit=1&cursor={cursor}", 422)
    assert answer.json()["error_code"] == "invalid_cursor"


async def test_a_reminder_of_another_task_cannot_be_taken_over(ada: Any, bob: Any) -> None:
    theirs = await ada.create(due_date="2026-01-06", reminders=[{"offset": "PT5M"}])
    mine = await bob.create(due_date="2026-01-06")
    body = {"reminders": [{"id": theirs["reminders"][0]["id"], "offset": "PT1H"}]}
    answer = await bob.call("PATCH", f"/api/v1/tasks/{mine['id']}", 422, json=body)
    assert answer.json()["errors"][0]["field"] == "reminders.0.id"
    answer = await bob.call(
        "POST", "/api/v1/tasks", 422, json={"title": "x", "due_date": "2026-01-06", **body}
    )
    assert answer.json()["errors"][0]["code"] == "unknown_reminder"
