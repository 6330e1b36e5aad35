"""Lists: filters that hold together with the cursor, page by page, each task once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest


async def listed(person: Any, **query: Any) -> list[str]:
    answer = await person.call("GET", "/api/v1/tasks", 200, params=query)
    return [task["title"] for task in answer.json()["items"]]


@pytest.fixture
async def some(ada: Any, clock: Any) -> Any:
    """Five tasks, a minute apart."""
    await ada.create("a", tags=["x"], priority="low")
    clock.advance(timedelta(minutes=1))
    await ada.create("b", tags=["x", "y"], status="in_progress", due_date="2026-01-10")
    clock.advance(timedelta(minutes=1))
    await ada.create("c", tags=["y"], priority="urgent", due_at="2026-01-10T08:30:00Z")
    clock.advance(timedelta(minutes=1))
    done = await ada.create("d", due_at="2026-01-12T08:30:00Z")
    await ada.call("POST", f"/api/v1/tasks/{done['id']}/complete", 200)
    clock.advance(timedelta(minutes=1))
    gone = await ada.create("e")
    await ada.call("DELETE", f"/api/v1/tasks/{gone['id']}", 204)
    return ada


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ({}, "dcba"),
        ({"status": "completed"}, "d"),
        ({"status": ["pending", "in_progress"]}, "cba"),
        ({"priority": ["low", "urgent"]}, "ca"),
        ({"tag": "x"}, "ba"),
        ({"tag": ["x", "y"]}, "b"),
        ({"tag": "z"}, ""),
        # "b" is due on 10 January at 09:00 in Berlin, 08:00 UTC.
        ({"due_before": "2026-01-10T08:30:00Z"}, "b"),
        ({"due_before": "2026-01-10T08:00:00Z"}, ""),
        ({"due_after": "2026-01-10T08:00:00Z"}, "dcb"),
        ({"due_after": "2026-01-10T08:00:01Z", "due_before": "2026-01-12T00:00:00Z"}, "c"),
        ({"status": "pending", "tag": "y"}, "c"),
    ],
)
async def test_filters(some: Any, query: dict[str, Any], titles: str) -> None:
    assert "".join(await listed(some, **query)) == titles


async def test_the_instances_of_a_series(ada: Any) -> None:
    task = await ada.create("s", due_date="2026-01-06", recurrence={"rrule": "FREQ=DAILY"})
    await ada.create("other")
    assert await listed(ada, series_id=task["series_id"]) == ["s"]


async def test_every_task_comes_once_page_by_page(ada: Any, clock: Any) -> None:
    made = []
    for number in range(7):
        made.append((await ada.create(str(number)))["id"])
        if number % 3 == 0:  # some share their moment
            clock.advance(timedelta(microseconds=1))
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(4):
        page = (await ada.call("GET", "/api/v1/tasks", 200, params={"limit": 2, **cursor})).json()
        seen += [task["id"] for task in page["items"]]
        assert page["has_next"] == (page["next_cursor"] is not None)
        if not page["has_next"]:
            break
        await ada.create("newer than where we are")
        cursor = {"cursor": page["next_cursor"]}
    assert seen == sorted(made, key=made.index, reverse=True)


async def test_a_full_last_page_has_no_next(ada: Any) -> None:
    for _ in range(2):
        await ada.create()
    page = (await ada.call("GET", "/api/v1/tasks?limit=2", 200)).json()
    assert (len(page["items"]), page["has_next"], page["next_cursor"]) == (2, False, None)


async def test_a_cursor_belongs_to_its_filter(some: Any) -> None:
    cursor = (await some.call("GET", "/api/v1/tasks?limit=1", 200)).json()["next_cursor"]
    answer = await some.call("GET", f"/api/v1/tasks?limit=1&cursor={cursor}&status=pending", 422)
    assert answer.json()["errors"][0]["field"] == "cursor"
    changed = cursor[:-2] + ("AA" if cursor[-2:] != "AA" else "BB")
    await some.call("GET", f"/api/v1/tasks?limit=1&cursor={changed}", 422)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "status=done",
        "due_before=tomorrow",
        "colour=red",
        "series_id=1",
        "order=up",
    ],
)
async def test_queries_that_are_refused(ada: Any, query: str) -> None:
    await ada.call("GET", f"/api/v1/tasks?{query}", 422)


async def test_a_list_is_one_statement(ada: Any, statements: Any) -> None:
    for _ in range(5):
        await ada.create(
            due_date="2026-01-06", reminders=[{"offset": "PT5M"}], recurrence={"rrule": "FREQ=DAILY"}
        )
    with statements() as sent:
        page = (await ada.call("GET", "/api/v1/tasks", 200)).json()
    assert len(page["items"]) == 5
    assert all(task["reminders"] and task["recurrence"] for task in page["items"])
    assert len(sent) == 1
