"""Conditional GET: 304 while nothing changed, one look at a counter and none at the tasks."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.integration.task_api.deliveries import scheduled

TASKS = "/api/v1/tasks"
ADDRESSES = [TASKS, f"{TASKS}?sort=due&limit=3", f"{TASKS}/search?q=plants", "/api/v1/tags"]


async def get(person: Any, address: str, tag: str | None = None) -> Any:
    return await person.call("GET", address, headers={} if tag is None else {"If-None-Match": tag})


@pytest.mark.parametrize("address", ADDRESSES)
async def test_nothing_changed_nothing_sent(ada: Any, bob: Any, statements: Any, address: str) -> None:
    await ada.create()
    first = await get(ada, address)
    await bob.create()
    with statements() as sent:
        again = await get(ada, address, first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert not [statement for statement in sent if "tasks" in statement]
    assert len(sent) <= 2


@pytest.mark.parametrize("address", ADDRESSES)
async def test_every_change_shows(ada: Any, address: str) -> None:
    task = await ada.create(due_date="2026-01-08", recurrence={"rrule": "FREQ=DAILY"})
    one = f"{TASKS}/{task['id']}"
    for method, path, body in [
        ("POST", TASKS, {"title": "more plants"}),
        ("PATCH", one, {"title": "plants again"}),
        ("POST", f"{one}/reminders", {"offset": "PT5M"}),
        ("POST", f"{one}/complete", None),
        ("POST", f"{one}/complete", {"completed": False}),
        ("DELETE", one, None),
        ("POST", f"{one}/restore", None),
    ]:
        before = await get(ada, address)
        answer = await ada.call(method, path, json=body)
        assert answer.is_success, answer.text
        assert (await get(ada, address, before.headers["etag"])).status_code == 200, path


@pytest.mark.parametrize("address", ADDRESSES)
async def test_anothers_tag_opens_nothing(ada: Any, bob: Any, rows: Any, address: str) -> None:
    await ada.create("hers: plants")
    await bob.create("his: plants")
    numbers = await rows("SELECT number FROM user_changes WHERE user_id IN (:a, :b)", a=ada.id, b=bob.id)
    assert numbers[0] == numbers[1], "as alike as two people get"
    hers = await get(ada, address)
    his = await get(bob, address, hers.headers["etag"])
    assert his.status_code == 200
    assert his.headers["etag"] != hers.headers["etag"]
    assert str(ada.id) not in hers.headers["etag"]


@pytest.mark.parametrize("address", ADDRESSES)
async def test_the_answer_says_that_it_depends_on_the_caller(ada: Any, address: str) -> None:
    await ada.create()
    first = await get(ada, address)
    again = await get(ada, address, first.headers["etag"])
    assert [first.status_code, again.status_code] == [200, 304]
    assert first.headers["vary"] == again.headers["vary"] == "Authorization"


@pytest.mark.parametrize("address", ADDRESSES)
async def test_after_a_restore_a_number_that_comes_again_is_another(
    ada: Any, raised_epoch: Any, address: str
) -> None:
    await ada.create()
    tag = (await get(ada, address)).headers["etag"]
    async with raised_epoch():
        assert (await get(ada, address, tag)).status_code == 200


async def test_a_tag_belongs_to_its_address(ada: Any, bob: Any) -> None:
    await ada.create()
    await bob.create()
    tag = (await get(ada, TASKS)).headers["etag"]
    assert (await get(ada, f"{TASKS}?sort=title", tag)).status_code == 200
    assert tag.startswith("W/")
    for other in ("*", '"1"', "W/", "nonsense", tag.replace("W/", "")):
        assert (await get(ada, TASKS, other)).status_code == 200


async def test_what_is_overdue_is_never_the_same_for_sure(ada: Any, clock: Any) -> None:
    await ada.create(due_at="2026-01-05T10:00:00Z")
    answer = await get(ada, f"{TASKS}?overdue=true")
    assert "etag" not in answer.headers
    clock.advance(timedelta(hours=2))
    assert len((await get(ada, f"{TASKS}?overdue=true", 'W/"1-0000000000000000"')).json()["items"]) == 1


async def test_one_task_by_what_it_showed(ada: Any) -> None:
    task = await ada.create()
    one = f"{TASKS}/{task['id']}"
    first = await get(ada, one)
    tag = first.headers["etag"]
    assert tag.startswith('"1-')
    for sent in (tag, f"W/{tag}", f'"7", {tag}'):
        again = await get(ada, one, sent)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["vary"] == first.headers["vary"] == "Authorization"
    await ada.call("PATCH", one, 200, json={"title": "x"})
    assert (await get(ada, one, tag)).status_code == 200


async def test_a_task_changes_with_the_rule_of_its_series(ada: Any) -> None:
    task = await ada.create(due_date="2026-01-08", recurrence={"rrule": "FREQ=DAILY"})
    one, its_series = f"{TASKS}/{task['id']}", f"/api/v1/series/{task['series_id']}"
    tag = (await get(ada, one)).headers["etag"]
    await ada.call("PATCH", its_series, 200, json={"overdue": "catch_up"})
    assert (await get(ada, one, '"1"')).status_code == 200
    after = await get(ada, one, tag)
    assert (after.status_code, after.json()["version"]) == (200, 1)
    assert after.json()["recurrence"]["overdue"] == "catch_up"
    await ada.call("DELETE", its_series)
    ended = await get(ada, one, after.headers["etag"])
    assert (ended.status_code, ended.json()["recurrence"]) == (200, None)


async def test_a_version_that_comes_again_after_a_restore_is_another(ada: Any, rows: Any, clock: Any) -> None:
    task = await ada.create()
    one = f"{TASKS}/{task['id']}"
    await ada.call("PATCH", one, 200, json={"title": "lost"})
    tag = (await get(ada, one)).headers["etag"]
    await rows("UPDATE tasks SET version = 1, title = 'Water the plants' WHERE id = :id", id=task["id"])
    clock.advance(timedelta(minutes=1))
    await rows("DELETE FROM task_history WHERE task_id = :id AND version = 2", id=task["id"])
    await ada.call("PATCH", one, 200, json={"title": "anew"})
    again = await get(ada, one, tag)
    assert (again.status_code, again.json()["version"], again.json()["title"]) == (200, 2, "anew")


async def test_a_write_may_name_what_was_read_or_its_version(ada: Any) -> None:
    task = await ada.create()
    one = f"{TASKS}/{task['id']}"
    read = (await get(ada, one)).headers["etag"]
    written = await ada.call("PATCH", one, 200, json={"title": "x"}, headers={"If-Match": read})
    assert written.headers["etag"] == '"2"'
    await ada.call("PATCH", one, 412, json={"title": "y"}, headers={"If-Match": read})
    await ada.call("PATCH", one, 200, json={"title": "y"}, headers={"If-Match": '"2"'})


async def test_one_transaction_counts_once_and_none_is_lost(ada: Any, rows: Any) -> None:
    async def number() -> int:
        found = await rows("SELECT number FROM user_changes WHERE user_id = :id", id=ada.id)
        return int(found[0]["number"]) if found else 0

    before = await number()
    tasks = [{"title": str(n)} for n in range(50)]
    made = (await ada.call("POST", f"{TASKS}/bulk", 201, json={"tasks": tasks})).json()["items"]
    assert await number() == before + 1
    changed = (f"{TASKS}/{task['id']}" for task in made[:20])
    await asyncio.gather(*(ada.call("PATCH", one, 200, json={"title": "x"}) for one in changed))
    assert await number() == before + 21
    await ada.create()
    assert await number() == before + 22
    # New tasks at the same moment may share transactions.
    await asyncio.gather(*(ada.create(str(n)) for n in range(20)))
    assert before + 22 < await number() <= before + 42


async def test_reports_of_the_siblings_change_no_list(ada: Any, rows: Any, http: Any) -> None:

    task = await ada.create(due_at="2026-01-08T10:00:00Z", reminders=[{"offset": "PT1H"}])
    tag = (await get(ada, TASKS)).headers["etag"]

    delivery = scheduled(task, datetime(2026, 1, 8, 9, tzinfo=UTC), user_id=str(ada.id))
    assert await delivery.to(http) == "SUCCESS"
    assert (await get(ada, TASKS, tag)).status_code == 304
