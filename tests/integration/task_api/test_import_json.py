"""An export comes back whole, in another account and only once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import orjson
import pytest

from task_api.entrypoints.http.imports import MAX_BYTES

IMPORT = "/api/v1/import"
TASKS = "/api/v1/tasks"
_ORDINARY_SERIES = """
    INSERT INTO series (id, user_id, rrule, timezone, start_local, created_at, updated_at)
    SELECT md5('series ' || n || :salt)::uuid, :user_id, 'FREQ=WEEKLY', 'Europe/Berlin', '2026-03-02',
        '2026-01-01T10:00:00.123456Z', '2026-01-01T10:00:00.123456Z'
    FROM generate_series(1, CAST(:many AS int)) AS n WHERE n % 10 = 0
"""
_ORDINARY_TASKS = """
    INSERT INTO tasks (
        id, user_id, number, title, description, tags, timezone, due_at, due_date, due_instant, series_id,
        occurrence_key, created_at, updated_at
    )
    SELECT gen_random_uuid(), :user_id, n, 'Ordinary task number ' || n,
        repeat('words of a note ', 10), '{home}', 'Europe/Berlin',
        CASE WHEN n % 10 > 0 THEN timestamptz '2026-03-02T08:00:00Z' + n * interval '1 minute' END,
        CASE WHEN n % 10 = 0 THEN date '2026-03-02' END,
        timestamptz '2026-03-02T08:00:00Z' + CASE WHEN n % 10 > 0 THEN n ELSE 0 END * interval '1 minute',
        CASE WHEN n % 10 = 0 THEN md5('series ' || n || :salt)::uuid END,
        CASE WHEN n % 10 = 0 THEN '2026-03-02' END,
        '2026-01-01T10:00:00.123456Z', '2026-01-01T10:00:00.123456Z'
    FROM generate_series(1, CAST(:many AS int)) AS n
"""
_ORDINARY_REMINDERS = """
    INSERT INTO task_reminders (id, task_id, user_id, position, "offset", set_at)
    SELECT gen_random_uuid(), id, user_id, 0, interval '30 minutes', created_at FROM tasks
    WHERE user_id = :user_id AND number % 3 = 0
"""
NOT_CARRIED = {"id", "user_id", "number", "version", "updated_at", "closed_version"}


async def bring(person: Any, body: bytes | str, kind: str = "application/json", expect: int = 200) -> Any:
    answer = await person.call("POST", IMPORT, expect, content=body, headers={"Content-Type": kind})
    return answer.json()


async def export(person: Any, **query: Any) -> dict[str, Any]:
    answer = await person.call("GET", "/api/v1/users/me/export", 200, params=query)
    document: dict[str, Any] = answer.json()
    return document


def compared(document: dict[str, Any]) -> Any:
    """What has to be equal: ids become places among what they name, and go."""
    names = {task["id"]: f"{task['title']} {task['occurrence_key']}" for task in document["tasks"]}
    by_series = {one["id"]: one["start_local"] + one["rrule"] for one in document["series"]}

    def plain(row: dict[str, Any], *more: str) -> dict[str, Any]:
        shown = {name: value for name, value in row.items() if name not in NOT_CARRIED | set(more)}
        for name in ("task_id", "predecessor_task_id"):
            if shown.get(name):
                shown[name] = names[shown[name]]
        if shown.get("series_id"):
            shown["series_id"] = by_series[shown["series_id"]]
        return shown

    def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(rows, key=lambda row: orjson.dumps(row, option=orjson.OPT_SORT_KEYS))

    return {
        "tasks": in_order([plain(task) for task in document["tasks"]]),
        "series": in_order([plain(one, "created_at") for one in document["series"]]),
        "reminders": in_order(
            [plain(one, "set_at", "fired_for", "scheduled_for") for one in document["reminders"]]
        ),
    }


async def furnish(person: Any, follow: Any) -> None:
    """Tasks of every kind; the series has a closed, a withdrawn and an open instance."""
    plain = await person.create(
        "Plain", description="words", tags=["a", "b"], priority="urgent", metadata={"color": "blue"}
    )
    await person.call("POST", f"{TASKS}/{plain['id']}/complete", 200)
    archived = await person.create("Archived", due_at="2026-01-06T10:00:00Z", timezone="Asia/Tokyo")
    await person.call("PATCH", f"{TASKS}/{archived['id']}", 200, json={"status": "archived"})
    deleted = await person.create("Deleted", due_date="2026-01-09")
    await person.call("DELETE", f"{TASKS}/{deleted['id']}", 204)
    reminded = await person.create(
        "Reminded",
        due_at="2026-02-06T10:00:00Z",
        reminders=[
            {"offset": "PT30M", "channels": ["email"]},
            {"at": "2026-02-06T08:00:00Z"},
            {"offset": "P366D"},
        ],
    )
    first, second = reminded["reminders"][:2]
    one = f"{TASKS}/{reminded['id']}/reminders"
    await person.call("POST", f"{one}/{first['id']}/snooze", 200, json={"until": "2026-02-07T08:00:00Z"})
    await person.call("POST", f"{one}/{second['id']}/ack", 200)
    begun = await person.create(
        "Recurring", due_date="2026-01-08", recurrence={"rrule": "FREQ=DAILY", "month_end": "skip"}
    )
    await person.call("POST", f"{TASKS}/{begun['id']}/complete", 200)
    await follow(begun)
    await person.call("POST", f"{TASKS}/{begun['id']}/complete", 200, json={"completed": False})
    await person.call("POST", f"{TASKS}/{begun['id']}/complete", 200)
    following = await follow(begun)
    await person.call("POST", f"{TASKS}/{following['id']}/complete", 200)
    await follow(following)


async def test_an_export_comes_back_equal_in_another_account(
    ada: Any, bob: Any, follow: Any, rows: Any
) -> None:
    await furnish(ada, follow)
    before = await export(ada)
    answer = await bring(bob, orjson.dumps(before))
    assert answer == {"imported": len(before["tasks"]), "skipped": 0, "warnings": [], "failed": []}
    after = await export(bob)
    assert compared(after) == compared(before)
    assert len({line["task_id"] for line in after["history"]}) == len(before["tasks"])
    again = await bring(bob, orjson.dumps(before))
    assert (again["imported"], again["skipped"]) == (0, len(before["tasks"]))
    assert compared(await export(bob)) == compared(before)


async def test_an_export_for_an_import_brings_as_much_and_holds_no_more(
    ada: Any, bob: Any, follow: Any
) -> None:
    await furnish(ada, follow)
    everything = await export(ada)
    short = await export(ada, for_import=True)
    assert list(short) == ["format", "version", "made_at", "series", "tasks", "reminders"]
    for section in ("series", "tasks", "reminders"):
        assert len(short[section]) == len(everything[section])
        rows = [row for row in short[section] if None in row.values() or "user_id" in row]
        assert rows == [], "what an import passes over"
    answer = await bring(bob, orjson.dumps(short))
    assert answer == {"imported": len(everything["tasks"]), "skipped": 0, "warnings": [], "failed": []}
    assert compared(await export(bob)) == compared(everything)
    again = await bring(bob, orjson.dumps(everything))
    assert (again["imported"], again["skipped"]) == (0, len(everything["tasks"])), "both name each task alike"


@pytest.mark.nightly
async def test_ten_thousand_ordinary_tasks_fit_into_one_import(ada: Any, bob: Any, rows: Any) -> None:
    """Each with a description and a due, a third with a reminder, a tenth recurring by itself."""
    many = 10_000
    for statement in (_ORDINARY_SERIES, _ORDINARY_TASKS):
        await rows(statement, user_id=ada.id, salt=str(ada.id), many=many)
    await rows(_ORDINARY_REMINDERS, user_id=ada.id)
    await rows("UPDATE users SET last_task_number = :many WHERE id = :user_id", user_id=ada.id, many=many)
    body = (await ada.call("GET", "/api/v1/users/me/export", 200, params={"for_import": True})).content
    assert len(body) / many < 900, "bytes a task"
    assert len(body) < MAX_BYTES
    # A busy machine takes longer than a request may: what came stays, and the same file goes on from there.
    kind = {"Content-Type": "application/json"}
    tries = 0
    while (answer := await bob.call("POST", IMPORT, content=body, headers=kind)).status_code == 503:
        tries += 1
        assert tries < 5
    outcome = answer.json()
    assert outcome["imported"] + outcome["skipped"] == many, outcome
    assert (outcome["warnings"], outcome["failed"]) == ([], [])
    assert compared(await export(bob)) == compared(await export(ada))


async def test_a_past_state_has_the_completion_that_was_brought_along(ada: Any, bob: Any, clock: Any) -> None:
    """It was completed elsewhere: no line of its history says when."""
    task = await ada.create("Plain")
    done = (await ada.call("POST", f"{TASKS}/{task['id']}/complete", 200)).json()
    clock.advance(timedelta(minutes=1))
    await bring(bob, orjson.dumps(await export(ada)))
    (brought,) = (await bob.call("GET", TASKS, 200)).json()["items"]
    one = f"{TASKS}/{brought['id']}"
    then = {"as_of": "2026-01-05T09:01:30Z"}
    assert brought["completed_at"] == done["completed_at"] == "2026-01-05T09:00:00Z"
    assert (await bob.call("GET", one, 200, params=then)).json() == brought
    clock.advance(timedelta(minutes=1))
    await bob.call("PATCH", one, 200, json={"title": "Plainer"})
    assert (await bob.call("GET", one, 200, params=then)).json() == brought
    # Completed again it has another time, which is not that of then.
    await bob.call("POST", f"{one}/complete", 200, json={"completed": False})
    await bob.call("POST", f"{one}/complete", 200)
    past = (await bob.call("GET", one, 200, params=then)).json()
    assert (past["completed"], past["completed_at"]) == (True, None)


async def test_the_own_export_changes_nothing(ada: Any, follow: Any) -> None:
    await furnish(ada, follow)
    before = await export(ada)
    answer = await bring(ada, orjson.dumps(before))
    assert (answer["imported"], answer["skipped"]) == (0, len(before["tasks"]))
    assert (await export(ada))["tasks"] == before["tasks"]


async def test_everybody_hears_of_it_as_of_what_is_closed_or_open(
    ada: Any, bob: Any, follow: Any, rows: Any
) -> None:
    await furnish(ada, follow)
    await rows("DELETE FROM outbox")
    await bring(bob, orjson.dumps(await export(ada)))
    events = [
        orjson.loads(row["event"]) for row in await rows("SELECT event FROM outbox ORDER BY created_at")
    ]
    told = [one["data"] for one in events if one["type"] != "series.updated.v1"]
    assert {one["user_id"] for one in told} == {str(bob.id)}
    assert sorted({one["type"] for one in events}) == [
        "series.updated.v1",
        "task.created.v1",
        "task.deleted.v1",
    ]
    closed = {one["title"] for one in told if one["closed_by"] is not None}
    assert closed == {"Plain", "Archived", "Deleted", "Recurring"}
    (series,) = [one["data"] for one in events if one["type"] == "series.updated.v1"]
    assert (series["tip"]["occurrence_key"], series["tip"]["is_open"]) == ("2026-01-10", True)
    # Each closed instance is followed by one that is here: what recurrence offers for it is there already.
    keys = {one["task_id"]: one for one in told if one["title"] == "Recurring"}
    followed = {one["predecessor_task_id"] for one in keys.values() if one["closed_by"] != "withdrawn"}
    for one in keys.values():
        assert one["closed_by"] in (None, "withdrawn") or one["task_id"] in followed
    await rows("DELETE FROM outbox")


async def test_a_series_that_went_on_by_itself_keeps_what_it_made(
    ada: Any, bob: Any, follow: Any, rows: Any
) -> None:
    first = await ada.create(due_date="2026-01-08", recurrence={"rrule": "FREQ=DAILY"})
    await bring(bob, orjson.dumps(await export(ada)))
    # Both complete it, and in both accounts the next one is made: under an id that no file can derive.
    (copy,) = (await bob.call("GET", TASKS, 200)).json()["items"]
    for person, task in ((ada, first), (bob, copy)):
        await person.call("POST", f"{TASKS}/{task['id']}/complete", 200)
    await follow(first)
    await rows(
        "INSERT INTO tasks (id, user_id, number, title, timezone, series_id, occurrence_key, predecessor_task_id,"
        " created_at, updated_at, due_date) SELECT gen_random_uuid(), user_id, 2, title, timezone, series_id,"
        " '2026-01-09', id, now(), now(), '2026-01-09' FROM tasks WHERE id = :id",
        id=copy["id"],
    )
    await rows("UPDATE users SET last_task_number = 2 WHERE id = :id", id=bob.id)
    answer = await bring(bob, orjson.dumps(await export(ada)))
    assert (answer["imported"], answer["skipped"], answer["failed"]) == (0, 2, [])


async def test_a_date_that_a_file_gives_twice_comes_once(ada: Any, bob: Any) -> None:
    await ada.create(due_date="2026-01-08", recurrence={"rrule": "FREQ=DAILY"})
    document = await export(ada)
    double = document["tasks"][0] | {"id": "0190a6f0-3c5e-7b7a-9d7b-5b1f1c7e2a11"}
    answer = await bring(bob, orjson.dumps(document | {"tasks": [document["tasks"][0], double]}))
    assert answer["imported"] == 1
    assert [(one["field"], one["code"]) for one in answer["failed"]] == [("occurrence_key", "slot_taken")]


async def test_two_imports_at_once_make_each_task_once(ada: Any, bob: Any) -> None:
    await ada.call("POST", f"{TASKS}/bulk", 201, json={"tasks": [{"title": str(n)} for n in range(40)]})
    document = orjson.dumps(await export(ada))
    answers = await asyncio.gather(*(bring(bob, document) for _ in range(3)))
    assert sorted(answer["imported"] for answer in answers) == [0, 0, 40]
    assert len((await export(bob))["tasks"]) == 40


async def test_a_batch_costs_the_same_whatever_it_holds(ada: Any, bob: Any, statements: Any) -> None:
    counted = []
    for size in (3, 60):
        await ada.call("POST", f"{TASKS}/bulk", 201, json={"tasks": [{"title": str(n)} for n in range(size)]})
        document = orjson.dumps(await export(ada))
        with statements() as sent:
            await bring(bob, document)
        counted.append(len(sent))
    assert counted[0] == counted[1] <= 9


async def test_a_bad_item_is_told_and_the_others_come(ada: Any) -> None:
    document = {
        "format": "taskstream-export",
        "version": 1,
        "series": [],
        "tasks": [
            {"id": "0190a6f0-3c5e-7b7a-9d7b-5b1f1c7e2a11", "title": "Good"},
            {"id": "0190a6f0-3c5e-7b7a-9d7b-5b1f1c7e2a12", "title": "x" * 256},
            {"id": "no id", "title": "Bad"},
            {"id": "0190a6f0-3c5e-7b7a-9d7b-5b1f1c7e2a13", "title": "Both", "due_date": "2026-01-08",
             "due_at": "2026-01-08T09:00:00Z"},
            {"id": "0190a6f0-3c5e-7b7a-9d7b-5b1f1c7e2a14", "title": "Alone", "occurrence_key": "2026-01-08",
             "series_id": "0190a6f0-3c5e-7b7a-9d7b-5b1f1c7e2a15", "due_date": "2026-01-08"},
        ],
    }  # fmt: skip
    answer = await bring(ada, orjson.dumps(document))
    assert (answer["imported"], answer["skipped"]) == (2, 0)
    assert [(one["item"][-4:], one["field"], one["code"]) for one in answer["failed"]] == [
        ("2a12", "title", "string_too_long"),
        ("o id", "id", "uuid_parsing"),
        ("2a13", "due_date", "one_due"),
    ]
    assert [one["item"][-4:] for one in answer["warnings"]] == ["2a14"]


@pytest.mark.parametrize(
    ("kind", "body", "status", "code"),
    [
        ("application/json", b"{", 400, "unreadable_file"),
        ("application/json", b"[]", 400, "unreadable_file"),
        ("application/json", b'{"format":"other","version":1}', 400, "unreadable_file"),
        ("application/json", b'{"format":"taskstream-export","version":2}', 400, "unreadable_file"),
        ("text/plain", b"hello", 415, "unsupported_media_type"),
        ("", b"hello", 415, "unsupported_media_type"),
        ("application/json", b" " * (10 * 1024 * 1024 + 1), 413, "body_too_large"),
    ],
)
async def test_a_file_that_is_none(ada: Any, kind: str, body: bytes, status: int, code: str) -> None:
    answer = await bring(ada, body, kind, status)
    assert answer["error_code"] == code
    assert ("for_import=true" in answer["detail"]) == (status == 413)
