"""Tags, counts, and a task as it was."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from tests.integration.task_api.deliveries import cut_off_at

from task_api.adapters.postgres.task_reader import PostgresTaskReader

TASKS = "/api/v1/tasks"


async def tags(person: Any) -> dict[str, int]:
    items = (await person.call("GET", "/api/v1/tags", 200)).json()["items"]
    return {item["tag"]: item["tasks"] for item in items}


async def test_tags_are_counted_renamed_and_merged(ada: Any, bob: Any) -> None:
    for names in (["home"], ["home", "garden"], ["household", "home"]):
        await ada.create(tags=names)
    await bob.create(tags=["home"])
    assert await tags(ada) == {"home": 3, "garden": 1, "household": 1}
    renamed = await ada.call("PATCH", "/api/v1/tags/home", 200, json={"name": "household"})
    assert renamed.json()["updated"] == 3
    assert await tags(ada) == {"household": 3, "garden": 1}
    assert await tags(bob) == {"home": 1}
    await ada.call("POST", f"/api/v1/undo/{renamed.headers['x-undo-token']}", 200)
    assert await tags(ada) == {"home": 3, "garden": 1, "household": 1}
    nothing = await ada.call("PATCH", "/api/v1/tags/unknown", 200, json={"name": "x"})
    assert nothing.json()["updated"] == 0
    await ada.call("PATCH", "/api/v1/tags/home", 422, json={"name": " "})


@pytest.mark.parametrize("tag", ["work/home", "/", "a/", "//", "two\nlines", "100% /?#", "house"])
async def test_a_tag_may_hold_what_divides_paths(ada: Any, tag: str) -> None:
    await ada.create(tags=[tag])
    path = f"/api/v1/tags/{quote(tag, safe='')}"
    renamed = await ada.call("PATCH", path, 200, json={"name": "new/name"})
    assert (renamed.json()["updated"], await tags(ada)) == (1, {"new/name": 1})
    merged = await ada.call("PATCH", "/api/v1/tags/new%2Fname", 200, json={"name": "plain"})
    assert (merged.json()["updated"], await tags(ada)) == (1, {"plain": 1})


async def test_the_tag_in_the_path_has_its_length_and_one_template(ada: Any, app: Any, http: Any) -> None:
    await ada.call("PATCH", f"/api/v1/tags/{'x/' * 26}", 422, json={"name": "new"})
    await ada.call("PATCH", "/api/v1/tags/one%2Ftemplate", 200, json={"name": "new"})
    assert [path for path in app.openapi()["paths"] if "{tag" in path] == ["/api/v1/tags/{tag}"]
    counted = (await http.get("/metrics")).text
    assert 'route="/api/v1/tags/{tag}"' in counted
    assert "one/template" not in counted
    assert "{tag:" not in counted
    # Without a tag it is the address of all of them.
    assert (await ada.call("GET", "/api/v1/tags/", 307)).headers["location"] == "/api/v1/tags"
    wrong = await ada.call("GET", "/api/v1/tags/work%2Fhome", 405)
    assert wrong.headers["allow"] == "PATCH"


async def test_more_tasks_than_one_chunk_are_renamed_as_one_change(ada: Any) -> None:
    many = [{"title": str(n), "tags": ["old"]} for n in range(230)]
    await ada.call("POST", f"{TASKS}/bulk", 201, json={"tasks": many})
    renamed = await ada.call("PATCH", "/api/v1/tags/old", 200, json={"name": "new"})
    assert renamed.json()["updated"] == 230
    assert await tags(ada) == {"new": 230}
    await ada.call("POST", f"/api/v1/undo/{renamed.headers['x-undo-token']}", 200)
    assert await tags(ada) == {"old": 230}


async def test_a_rename_that_ended_early_tells_what_it_did(
    ada: Any, engine: Any, rows: Any, monkeypatch: Any
) -> None:
    """The connection is lost in the second chunk."""
    many = [{"title": str(n), "tags": ["old"]} for n in range(150)]
    made = (await ada.call("POST", f"{TASKS}/bulk", 201, json={"tasks": many})).json()["items"]
    *first, last = sorted(task["id"] for task in made)
    first = first[:100]
    find = PostgresTaskReader.tagged

    async def by_id(reader: PostgresTaskReader, user_id: UUID, tag: str, limit: int) -> list[UUID]:
        # Which come first is the database's choice otherwise.
        return sorted(await find(reader, user_id, tag, len(many)))[:limit]

    monkeypatch.setattr(PostgresTaskReader, "tagged", by_id)
    async with cut_off_at(engine, rows, last):
        answer = await ada.call("PATCH", "/api/v1/tags/old", 200, json={"name": "new"})
    body = answer.json()
    assert [item["id"] for item in body["items"]] == first
    (rest,) = body["failed"]
    assert (rest.keys(), rest["error_code"]) == ({"error_code", "detail"}, "storage_unavailable")
    assert await tags(ada) == {"new": 100, "old": 50}
    again = await ada.call("PATCH", "/api/v1/tags/old", 200, json={"name": "new"})
    assert (again.json()["updated"], await tags(ada)) == (50, {"new": 150})
    for token in (again.headers["x-undo-token"], answer.headers["x-undo-token"]):
        await ada.call("POST", f"/api/v1/undo/{token}", 200)
    assert await tags(ada) == {"old": 150}


async def test_a_rename_that_did_nothing_is_a_problem(ada: Any, engine: Any, rows: Any) -> None:
    task = await ada.create(tags=["old"])
    async with cut_off_at(engine, rows, task["id"]):
        problem = await ada.call("PATCH", "/api/v1/tags/old", 503, json={"name": "new"})
    assert problem.json()["error_code"] == "storage_unavailable"


async def test_stats(ada: Any, clock: Any) -> None:
    empty = (await ada.call("GET", "/api/v1/stats", 200)).json()
    assert empty["average_completion_seconds"] is None
    first, second, _ = [await ada.create(str(n), due_at="2026-01-05T10:00:00Z") for n in range(3)]
    clock.advance(timedelta(minutes=10))
    await ada.call("POST", f"{TASKS}/{first['id']}/complete", 200)
    # 23:30 UTC is the next day in Berlin.
    clock.advance(timedelta(hours=14, minutes=20))
    await ada.call("POST", f"{TASKS}/{second['id']}/complete", 200)
    stats = (await ada.call("GET", "/api/v1/stats", 200)).json()
    assert stats == {
        "by_status": {"pending": 1, "in_progress": 0, "completed": 2, "archived": 0},
        "overdue": 1,
        "completed_per_day": {"2026-01-05": 1, "2026-01-06": 1},
        "average_completion_seconds": (600 + 600 + 14 * 3600 + 20 * 60) / 2,
    }


async def test_a_task_as_it_was(ada: Any, bob: Any, clock: Any) -> None:
    task = await ada.create("first", tags=["a"], reminders=[{"at": "2026-01-06T10:00:00Z"}])
    one = f"{TASKS}/{task['id']}"
    states = [(await ada.call("GET", one, 200)).json()]
    for body in (
        {"title": "second", "tags": ["a", "b"]},
        {"due_at": "2026-01-09T10:00:00Z", "metadata": {"x": [1]}},
        {"reminders": [{"offset": "PT1H"}]},
        {"status": "completed"},
        {"status": "in_progress", "description": "again"},
    ):
        clock.advance(timedelta(minutes=1))
        states.append((await ada.call("PATCH", one, 200, json=body)).json())
    clock.advance(timedelta(minutes=1))
    await ada.call("DELETE", one, 204)

    for minute, state in enumerate(states):
        then = f"2026-01-05T09:{minute:02}:30Z"
        assert (await ada.call("GET", one, 200, params={"as_of": then})).json() == state
    await ada.call("GET", one, 404, params={"as_of": "2026-01-05T08:59:59Z"})
    await ada.call("GET", one, 404, params={"as_of": "2026-01-05T09:06:30Z"})
    await bob.call("GET", one, 404, params={"as_of": "2026-01-05T09:01:30Z"})
    await ada.call("GET", one, 422, params={"as_of": "yesterday"})


async def test_a_past_state_where_a_clock_was_behind(ada: Any, clock: Any) -> None:
    """Another replica's clock stamps the third version before the second one."""
    task = await ada.create("one")
    path = f"/api/v1/tasks/{task['id']}"
    for seconds, title in ((10, "two"), (-5, "three")):
        clock.advance(timedelta(seconds=seconds))
        await ada.call("PATCH", path, 200, json={"title": title})
    for second, state in ((7, ("one", 1)), (10, ("three", 3))):
        then = {"as_of": f"2026-01-05T09:00:{second:02}Z"}
        shown = (await ada.call("GET", path, 200, params=then)).json()
        assert (shown["title"], shown["version"]) == state


async def test_a_reminder_that_is_past_when_it_is_set_is_told_of(ada: Any, clock: Any) -> None:
    """Due today, whose start is an hour ago: nobody wonders why nothing rang."""
    today = await ada.create(due_date="2026-01-05", reminders=[{"offset": "PT0S"}])
    tomorrow = await ada.create(due_date="2026-01-06", reminders=[{"offset": "PT0S"}])
    (line,) = (await ada.call("GET", f"/api/v1/tasks/{today['id']}/activity", 200)).json()["items"]
    assert line["sentence"] == (
        "The task was created. "
        "The reminder for 5 January 2026 at 08:00:00 UTC was already past when it was set, so it does not go out."
    )
    (line,) = (await ada.call("GET", f"/api/v1/tasks/{tomorrow['id']}/activity", 200)).json()["items"]
    assert line["sentence"] == "The task was created."
