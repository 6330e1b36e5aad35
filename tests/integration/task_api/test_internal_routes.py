"""What siblings may ask, that nobody else may, and that a page costs one query."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.integration.task_api.conftest import Person, Rows
from tests.integration.task_api.deliveries import Json, Weekly, due

from event_contracts.series import SeriesSnapshot
from event_contracts.tasks import TaskSnapshot

SIBLING = {"dapr-api-token": "app-token", "dapr-caller-app-id": "reminders"}


async def _ask(http: httpx.AsyncClient, path: str, expect: int = 200, **params: Any) -> Json:
    answer = await http.get(f"/internal/v1{path}", headers=SIBLING, params=params)
    assert answer.status_code == expect, answer.text
    body: Json = answer.json()
    return body


@contextmanager
def _statements(engine: AsyncEngine) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)


async def _published(rows: Rows, task_id: str) -> Json:
    found = await rows(
        "SELECT event FROM outbox WHERE key = :key ORDER BY created_at DESC, id DESC", key=task_id
    )
    data: Json = json.loads(bytes(found[0]["event"]))["data"]
    return data


async def test_a_task_reads_as_it_was_published(ada: Person, rows: Rows, http: httpx.AsyncClient) -> None:
    task = await ada.create(
        title="Ünïcode ☂",
        due_at="2026-01-12T08:00:00.123456Z",
        tags=["a", "b"],
        reminders=[{"offset": "P1DT30M", "channels": ["email", "inbox"]}, {"at": "2026-01-11T17:00:00.5Z"}],
        recurrence={"rrule": "FREQ=WEEKLY"},
    )
    published = await _published(rows, task["id"])
    asked = await _ask(http, f"/tasks/{task['id']}")
    ours = {"actor", "changes"}
    assert {k: v for k, v in asked.items() if k not in ours} == {
        k: v for k, v in published.items() if k not in ours
    }
    assert asked["actor"] == {"kind": "service", "id": "task-api"}
    assert asked["series_version"] == 1
    TaskSnapshot.model_validate(asked)


async def test_a_task_says_what_fired_and_that_it_is_deleted(
    ada: Person, rows: Rows, http: httpx.AsyncClient
) -> None:
    task = await ada.create(due_at="2026-01-12T08:00:00Z", reminders=[{"offset": "PT30M"}])
    fire_at = datetime(2026, 1, 12, 7, 30, tzinfo=UTC)
    await due(task, fire_at, timedelta(), str(ada.id)).to(http)
    assert (await _ask(http, f"/tasks/{task['id']}"))["reminders"][0]["fired_for"] == "2026-01-12T07:30:00Z"
    await ada.call("DELETE", f"/api/v1/tasks/{task['id']}", 204)
    asked = await _ask(http, f"/tasks/{task['id']}")
    assert asked["deleted_at"] is not None
    assert asked["closed_by"] == "withdrawn"


async def test_a_series_reads_with_its_tip(ada: Person, rows: Rows, http: httpx.AsyncClient) -> None:
    weekly = Weekly(ada, rows, http)
    first = await weekly.begin()
    asked = await _ask(http, f"/series/{first['series_id']}")
    assert asked["tip"]["task_id"] == first["id"]
    assert asked["tip"]["is_open"] is True
    published = await _published(rows, first["series_id"])
    assert {k: v for k, v in asked.items() if k != "actor"} == {
        k: v for k, v in published.items() if k != "actor"
    }
    await weekly.complete(first)
    closed = (await _ask(http, f"/series/{first['series_id']}"))["tip"]
    assert (closed["is_open"], closed["closed_by"], closed["closed_version"]) == (False, "completed", 2)
    await (await weekly.offer(first)).to(http)
    _, second = await weekly.chain(first)
    assert (await _ask(http, f"/series/{first['series_id']}"))["tip"]["task_id"] == str(second["id"])
    await weekly.reopen(first)
    withdrawn = (await _ask(http, f"/series/{first['series_id']}"))["tip"]
    assert withdrawn["task_id"] == first["id"], "a withdrawn instance is no tip"


async def test_a_persons_contact(ada: Person, http: httpx.AsyncClient) -> None:
    assert await _ask(http, f"/users/{ada.id}/contact") == {
        "user_id": str(ada.id),
        "email": ada.email,
        "first_name": None,
        "locale": "en",
        "timezone": "Europe/Berlin",
        "channels": ["inbox", "email"],
    }


async def test_what_is_not_there_is_a_404(http: httpx.AsyncClient) -> None:
    for path in (f"/tasks/{uuid4()}", f"/series/{uuid4()}", f"/users/{uuid4()}/contact"):
        problem = await _ask(http, path, 404)
        assert problem["status"] == 404
    await _ask(http, "/tasks/seven", 422)


async def test_the_epoch(http: httpx.AsyncClient, rows: Rows) -> None:
    (row,) = await rows("SELECT value FROM epoch")
    assert await _ask(http, "/epoch") == {"epoch": row["value"]}


async def test_pages_hold_the_open_tasks_with_reminders_or_a_series(
    ada: Person, rows: Rows, http: httpx.AsyncClient
) -> None:
    plain = await ada.create()
    reminded = [await ada.create(reminders=[{"at": "2026-01-11T17:00:00Z"}] * 2) for _ in range(3)]
    recurring = await ada.create(due_at="2026-01-12T08:00:00Z", recurrence={"rrule": "FREQ=DAILY"})
    closed = await ada.create(reminders=[{"at": "2026-01-11T17:00:00Z"}])
    await ada.call("POST", f"/api/v1/tasks/{closed['id']}/complete", 200)
    items: list[Json] = []
    cursor, pages = "", 0
    while True:
        page = await _ask(http, "/snapshot", kind="tasks", cursor=cursor, limit=2)
        assert len(page["items"]) <= 2
        assert page["epoch"] >= 1
        items += page["items"]
        pages += 1
        if page["next_cursor"] is None:
            break
        cursor = page["next_cursor"]
    ids = [item["task_id"] for item in items]
    assert ids == sorted(ids)
    assert len(ids) == len(set(ids))
    assert {task["id"] for task in (*reminded, recurring)} <= set(ids)
    assert plain["id"] not in ids
    assert closed["id"] not in ids
    mine = next(item for item in items if item["task_id"] == reminded[0]["id"])
    assert len(mine["reminders"]) == 2
    assert pages >= 2
    for item in items:
        TaskSnapshot.model_validate(item)


async def test_pages_of_series_leave_out_those_that_ended(
    ada: Person, rows: Rows, http: httpx.AsyncClient
) -> None:
    weekly = Weekly(ada, rows, http)
    going, ended = await weekly.begin(), await weekly.begin()
    await ada.call("DELETE", f"/api/v1/tasks/{ended['id']}?scope=series", 204)
    page = await _ask(http, "/snapshot", kind="series")
    found = {item["series_id"]: item for item in page["items"]}
    assert going["series_id"] in found
    assert ended["series_id"] not in found
    assert found[going["series_id"]]["tip"]["task_id"] == going["id"]
    for item in page["items"]:
        SeriesSnapshot.model_validate(item)


async def test_an_empty_page_knows_the_epoch(http: httpx.AsyncClient) -> None:
    last = UUID(int=2**128 - 1).hex
    for kind in ("tasks", "series"):
        page = await _ask(http, "/snapshot", kind=kind, cursor=last)
        assert (page["items"], page["next_cursor"]) == ([], None)
        assert page["epoch"] >= 1


@pytest.mark.parametrize(
    "params", [{"kind": "users"}, {"kind": "tasks", "limit": 501}, {"kind": "tasks", "cursor": "x"}]
)
async def test_a_bad_question_is_a_422(http: httpx.AsyncClient, params: dict[str, Any]) -> None:
    await _ask(http, "/snapshot", 422, **params)


async def test_each_answer_is_one_query(
    ada: Person, rows: Rows, http: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    task = await Weekly(ada, rows, http).begin(reminders=[{"offset": "PT30M"}] * 2)
    questions: tuple[tuple[str, Json], ...] = (
        ("/epoch", {}),
        (f"/tasks/{task['id']}", {}),
        (f"/series/{task['series_id']}", {}),
        (f"/users/{ada.id}/contact", {}),
        ("/snapshot", {"kind": "tasks"}),
        ("/snapshot", {"kind": "series"}),
    )
    for path, params in questions:
        with _statements(engine) as statements:
            await _ask(http, path, **params)
        assert len(statements) == 1, path


async def test_only_siblings_may_ask(ada: Person, http: httpx.AsyncClient) -> None:
    paths = (
        "/epoch",
        f"/users/{ada.id}/contact",
        "/snapshot?kind=tasks",
        f"/tasks/{uuid4()}",
        "/tasks/seven",
    )
    callers: tuple[dict[str, str], ...] = (
        {},
        ada.headers,
        {"dapr-api-token": "app-token"},
        {"dapr-caller-app-id": "reminders"},
        {"dapr-api-token": "wrong", "dapr-caller-app-id": "reminders"},
        {"dapr-api-token": "app-token", "dapr-caller-app-id": "task-api"},
        {"dapr-api-token": "app-token", "dapr-caller-app-id": "somebody"},
    )
    for path in paths:
        for headers in callers:
            answer = await http.get(f"/internal/v1{path}", headers=headers)
            assert answer.status_code == 403, (path, headers)
            assert "email" not in answer.text
    for sibling in ("reminders", "recurrence", "notifier"):
        answer = await http.get("/internal/v1/epoch", headers={**SIBLING, "dapr-caller-app-id": sibling})
        assert answer.status_code == 200


async def test_they_are_not_in_the_public_description(http: httpx.AsyncClient) -> None:
    described = (await http.get("/openapi.json")).json()["paths"]
    assert [path for path in described if path.startswith(("/internal", "/events", "/dapr"))] == []
