"""An import is taken back as a bulk create is: all that it made, while it is as it came."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest
from tests.integration.task_api.test_import_json import IMPORT, TASKS, compared, export, furnish

HEADER = "x-undo-token"


async def bring(person: Any, document: Any, kind: str = "application/json") -> httpx.Response:
    content = document if isinstance(document, str) else orjson.dumps(document)
    answer: httpx.Response = await person.call(
        "POST", IMPORT, 200, content=content, headers={"Content-Type": kind}
    )
    return answer


async def undo(person: Any, answer: httpx.Response, expect: int = 200) -> httpx.Response:
    taken: httpx.Response = await person.call("POST", f"/api/v1/undo/{answer.headers[HEADER]}", expect)
    return taken


def lines(first: int, last: int) -> str:
    """A file of so many tasks."""
    return "TYPE,CONTENT\n" + "".join(f"task,Number {number}\n" for number in range(first, last))


async def total(person: Any) -> int:
    answer = await person.call("GET", TASKS, 200, params={"include": "total", "limit": 1})
    return int(answer.json()["total"])


async def test_what_came_goes_and_what_was_here_stays(ada: Any, bob: Any, follow: Any) -> None:
    await furnish(ada, follow)
    kept = await bob.create("Bob's own")
    document = await export(ada)
    brought = await bring(bob, document)
    after_import = await export(bob)
    taken = await undo(bob, brought)
    assert len(taken.json()["items"]) >= 5
    listed = (await bob.call("GET", TASKS, 200)).json()["items"]
    assert [task["id"] for task in listed] == [kept["id"]]
    left = await export(bob)
    assert all(one["ended_at"] for one in left["series"])
    await undo(bob, brought, 409)
    # What lies in the bin is here: the file brings nothing new, the undo of the undo brings all of it back.
    again = await bring(bob, document)
    assert (again.json()["imported"], HEADER in again.headers) == (0, False)
    await undo(bob, taken)
    assert compared(await export(bob)) == compared(after_import)


@pytest.mark.parametrize("title", ["Plain", "Reminded", "Recurring"])
async def test_one_that_was_changed_since_keeps_them_all(ada: Any, bob: Any, follow: Any, title: str) -> None:
    await furnish(ada, follow)
    brought = await bring(bob, await export(ada))
    listed = (await bob.call("GET", TASKS, 200)).json()["items"]
    changed = next(task for task in listed if task["title"] == title)
    await bob.call("PATCH", f"{TASKS}/{changed['id']}", 200, json={"title": "His now"})
    before = await export(bob)
    refused = await undo(bob, brought, 409)
    assert refused.json()["error_code"] == "undo_not_possible"
    assert (await export(bob))["tasks"] == before["tasks"]


async def test_a_series_that_was_changed_since_keeps_them_all(ada: Any, bob: Any, clock: Any) -> None:
    await ada.create("Recurring", due_date="2026-01-08", recurrence={"rrule": "FREQ=DAILY"})
    brought = await bring(bob, await export(ada))
    (task,) = (await bob.call("GET", TASKS, 200)).json()["items"]
    clock.advance(timedelta(minutes=1))
    await bob.call("PATCH", f"/api/v1/series/{task['series_id']}", 200, json={"overdue": "catch_up"})
    assert "series" in (await undo(bob, brought, 409)).json()["detail"]


async def test_a_series_that_has_gone_on_keeps_them_all(ada: Any, bob: Any, follow: Any) -> None:
    await bob.create("Recurring", due_date="2026-01-08", recurrence={"rrule": "FREQ=DAILY"})
    brought = await bring(ada, await export(bob))
    (task,) = (await ada.call("GET", TASKS, 200)).json()["items"]
    done = await ada.call("POST", f"{TASKS}/{task['id']}/complete", 200)
    following = await follow(task)
    await undo(ada, brought, 409)
    await undo(ada, done)
    assert (await ada.call("GET", f"{TASKS}/{following['id']}")).status_code == 404
    assert len((await undo(ada, brought)).json()["items"]) == 1


async def test_as_many_as_one_undo_takes(ada: Any) -> None:
    most = await bring(ada, lines(0, 500), "text/csv")
    await undo(ada, most)
    assert await total(ada) == 0
    more = await bring(ada, lines(500, 1001), "text/csv")
    assert (more.json()["imported"], HEADER in more.headers) == (501, False)
    some = await bring(ada, lines(500, 1003), "text/csv")
    assert some.json()["imported"] == 2
    await undo(ada, some)
    assert await total(ada) == 501


async def test_what_joins_a_series_that_is_here_has_no_token(ada: Any, bob: Any, follow: Any) -> None:
    begun = await ada.create("Recurring", due_date="2026-01-08", recurrence={"rrule": "FREQ=DAILY"})
    assert HEADER in (await bring(bob, await export(ada))).headers
    await ada.call("POST", f"{TASKS}/{begun['id']}/complete", 200)
    await follow(begun)
    later = await bring(bob, await export(ada))
    assert (later.json()["imported"], HEADER in later.headers) == (1, False)
