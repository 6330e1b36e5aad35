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
from tests.integration.task_api.deliveries import (
    FROM_NOTIFIER,
    Json,
    Weekly,
    delivered,
    due,
    read,
    scheduled,
    stamp,
)

from event_contracts.series import SeriesSnapshot
from event_contracts.tasks import TaskSnapshot
from service_kit.testing.fakes import ManualClock


async def _ask(http: httpx.AsyncClient, path: str, expect: int = 200, **params: Any) -> Json:
    answer = await http.get(f"/internal/v1{path}", headers=FROM_NOTIFIER, params=params)
    assert answer.status_code == expect, answer.text
    body: Json = answer.json()
    return body


@contextmanager
def _statements(engine: AsyncEngine) -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """The statements that are executed meanwhile, each with its parameters."""
    seen: list[tuple[str, tuple[Any, ...]]] = []

    def note(_connection: object, _cursor: object, statement: str, given: Any, *_: object) -> None:
        seen.append((statement, given))

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


async def test_a_task_says_what_is_planned_what_fired_and_that_it_is_deleted(
    ada: Person, rows: Rows, http: httpx.AsyncClient
) -> None:
    task = await ada.create(due_at="2026-01-12T08:00:00Z", reminders=[{"offset": "PT30M"}])
    fire_at = datetime(2026, 1, 12, 7, 30, tzinfo=UTC)
    await scheduled(task, fire_at, user_id=str(ada.id)).to(http)
    [planned] = (await _ask(http, f"/tasks/{task['id']}"))["reminders"]
    assert (planned["scheduled_for"], planned["fired_for"]) == ("2026-01-12T07:30:00Z", None)
    await due(task, fire_at, timedelta(), str(ada.id)).to(http)
    assert (await _ask(http, f"/tasks/{task['id']}"))["reminders"][0]["fired_for"] == "2026-01-12T07:30:00Z"
    await ada.call("DELETE", f"/api/v1/tasks/{task['id']}", 204)
    asked = await _ask(http, f"/tasks/{task['id']}")
    assert asked["deleted_at"] is not None
    assert asked["closed_by"] == "withdrawn"


async def _ask_for(http: httpx.AsyncClient, ids: object, expect: int = 200) -> Json:
    answer = await http.post("/internal/v1/tasks", headers=FROM_NOTIFIER, json={"ids": ids})
    assert answer.status_code == expect, answer.text
    body: Json = answer.json()
    return body


async def test_many_tasks_read_as_each_does_alone(
    ada: Person, bob: Person, http: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    plain = await ada.create(title="Plain")
    reminded = await ada.create(due_at="2026-01-12T08:00:00Z", reminders=[{"offset": "PT30M"}] * 2)
    recurring = await ada.create(due_at="2026-01-12T08:00:00Z", recurrence={"rrule": "FREQ=WEEKLY"})
    deleted, of_bob = await ada.create(), await bob.create()
    await ada.create(title="Not asked for")
    await ada.call("DELETE", f"/api/v1/tasks/{deleted['id']}", 204)
    known = [task["id"] for task in (plain, reminded, recurring, deleted, of_bob)]
    with _statements(engine) as statements:
        many = await _ask_for(http, [*known, str(uuid4()), plain["id"]])
    assert len(statements) == 1
    assert list(many) == ["items"]
    alone = [await _ask(http, f"/tasks/{one}") for one in known]
    assert sorted(many["items"], key=lambda one: known.index(one["task_id"])) == alone
    assert alone[3]["deleted_at"] is not None


async def test_as_many_tasks_as_a_page_holds_and_none(ada: Person, http: httpx.AsyncClient) -> None:
    task = await ada.create()
    most = [task["id"], *(str(uuid4()) for _ in range(499))]
    assert [one["task_id"] for one in (await _ask_for(http, most))["items"]] == [task["id"]]
    assert await _ask_for(http, []) == {"items": []}


@pytest.mark.parametrize(
    ("ids", "field"),
    [
        ([str(UUID(int=0))] * 501, "ids"),
        (["seven"] * 501, "ids"),
        ([str(UUID(int=0)), "seven"], "ids.1"),
        ("seven", "ids"),
        (None, "ids"),
    ],
)
async def test_a_bad_list_of_tasks_is_a_422_that_names_it(
    http: httpx.AsyncClient, ids: object, field: str
) -> None:
    problem = await _ask_for(http, ids, 422)
    assert [error["field"] for error in problem["errors"]] == [field]


async def test_a_body_that_asks_for_no_tasks_is_refused(http: httpx.AsyncClient) -> None:
    for body, expect in ((b"{", (400, 422)), (b"[]", (422,)), (b"{}", (422,)), (b'{"ids":[],"x":1}', (422,))):
        headers = {**FROM_NOTIFIER, "content-type": "application/json"}
        answer = await http.post("/internal/v1/tasks", headers=headers, content=body)
        assert answer.status_code in expect, (body, answer.text)


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
        "day_start": "09:00",
        "channels": ["inbox", "email"],
        "webhooks": [],
        "chats": [],
        "push": [],
        "quiet_hours": None,
        "late_policy": "send",
        "drop_after": None,
        "generated": False,
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


async def test_a_sibling_that_lost_a_while_is_told_what_changed_in_it(
    ada: Person, rows: Rows, http: httpx.AsyncClient, clock: ManualClock
) -> None:
    weekly = Weekly(ada, rows, http)
    early = [await ada.create("early"), await ada.create("changed"), await ada.create("deleted")]
    paused, untouched = await weekly.begin(), await weekly.begin()
    clock.advance(timedelta(hours=1))
    since = stamp(clock.instant)
    await ada.call("PATCH", f"/api/v1/tasks/{early[1]['id']}", 200, json={"title": "other"})
    await ada.call("DELETE", f"/api/v1/tasks/{early[2]['id']}", 204)
    late = await ada.create("late")
    await ada.call("POST", f"/api/v1/tasks/{late['id']}/complete", 200)
    await ada.call("POST", f"/api/v1/series/{paused['series_id']}/pause", 200)
    told: list[Json] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await _ask(http, "/snapshot", kind="tasks", since=since, cursor=cursor, limit=1)
        told += [item for item in page["items"] if item["user_id"] == str(ada.id)]
        cursor = page["next_cursor"]
    found = {item["task_id"]: item for item in told}
    assert {early[1]["id"], early[2]["id"], late["id"]} <= found.keys()
    assert early[0]["id"] not in found
    assert len(found) == len(told)
    assert found[early[2]["id"]]["deleted_at"] is not None
    series = await _ask(http, "/snapshot", kind="series", since=since)
    ids = {item["series_id"] for item in series["items"]}
    assert paused["series_id"] in ids
    assert untouched["series_id"] not in ids


async def test_what_was_announced_comes_with_its_outcomes(
    ada: Person, rows: Rows, http: httpx.AsyncClient
) -> None:
    """Two reminders of one task, one of them snoozed and fired twice; only one notification was read."""
    task = await ada.create(
        due_at="2026-01-12T08:00:00Z", reminders=[{"offset": "PT30M"}, {"offset": "PT1H"}]
    )
    first = datetime(2026, 1, 12, 7, 30, tzinfo=UTC)
    for fire_at in (first, first + timedelta(minutes=10)):
        assert await due(task, fire_at, timedelta(seconds=2), str(ada.id)).to(http) == "SUCCESS"
    place = str(uuid4())
    told = delivered(task, "delivered", str(ada.id), channel="webhook", destination_id=place)
    again = delivered(task, "to_be_repeated", str(ada.id), channel="webhook", destination_id=str(uuid4()))
    for one in (told, again):
        assert await one.to(http) == "SUCCESS"
    notification = told.data["notification_id"]
    seen = read(str(ada.id), UUID(notification))
    assert await seen.to(http) == "SUCCESS"
    items: list[Json] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await _ask(http, "/snapshot", kind="announcements", cursor=cursor, limit=1)
        items += [item for item in page["items"] if item["task_id"] == task["id"]]
        cursor = page["next_cursor"]
    assert [item["fire_at"] for item in items] == ["2026-01-12T07:30:00Z", "2026-01-12T07:40:00Z"]
    assert items[0]["fired_at"] == "2026-01-12T07:30:02Z"
    assert {item["reminder_id"] for item in items} == {task["reminders"][0]["id"]}
    (outcome,) = items[0]["outcomes"]  # a try that comes again is none
    assert (outcome["notification_id"], outcome["outcome"]) == (notification, "delivered")
    assert (outcome["channel"], outcome["destination_id"]) == ("webhook", place)
    assert outcome["read_at"] is not None
    later = await _ask(http, "/snapshot", kind="announcements", since="2026-01-12T07:35:00Z")
    mine = [item["fire_at"] for item in later["items"] if item["task_id"] == task["id"]]
    assert mine == ["2026-01-12T07:40:00Z"]


async def test_occurrences_that_were_made_are_among_what_was_announced(
    ada: Person, rows: Rows, http: httpx.AsyncClient
) -> None:
    """In the order in which it happened, each at the slot at which it was made; and only when they are asked for."""
    weekly = Weekly(ada, rows, http)
    task = await weekly.begin()
    await weekly.complete(task)
    assert await (await weekly.offer(task)).to(http) == "SUCCESS"
    made = (await ada.call("GET", f"/api/v1/tasks?series_id={task['series_id']}&status=pending", 200)).json()
    (successor,) = made["items"]
    told = delivered(successor, "delivered", str(ada.id), reminder_id=None, channel="inbox")
    seen = read(str(ada.id), UUID(told.data["notification_id"]))
    of_reminder = delivered(successor, "delivered", str(ada.id))
    for one in (told, seen, of_reminder):
        assert await one.to(http) == "SUCCESS"
    fire_at = datetime(2026, 1, 12, 7, 30, tzinfo=UTC)
    assert await due(task, fire_at, timedelta(), str(ada.id)).to(http) == "SUCCESS"
    items: list[Json] = []
    cursor: str | None = ""
    while cursor is not None:
        params: Json = {"kind": "announcements", "occurrences": True, "cursor": cursor, "limit": 1}
        page = await _ask(http, "/snapshot", **params)
        items += [item for item in page["items"] if item["user_id"] == str(ada.id)]
        cursor = page["next_cursor"]
    occurrence, reminder = items
    assert (occurrence["task_id"], occurrence["reminder_id"]) == (successor["id"], None)
    assert occurrence["occurrence_key"] == "2026-01-19T09:00:00"
    news = await _published(rows, successor["id"])
    assert occurrence["fire_at"] == occurrence["fired_at"] == news["updated_at"]
    (outcome,) = occurrence["outcomes"]
    assert outcome["notification_id"] == told.data["notification_id"]
    assert outcome["destination_id"] is None
    assert outcome["read_at"] is not None
    assert (reminder["reminder_id"], reminder["occurrence_key"]) == (task["reminders"][0]["id"], None)
    alone = await _ask(http, "/snapshot", kind="announcements")
    assert [one["task_id"] for one in alone["items"] if one["user_id"] == str(ada.id)] == [task["id"]]


async def test_an_empty_page_knows_the_epoch(http: httpx.AsyncClient) -> None:
    last = UUID(int=2**128 - 1).hex
    for kind, cursor in (
        ("tasks", last),
        ("series", last),
        ("announcements", f"9000-01-01T00:00:00+00:00~{last}"),
    ):
        page = await _ask(http, "/snapshot", kind=kind, cursor=cursor)
        assert (page["items"], page["next_cursor"]) == ([], None)
        assert page["epoch"] >= 1


@pytest.mark.parametrize(
    "params",
    [
        {"kind": "users"},
        {"kind": "tasks", "limit": 501},
        {"kind": "tasks", "cursor": "x"},
        {"kind": "announcements", "cursor": "x~y"},
        {"kind": "tasks", "since": "yesterday"},
    ],
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
        ("/snapshot", {"kind": "announcements"}),
        ("/snapshot", {"kind": "announcements", "occurrences": True}),
        ("/snapshot", {"kind": "tasks", "since": "2026-01-05T08:45:00Z"}),
        ("/snapshot", {"kind": "series", "since": "2026-01-05T08:45:00Z"}),
    )
    for path, params in questions:
        with _statements(engine) as statements:
            await _ask(http, path, **params)
        assert len(statements) == 1, path


async def test_the_planner_expects_one_task_of_one_id_and_compiles_nothing(
    ada: Person, http: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    """Without statistics too, as after a crash, and always of tables that hold one row."""
    task = await ada.create(recurrence={"rrule": "FREQ=DAILY"}, due_at="2026-01-12T08:00:00Z")
    for path in (f"/tasks/{task['id']}", f"/series/{task['series_id']}"):
        with _statements(engine) as statements:
            await _ask(http, path)
        [(statement, given)] = statements
        async with engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            [([plan],)] = await driver.fetch(f"EXPLAIN (FORMAT JSON) {statement}", *given)
            assert await driver.fetchval("SHOW jit") == "off"
        assert plan["Plan"]["Plan Rows"] == 1, path


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
    for headers in callers:
        answer = await http.post("/internal/v1/tasks", headers=headers, json={"ids": [str(uuid4())]})
        assert answer.status_code == 403, headers
    for sibling in ("reminders", "recurrence", "notifier"):
        answer = await http.get(
            "/internal/v1/epoch", headers={**FROM_NOTIFIER, "dapr-caller-app-id": sibling}
        )
        assert answer.status_code == 200


async def test_they_are_not_in_the_public_description(http: httpx.AsyncClient) -> None:
    described = (await http.get("/openapi.json")).json()["paths"]
    assert [path for path in described if path.startswith(("/internal", "/events", "/dapr"))] == []
