"""PATCH: absent is untouched, null clears, and a version is what changed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest

DUE = "2026-01-06T10:00:00Z"


def path(task: dict[str, Any]) -> str:
    return f"/api/v1/tasks/{task['id']}"


async def patch(person: Any, task: dict[str, Any], expect: int = 200, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = (await person.call("PATCH", path(task), expect, json=fields)).json()
    return body


async def events(rows: Any, task: dict[str, Any]) -> list[dict[str, Any]]:
    found = await rows("SELECT event FROM outbox WHERE key = :id", id=task["id"])
    return sorted((orjson.loads(row["event"])["data"] for row in found), key=lambda data: data["version"])


async def test_absent_is_untouched(ada: Any, clock: Any) -> None:
    task = await ada.create(
        description="x", tags=["a"], due_at=DUE, metadata={"k": 1}, reminders=[{"offset": "PT30M"}]
    )
    clock.advance(timedelta(minutes=1))
    after = await patch(ada, task, title="Feed the cat")
    assert after == task | {"title": "Feed the cat", "version": 2, "updated_at": "2026-01-05T09:01:00Z"}


async def test_null_clears(ada: Any) -> None:
    task = await ada.create(description="x", tags=["a"], due_at=DUE, metadata={"k": 1})
    after = await patch(ada, task, description=None, tags=None, due_at=None, metadata=None)
    assert after == task | {"description": None, "tags": [], "due_at": None, "metadata": {}, "version": 2}


@pytest.mark.parametrize(
    "body", [{}, {"title": "Water the plants"}, {"status": "pending"}, {"recurrence": None}]
)
async def test_what_is_already_so_is_no_version(ada: Any, rows: Any, body: dict[str, Any]) -> None:
    task = await ada.create()
    answer = await ada.call("PATCH", path(task), 200, json=body)
    assert (answer.json(), answer.headers["etag"]) == (task, '"1"')
    assert len(await events(rows, task)) == 1


@pytest.mark.parametrize(
    "body", [{"colour": "red"}, {"id": "x"}, {"completed": True}, {"title": None}, {"title": ""}]
)
async def test_what_cannot_be_set(ada: Any, body: dict[str, Any]) -> None:
    task = await ada.create()
    assert (await patch(ada, task, 422, **body))["error_code"] == "invalid_request"


async def test_one_form_of_due_takes_the_place_of_the_other(ada: Any) -> None:
    task = await ada.create(due_at=DUE)
    dated = await patch(ada, task, due_date="2026-01-09")
    assert (dated["due_at"], dated["due_date"]) == (None, "2026-01-09")
    timed = await patch(ada, task, due_at=DUE)
    assert (timed["due_at"], timed["due_date"]) == (DUE, None)


async def test_a_due_in_the_past_must_be_meant_when_it_is_set(ada: Any, clock: Any) -> None:
    task = await ada.create(due_at=DUE)
    clock.advance(timedelta(days=30))
    await patch(ada, task, title="Overdue, and still editable", due_at=DUE)
    assert (await patch(ada, task, 422, due_at="2026-01-07T10:00:00Z"))["error_code"] == "due_in_past"
    await ada.call("PATCH", path(task) + "?allow_past=true", 200, json={"due_at": "2026-01-07T10:00:00Z"})


async def test_a_due_that_something_counts_from_stays(ada: Any) -> None:
    reminded = await ada.create(due_at=DUE, reminders=[{"offset": "PT30M"}])
    assert (await patch(ada, reminded, 422, due_at=None))["errors"][0]["field"] == "reminders.0.offset"
    await patch(ada, reminded, due_at=None, reminders=[])
    recurring = await ada.create(due_at=DUE, recurrence={"rrule": "FREQ=DAILY"})
    assert (await patch(ada, recurring, 422, due_at=None))["errors"][0]["field"] == "due_at"


async def test_reminders_are_merged_by_id(ada: Any, rows: Any, clock: Any) -> None:
    task = await ada.create(
        due_at=DUE, reminders=[{"offset": "PT30M"}, {"offset": "PT1H"}, {"offset": "PT2H"}]
    )
    first, second, third = task["reminders"]
    await rows(
        "UPDATE task_reminders SET fired_for = now(), scheduled_for = now() WHERE task_id = :id",
        id=task["id"],
    )
    clock.advance(timedelta(minutes=5))
    # The third comes first and is untouched, the second moves, the first goes, one is new.
    wanted = [third, second | {"offset": "PT90M"}, {"offset": "P1D"}]
    after = (await patch(ada, task, reminders=wanted))["reminders"]
    assert [reminder["id"] for reminder in after[:2]] == [third["id"], second["id"]]
    assert [reminder["offset"] for reminder in after] == ["PT2H", "PT1H30M", "P1D"]
    assert after[2]["id"] not in {first["id"], second["id"], third["id"]}
    kept = {
        str(row["id"]): row
        for row in await rows("SELECT * FROM task_reminders WHERE task_id = :id", id=task["id"])
    }
    assert set(kept) == {reminder["id"] for reminder in after}
    set_at = [kept[reminder["id"]]["set_at"].isoformat() for reminder in after]
    assert set_at == ["2026-01-05T09:00:00+00:00", "2026-01-05T09:05:00+00:00", "2026-01-05T09:05:00+00:00"]
    assert all(kept[reminder["id"]]["fired_for"] is not None for reminder in after[:2])
    assert (await patch(ada, task, reminders=None))["reminders"] == []


async def test_a_reminder_is_sent_back_as_it_was_read(ada: Any, rows: Any) -> None:
    task = await ada.create(due_at=DUE, reminders=[{"offset": "PT30M"}])
    await rows("UPDATE task_reminders SET snoozed_until = now() WHERE task_id = :id", id=task["id"])
    read = (await ada.call("GET", path(task), 200)).json()
    assert "snoozed_until" in read["reminders"][0]
    assert await patch(ada, task, reminders=read["reminders"]) == read


@pytest.mark.parametrize(
    ("fields", "moves"),
    [
        ({"title": "Feed the cat"}, False),
        ({"due_at": "2026-01-07T10:00:00Z"}, True),
        ({"due_date": "2026-01-07"}, True),
        ({"due_at": "2026-01-06T11:00:00+01:00"}, False),
    ],
)
async def test_set_at_is_when_the_fire_time_last_moved(
    ada: Any, rows: Any, clock: Any, fields: dict[str, Any], moves: bool
) -> None:
    task = await ada.create(due_at=DUE, reminders=[{"offset": "PT30M"}])
    clock.advance(timedelta(minutes=5))
    await patch(ada, task, **{"description": "x", **fields})
    (reminder,) = (await events(rows, task))[-1]["reminders"]
    assert reminder["set_at"] == ("2026-01-05T09:05:00Z" if moves else "2026-01-05T09:00:00Z")


async def test_if_match(ada: Any) -> None:
    task = await ada.create()
    stale = await ada.call("PATCH", path(task), 412, json={"title": "x"}, headers={"If-Match": '"7"'})
    assert (stale.json()["error_code"], stale.headers["etag"]) == ("version_mismatch", '"1"')
    assert "version 1" in stale.json()["detail"]
    for tag, expected in (('"1"', 2), ("*", 3), ('"9", "3"', 4)):
        answer = await ada.call(
            "PATCH", path(task), 200, json={"title": f"v{expected}"}, headers={"If-Match": tag}
        )
        assert answer.headers["etag"] == f'"{expected}"'
    for method, route, body in (
        ("POST", "/complete", None),
        ("DELETE", "", None),
        ("POST", "/reminders", {"at": DUE}),
        ("PATCH", "", {}),
    ):
        await ada.call(method, path(task) + route, 412, json=body, headers={"If-Match": '"1"'})
        await ada.call(method, path(task) + route, 400, json=body, headers={"If-Match": "1"})


async def test_a_reminder_is_added_and_taken_off(ada: Any, rows: Any) -> None:
    task = await ada.create(due_at=DUE)
    answer = await ada.call(
        "POST", path(task) + "/reminders", 201, json={"offset": "PT10M", "channels": ["email"]}
    )
    (reminder,) = answer.json()["reminders"]
    assert (reminder["offset"], reminder["channels"], answer.headers["etag"]) == ("PT10M", ["email"], '"2"')
    unknown = await ada.call("DELETE", f"{path(task)}/reminders/{task['id']}", 404)
    assert unknown.json()["error_code"] == "reminder_not_found"
    gone = await ada.call("DELETE", f"{path(task)}/reminders/{reminder['id']}", 204)
    assert gone.headers["etag"] == '"3"'
    assert [len(event["reminders"]) for event in await events(rows, task)] == [0, 1, 0]


async def test_a_task_has_fifty_reminders_at_most(ada: Any) -> None:
    task = await ada.create(due_at=DUE, reminders=[{"offset": f"PT{minute}M"} for minute in range(50)])
    answer = await ada.call("POST", path(task) + "/reminders", 422, json={"offset": "PT1H"})
    assert answer.json()["errors"][0]["code"] == "too_many"


async def test_an_offset_reminder_needs_a_due(ada: Any) -> None:
    task = await ada.create()
    answer = await ada.call("POST", path(task) + "/reminders", 422, json={"offset": "PT1H"})
    assert answer.json()["errors"][0]["code"] == "due_required"


async def test_a_task_becomes_recurring(ada: Any, rows: Any) -> None:
    task = await ada.create(due_at=DUE)
    after = await patch(ada, task, recurrence={"rrule": "FREQ=WEEKLY"}, due_at="2026-01-08T10:00:00Z")
    assert after["recurrence"]["rrule"] == "FREQ=WEEKLY"
    assert after["occurrence_key"] == "2026-01-08T11:00:00"
    assert (await events(rows, task))[-1]["series_version"] == 1
    (row,) = await rows("SELECT event FROM outbox WHERE key = :id", id=after["series_id"])
    series = orjson.loads(row["event"])["data"]
    assert (series["start"], series["tip"]["version"]) == ("2026-01-08T11:00:00", 2)
    assert (await ada.call("GET", path(task), 200)).json() == after


async def test_the_slot_stays_when_an_instance_is_moved(ada: Any) -> None:
    task = await ada.create(due_at=DUE, recurrence={"rrule": "FREQ=DAILY"})
    after = await patch(ada, task, due_at="2026-01-06T15:00:00Z", timezone="UTC")
    assert (after["occurrence_key"], after["series_id"]) == (task["occurrence_key"], task["series_id"])


async def test_the_rule_is_the_series(ada: Any) -> None:
    task = await ada.create(due_at=DUE, recurrence={"rrule": "FREQ=DAILY"})
    assert await patch(ada, task, recurrence={"rrule": "FREQ=DAILY"}) == task
    for recurrence in (None, {"rrule": "FREQ=WEEKLY"}, {"rrule": "FREQ=DAILY", "anchor": "completion"}):
        assert (await patch(ada, task, 409, recurrence=recurrence))["error_code"] == "series_scope_required"


async def test_history_says_who_changed_what(ada: Any) -> None:
    task = await ada.create(metadata={"a": 1})
    await patch(ada, task, title="Feed the cat", metadata={"a": 2})
    await patch(ada, task, status="in_progress")
    history = (await ada.call("GET", path(task) + "/history", 200)).json()
    assert [line["version"] for line in history["items"]] == [1, 2, 3]
    assert history["items"][1]["actor"] == {"kind": "user", "id": str(ada.id)}
    assert history["items"][1]["changes"] == {
        "title": {"old": "Water the plants", "new": "Feed the cat"},
        "metadata": {"old": {"a": 1}, "new": {"a": 2}},
    }
    assert history["items"][2]["changes"] == {"status": {"old": "pending", "new": "in_progress"}}
    one = (await ada.call("GET", path(task) + "/history?limit=1", 200)).json()
    two = (await ada.call("GET", path(task) + f"/history?limit=2&cursor={one['next_cursor']}", 200)).json()
    assert [line["version"] for line in one["items"] + two["items"]] == [1, 2, 3]
    assert (one["has_next"], two["has_next"], two["next_cursor"]) == (True, False, None)


async def test_metadata_stays_off_the_bus(ada: Any, rows: Any) -> None:
    task = await ada.create()
    await patch(ada, task, metadata={"secret": "x"}, title="y")
    assert set((await events(rows, task))[-1]["changes"]) == {"title"}


@pytest.mark.parametrize(("old", "new"), [(1, True), (False, 0), ([1], [1.0]), ({"a": 1}, {"a": True})])
async def test_metadata_that_only_python_takes_for_equal(ada: Any, old: Any, new: Any) -> None:
    task = await ada.create(metadata={"client": old})
    one = f"/api/v1/tasks/{task['id']}"
    changed = (await ada.call("PATCH", one, 200, json={"metadata": {"client": new}})).json()
    assert changed["version"] == 2
    kept = (await ada.call("GET", one, 200)).json()["metadata"]["client"]
    assert repr(kept) == repr(new)
    *_, line = (await ada.call("GET", f"{one}/history", 200)).json()["items"]
    assert set(line["changes"]) == {"metadata"}


async def test_putting_names_every_field_and_replaces_all(ada: Any) -> None:
    task = await ada.create(
        "Old",
        description="words",
        tags=["home"],
        due_at="2026-01-08T10:00:00Z",
        reminders=[{"offset": "PT30M"}],
        metadata={"a": 1},
    )
    whole: dict[str, Any] = {
        "title": "New",
        "description": None,
        "status": "in_progress",
        "priority": "low",
        "tags": ["work"],
        "due_at": None,
        "due_date": "2026-02-01",
        "timezone": "Europe/Berlin",
        "metadata": {},
        "reminders": [],
        "recurrence": None,
    }
    path = f"/api/v1/tasks/{task['id']}"
    put = (await ada.call("PUT", path, 200, json=whole)).json()
    assert {name: put[name] for name in whole} == whole
    assert (put["version"], put["number"], put["created_at"]) == (2, task["number"], task["created_at"])
    assert (await ada.call("PUT", path, 200, json=whole)).json() == put, "again changes nothing"
    for missing in whole:
        body = {name: value for name, value in whole.items() if name != missing}
        problem = (await ada.call("PUT", path, 422, json=body)).json()
        assert [error["field"] for error in problem["errors"]] == [missing]
    await ada.call("PUT", path, 412, json=whole, headers={"If-Match": '"1"'})
    assert (await ada.call("GET", path, 200)).json() == put


async def test_putting_a_reminder_without_id_again_changes_nothing(ada: Any, rows: Any) -> None:
    """It rang in between: made anew, it would ring again."""
    task = await ada.create()
    whole: dict[str, Any] = {
        "title": "New",
        "description": None,
        "status": "pending",
        "priority": "low",
        "tags": [],
        "due_at": "2026-02-01T10:00:00Z",
        "due_date": None,
        "timezone": "Europe/Berlin",
        "metadata": {},
        "reminders": [{"offset": "PT30M", "channels": ["email"]}, {"at": "2026-01-31T10:00:00Z"}],
        "recurrence": None,
    }
    path = f"/api/v1/tasks/{task['id']}"
    put = (await ada.call("PUT", path, 200, json=whole)).json()
    rang = {"id": put["reminders"][0]["id"]}
    await rows("UPDATE task_reminders SET fired_for = '2026-02-01T09:30:00Z' WHERE id = :id", **rang)
    assert (await ada.call("PUT", path, 200, json=whole)).json() == put
    again = await ada.call("PATCH", path, 200, json={"reminders": whole["reminders"]})
    assert again.json() == put
    # Beside a change, too, they stay what they are.
    renamed = (await ada.call("PUT", path, 200, json=whole | {"title": "Newer"})).json()
    assert (renamed["version"], renamed["reminders"]) == (3, put["reminders"])
    (kept,) = await rows("SELECT fired_for FROM task_reminders WHERE id = :id", **rang)
    assert kept["fired_for"] is not None
