"""Bulk calls: a result per item, or all or nothing; one undo; no deadlock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import orjson
import pytest
from tests.integration.task_api.deliveries import cut_off_at

from task_api.adapters.postgres.database import PostgresDatabase
from task_api.domain.errors import StorageUnavailable

TASKS = "/api/v1/tasks"
BULK = f"{TASKS}/bulk"


async def made(person: Any, count: int, **fields: Any) -> list[dict[str, Any]]:
    tasks = [{"title": f"number {n}", **fields} for n in range(count)]
    items: list[dict[str, Any]] = (await person.call("POST", BULK, 201, json={"tasks": tasks})).json()[
        "items"
    ]
    return items


async def test_tasks_are_made_in_their_order_with_all_that_belongs_to_them(ada: Any, rows: Any) -> None:
    await ada.create()
    weekly = {
        "title": "Weekly",
        "due_date": "2026-01-08",
        "recurrence": {"rrule": "FREQ=WEEKLY"},
        "reminders": [{"offset": "PT1H"}],
    }
    answer = await ada.call("POST", BULK, 201, json={"tasks": [{"title": "One"}, weekly, {"title": "Three"}]})
    body = answer.json()
    assert (body["created"], body["failed"]) == (3, [])
    assert [(item["title"], item["number"]) for item in body["items"]] == [
        ("One", 2),
        ("Weekly", 3),
        ("Three", 4),
    ]
    for item in body["items"]:
        assert (await ada.call("GET", f"{TASKS}/{item['id']}", 200)).json() == item
        (told,) = await rows("SELECT topic, event FROM outbox WHERE key = :key", key=item["id"])
        data = orjson.loads(told["event"])["data"]
        assert (told["topic"], data["number"], data["version"]) == ("task-created", item["number"], 1)
        history = (await ada.call("GET", f"{TASKS}/{item['id']}/history", 200)).json()["items"]
        assert [line["version"] for line in history] == [1]
    (series,) = await rows("SELECT topic FROM outbox WHERE key = :key", key=body["items"][1]["series_id"])
    assert series == {"topic": "series-updated"}


async def test_each_bad_item_is_named_and_the_others_are_made(ada: Any) -> None:
    tasks = [{"title": "Good"}, {"title": "Late", "due_at": "2020-01-01T00:00:00Z"}, {"title": "Good too"}]
    body = (await ada.call("POST", BULK, 201, json={"tasks": tasks})).json()
    assert [item["title"] for item in body["items"]] == ["Good", "Good too"]
    assert [(one["index"], one["error_code"]) for one in body["failed"]] == [(1, "due_in_past")]


async def test_all_or_nothing(ada: Any) -> None:
    tasks = [{"title": "Good"}, {"title": "Late", "due_at": "2020-01-01T00:00:00Z"}]
    refused = await ada.call("POST", f"{BULK}?atomic=true", 409, json={"tasks": tasks})
    assert refused.json()["failed"] == [{"index": 1, "error_code": "due_in_past"}]
    one, two = await made(ada, 2)
    await ada.call("POST", f"{TASKS}/{two['id']}/complete", 200)
    await ada.call("PATCH", f"{TASKS}/{two['id']}", 200, json={"status": "archived"})
    body = {"ids": [one["id"], two["id"]], "atomic": True}
    refused = await ada.call("POST", f"{BULK}/complete", 409, json=body)
    assert refused.json()["failed"] == [{"id": two["id"], "error_code": "transition_refused"}]
    assert (await ada.call("GET", f"{TASKS}/{one['id']}", 200)).json()["status"] == "pending"
    assert len((await ada.call("GET", TASKS, 200)).json()["items"]) == 2


async def test_completing_many_names_those_that_cannot_be(ada: Any, bob: Any) -> None:
    (mine, done), (theirs,) = await made(ada, 2), await made(bob, 1)
    await ada.call("POST", f"{TASKS}/{done['id']}/complete", 200)
    nobodys = str(uuid4())
    ids = [theirs["id"], mine["id"], nobodys, done["id"], mine["id"]]
    body = (await ada.call("POST", f"{BULK}/complete", 200, json={"ids": ids})).json()
    assert body["updated"] == 2
    assert body["items"] == [{"id": mine["id"], "version": 2}, {"id": done["id"], "version": 2}]
    assert [(one["id"], one["error_code"]) for one in body["failed"]] == [
        (theirs["id"], "task_not_found"),
        (nobodys, "task_not_found"),
    ]
    assert (await bob.call("GET", f"{TASKS}/{theirs['id']}", 200)).json()["status"] == "pending"


async def test_one_token_takes_all_of_it_back(ada: Any) -> None:
    tasks = await made(ada, 5, tags=["old"])
    ids = [task["id"] for task in tasks]
    changed = await ada.call("POST", f"{BULK}/update", 200, json={"ids": ids, "changes": {"tags": ["new"]}})
    done = await ada.call("POST", f"{BULK}/complete", 200, json={"ids": ids})
    gone = await ada.call("POST", f"{BULK}/delete", 200, json={"ids": ids})
    assert (await ada.call("GET", TASKS, 200)).json()["items"] == []
    for answer, status, tag in (
        (gone, "completed", "new"),
        (done, "pending", "new"),
        (changed, "pending", "old"),
    ):
        await ada.call("POST", f"/api/v1/undo/{answer.headers['x-undo-token']}", 200)
        items = (await ada.call("GET", TASKS, 200)).json()["items"]
        assert [(item["status"], item["tags"]) for item in items] == [(status, [tag])] * 5


async def test_what_was_made_at_once_is_taken_back_at_once_or_not_at_all(ada: Any) -> None:
    answer = await ada.call("POST", BULK, 201, json={"tasks": [{"title": "a"}, {"title": "b"}]})
    token = answer.headers["x-undo-token"]
    touched = await ada.call(
        "PATCH", f"{TASKS}/{answer.json()['items'][0]['id']}", 200, json={"title": "touched"}
    )
    await ada.call("POST", f"/api/v1/undo/{token}", 409)
    assert len((await ada.call("GET", TASKS, 200)).json()["items"]) == 2
    await ada.call("POST", f"/api/v1/undo/{touched.headers['x-undo-token']}", 200)


async def test_opposite_orders_do_not_block_each_other(ada: Any) -> None:
    ids = [task["id"] for task in await made(ada, 40)]

    async def change(order: list[str], priority: str) -> Any:
        body = {"ids": order, "changes": {"priority": priority}}
        return await ada.call("POST", f"{BULK}/update", 200, json=body)

    levels = ("low", "high", "urgent")
    answers = await asyncio.gather(*(change(ids if n % 2 else ids[::-1], levels[n % 3]) for n in range(12)))
    assert all(answer.json()["updated"] == 40 for answer in answers)
    for task_id in ids[:3]:
        history = (await ada.call("GET", f"{TASKS}/{task_id}/history", 200)).json()["items"]
        assert [line["version"] for line in history] == list(range(1, len(history) + 1))


async def test_five_hundred_take_few_round_trips(ada: Any, statements: Any) -> None:
    ids = [task["id"] for task in await made(ada, 500)]
    with statements() as sent:
        body = (await ada.call("POST", f"{BULK}/complete", 200, json={"ids": ids})).json()
    assert body["updated"] == 500
    # Five chunks: lock the series, the tasks, read reminders and the owner, write, commit.
    assert len(sent) <= 5 * 7


@pytest.mark.parametrize(
    ("where", "body", "field"),
    [
        ("", {"tasks": []}, "tasks"),
        ("", {"tasks": [{"title": "x"}] * 501}, "tasks"),
        ("", {"tasks": [{"title": ""}]}, "tasks.0.title"),
        ("/complete", {"ids": []}, "ids"),
        ("/complete", {"ids": ["x"]}, "ids.0"),
        ("/complete", {"ids": [str(uuid4())], "force": True}, "force"),
        ("/update", {"ids": [str(uuid4())]}, "changes"),
        ("/update", {"ids": [str(uuid4())], "changes": {"titel": "x"}}, "changes.titel"),
    ],
)
async def test_a_bad_body_names_the_field(ada: Any, where: str, body: Any, field: str) -> None:
    answer = await ada.call("POST", f"{BULK}{where}", 422, json=body)
    assert field in [error["field"] for error in answer.json()["errors"]]


async def test_a_successor_that_made_room_in_the_same_call_is_not_said_to_be_changed(
    ada: Any, follow: Any
) -> None:
    first = await ada.create("Daily", due_date="2026-01-06", recurrence={"rrule": "FREQ=DAILY"})
    await ada.call("POST", f"{TASKS}/{first['id']}/complete", 200)
    second = await follow(first)
    body = {"ids": [first["id"], second["id"]], "changes": {"status": "pending", "title": "Both"}}
    answer = (await ada.call("POST", f"{BULK}/update", 200, json=body)).json()
    assert [item["id"] for item in answer["items"]] == [first["id"]]
    assert [(item["id"], item["error_code"]) for item in answer["failed"]] == [
        (second["id"], "task_not_found")
    ]


async def test_what_was_committed_before_the_database_went_away_is_told(
    ada: Any, engine: Any, rows: Any
) -> None:
    """The connection is lost in the second chunk of three: what the first did can be seen, and be taken back."""
    ids = sorted(task["id"] for task in await made(ada, 250))
    asked = ids[::-1]
    async with cut_off_at(engine, rows, ids[150]):
        answer = await ada.call("POST", f"{BULK}/complete", 200, json={"ids": asked})
    body = answer.json()
    assert [item["id"] for item in body["items"]] == ids[:100][::-1]
    assert [item["id"] for item in body["failed"]] == ids[100:][::-1]
    assert {item["error_code"] for item in body["failed"]} == {"storage_unavailable"}
    assert all("nothing was changed" in item["detail"] for item in body["failed"])
    assert await of_status(ada, "completed") == 100
    await ada.call("POST", f"/api/v1/undo/{answer.headers['x-undo-token']}", 200)
    assert await of_status(ada, "completed") == 0
    again = await ada.call("POST", f"{BULK}/complete", 200, json={"ids": asked})
    assert (again.json()["updated"], again.json()["failed"]) == (250, [])


async def of_status(person: Any, status: str) -> int:
    found = await person.call("GET", TASKS, 200, params={"status": status, "include": "total", "limit": 1})
    return int(found.json()["total"])


async def test_a_commit_that_was_not_heard_of_may_have_been_done(
    ada: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second chunk is committed, and the connection lost before PostgreSQL could say so."""
    ids = sorted(task["id"] for task in await made(ada, 201))
    begin, begun = PostgresDatabase.begin, 0

    @asynccontextmanager
    async def losing(database: PostgresDatabase) -> AsyncIterator[Any]:
        nonlocal begun
        begun += 1
        async with begin(database) as work:
            yield work
        if begun == 2:
            raise StorageUnavailable("lost")

    with monkeypatch.context() as patched:
        patched.setattr(PostgresDatabase, "begin", losing)
        answer = await ada.call("POST", f"{BULK}/delete", 200, json={"ids": ids})
    body = answer.json()
    assert (begun, [item["id"] for item in body["items"]]) == (2, ids[:100])
    told = {item["id"]: item["detail"] for item in body["failed"]}
    assert list(told) == ids[100:]
    assert all("may have been done" in told[task_id] for task_id in ids[100:200])
    assert "nothing was changed" in told[ids[200]]
    assert [item["id"] for item in (await ada.call("GET", TASKS, 200)).json()["items"]] == ids[200:]
    # The token takes that back as well.
    await ada.call("POST", f"/api/v1/undo/{answer.headers['x-undo-token']}", 200)
    assert await of_status(ada, "pending") == 201


@pytest.mark.parametrize(("atomic", "place"), [(False, 50), (True, 150)])
async def test_where_nothing_was_committed_before_nothing_is_done(
    ada: Any, engine: Any, rows: Any, atomic: bool, place: int
) -> None:
    ids = sorted(task["id"] for task in await made(ada, 200))
    async with cut_off_at(engine, rows, ids[place]):
        problem = await ada.call("POST", f"{BULK}/complete", 503, json={"ids": ids, "atomic": atomic})
    assert problem.json()["error_code"] == "storage_unavailable"
    assert "x-undo-token" not in problem.headers
    assert await of_status(ada, "completed") == 0
