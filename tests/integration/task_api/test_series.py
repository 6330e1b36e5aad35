"""Series: edited from the open instance on, paused, resumed, ended; the past is never touched."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest

TASKS = "/api/v1/tasks"
WEEKLY = {"rrule": "FREQ=WEEKLY"}


async def series_of(person: Any, task: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = (await person.call("GET", f"/api/v1/series/{task['series_id']}", 200)).json()
    return body


async def told(rows: Any, key: str) -> list[dict[str, Any]]:
    found = await rows("SELECT event FROM outbox WHERE key = :key", key=key)
    events = [orjson.loads(row["event"])["data"] for row in found]
    return sorted(events, key=lambda data: data["version"])


@pytest.fixture
async def chain(ada: Any, follow: Any) -> list[dict[str, Any]]:
    """Two instances of a daily task, the first completed."""
    first = await ada.create("Water the plants", due_date="2026-01-06", recurrence={"rrule": "FREQ=DAILY"})
    await ada.call("POST", f"{TASKS}/{first['id']}/complete", 200)
    return [first, await follow(first)]


async def test_a_new_rule_counts_from_the_open_instance(ada: Any, chain: Any, rows: Any) -> None:
    first, second = chain
    before = await series_of(ada, first)
    answer = await ada.call(
        "PATCH",
        f"/api/v1/series/{first['series_id']}",
        200,
        json={"rrule": "FREQ=WEEKLY;BYDAY=WE", "overdue": "catch_up"},
    )
    after = answer.json()
    assert (after["version"], answer.headers["etag"]) == (2, '"2"')
    assert after["recurrence"] == {
        **before["recurrence"],
        "rrule": "FREQ=WEEKLY;BYDAY=WE",
        "overdue": "catch_up",
    }
    assert after["start"] == second["due_date"]
    *_, event = await told(rows, first["series_id"])
    assert (event["version"], event["start"], event["tip"]["task_id"]) == (
        2,
        second["due_date"],
        second["id"],
    )
    # What is over stays as it was.
    gone = (await ada.call("GET", f"{TASKS}/{first['id']}", 200)).json()
    assert (gone["occurrence_key"], gone["version"]) == ("2026-01-06", 2)


async def test_policies_alone_move_no_slot(ada: Any, chain: Any, rows: Any) -> None:
    first, second = chain
    await ada.call("PATCH", f"/api/v1/series/{first['series_id']}", 200, json={"month_end": "skip"})
    assert (await series_of(ada, first))["start"] == "2026-01-06"
    assert (await ada.call("GET", f"{TASKS}/{second['id']}", 200)).json() == {
        **second,
        "recurrence": {**second["recurrence"], "month_end": "skip"},
    }


async def test_another_zone_keeps_the_wall_clock(ada: Any) -> None:
    task = await ada.create(due_at="2026-01-06T08:00:00Z", recurrence=WEEKLY, reminders=[{"offset": "PT1H"}])
    assert task["occurrence_key"] == "2026-01-06T09:00:00"
    await ada.call("PATCH", f"/api/v1/series/{task['series_id']}", 200, json={"timezone": "America/New_York"})
    moved = (await ada.call("GET", f"{TASKS}/{task['id']}", 200)).json()
    assert (moved["due_at"], moved["timezone"]) == ("2026-01-06T14:00:00Z", "America/New_York")
    assert moved["occurrence_key"] == "2026-01-06T09:00:00"


async def test_an_edit_of_this_and_later(ada: Any, chain: Any, rows: Any, follow: Any) -> None:
    first, second = chain
    changes = {
        "title": "Water the garden",
        "due_date": "2026-01-09",
        "recurrence": {"rrule": "FREQ=DAILY;INTERVAL=2"},
    }
    edited = await ada.call("PATCH", f"{TASKS}/{second['id']}?scope=series", 200, json=changes)
    body = edited.json()
    assert (body["title"], body["due_date"], body["occurrence_key"]) == (
        "Water the garden",
        "2026-01-09",
        "2026-01-09",
    )
    assert body["recurrence"]["rrule"] == "FREQ=DAILY;INTERVAL=2"
    series = await series_of(ada, first)
    assert (series["start"], series["version"]) == ("2026-01-09", 2)
    await ada.call("POST", f"{TASKS}/{second['id']}/complete", 200)
    assert (await follow(second))["title"] == "Water the garden"
    assert (await ada.call("GET", f"{TASKS}/{first['id']}", 200)).json()["title"] == "Water the plants"


@pytest.mark.parametrize("edit", [{"title": "y"}, {"recurrence": WEEKLY | {"overdue": "catch_up"}}])
async def test_what_one_instance_moved_for_itself_does_not_move_the_series(
    ada: Any, edit: dict[str, Any]
) -> None:
    task = await ada.create(due_at="2026-01-06T08:00:00Z", recurrence=WEEKLY)
    alone = {"due_at": "2026-01-09T20:00:00Z", "timezone": "America/New_York"}
    await ada.call("PATCH", f"{TASKS}/{task['id']}", 200, json=alone)
    edited = (await ada.call("PATCH", f"{TASKS}/{task['id']}?scope=series", 200, json=edit)).json()
    assert edited["occurrence_key"] == task["occurrence_key"]
    series = await series_of(ada, task)
    assert (series["timezone"], series["start"]) == ("Europe/Berlin", "2026-01-06T09:00:00")


async def test_a_new_rule_counts_from_the_instance_on_the_clock_of_the_series(ada: Any) -> None:
    task = await ada.create(due_at="2026-01-06T08:00:00Z", recurrence=WEEKLY)
    alone = {"due_at": "2026-01-09T20:00:00Z", "timezone": "America/New_York"}
    await ada.call("PATCH", f"{TASKS}/{task['id']}", 200, json=alone)
    await ada.call("PATCH", f"/api/v1/series/{task['series_id']}", 200, json={"rrule": "FREQ=DAILY"})
    series = await series_of(ada, task)
    assert (series["timezone"], series["start"]) == ("Europe/Berlin", "2026-01-09T21:00:00")


async def test_the_past_is_no_place_to_edit_what_comes_later(ada: Any, chain: Any) -> None:
    first, second = chain
    refused = await ada.call("PATCH", f"{TASKS}/{first['id']}?scope=series", 409, json={"title": "Rewritten"})
    assert refused.json()["error_code"] == "later_instances"
    assert (await ada.call("GET", f"{TASKS}/{first['id']}", 200)).json()["title"] == first["title"]
    # Opened again it is the newest one: the one after it makes room.
    reopened = {"status": "pending", "title": "Again"}
    await ada.call("PATCH", f"{TASKS}/{first['id']}?scope=series", 200, json=reopened)
    await ada.call("GET", f"{TASKS}/{second['id']}", 404)


async def test_no_recurrence_any_more_ends_the_series(ada: Any, chain: Any) -> None:
    _, second = chain
    body = (
        await ada.call("PATCH", f"{TASKS}/{second['id']}?scope=series", 200, json={"recurrence": None})
    ).json()
    assert (body["status"], body["recurrence"]) == ("pending", None)
    assert (await series_of(ada, second))["ended_at"] is not None


async def test_the_instances_of_a_series_that_has_ended_recur_no_more_wherever_they_are_shown(
    ada: Any, chain: Any
) -> None:
    _, first = chain
    path = f"{TASKS}/{first['id']}"
    ended = await ada.call("PATCH", f"{path}?scope=series", 200, json={"recurrence": None})
    shown = (await ada.call("GET", path, 200)).json()
    (listed,) = (await ada.call("GET", f"{TASKS}?status=pending", 200)).json()["items"]
    (found, *_) = (await ada.call("GET", f"{TASKS}/search?q={first['title']}", 200)).json()["items"]
    renamed = (await ada.call("PATCH", path, 200, json={"title": "Water it", "recurrence": None})).json()
    done = (await ada.call("POST", f"{path}/complete", 200)).json()
    told = [one["recurrence"] for one in (ended.json(), shown, listed, found, renamed, done)]
    assert told == [None] * 6
    assert shown["series_id"] == first["series_id"]
    # It does not begin again by an edit of one instance.
    refused = await ada.call("PATCH", path, 409, json={"recurrence": {"rrule": "FREQ=DAILY"}})
    assert refused.json()["error_code"] == "series_scope_required"


async def test_a_series_that_has_ended_goes_on_with_a_new_rule(
    ada: Any, chain: Any, rows: Any, clock: Any
) -> None:
    _, second = chain
    one = f"{TASKS}/{second['id']}?scope=series"
    await ada.call("PATCH", one, 200, json={"recurrence": None})
    clock.advance(timedelta(hours=1))
    again = (await ada.call("PATCH", one, 200, json={"recurrence": WEEKLY})).json()
    assert again["recurrence"]["rrule"] == "FREQ=WEEKLY"
    series = await series_of(ada, second)
    assert (series["ended_at"], series["resumed_at"]) == (None, "2026-01-05T10:00:00Z")
    *_, event = await told(rows, second["series_id"])
    assert (event["version"], event["ended"], event["rrule"]) == (3, False, "FREQ=WEEKLY")


async def test_a_date_before_a_closed_one_is_refused(ada: Any, chain: Any) -> None:
    _, second = chain
    await ada.call("PATCH", f"{TASKS}/{second['id']}", 200, json={"due_date": "2026-01-05"})
    refused = await ada.call(
        "PATCH", f"/api/v1/series/{second['series_id']}", 409, json={"rrule": "FREQ=WEEKLY"}
    )
    assert refused.json()["error_code"] == "series_date_taken"
    assert (await series_of(ada, second))["version"] == 1


async def test_an_instance_that_got_another_slot_alone_still_makes_room(
    ada: Any, chain: Any, rows: Any
) -> None:
    """As one whose time of day the clocks left out: it is due beside its slot, until an edit puts it on one."""
    first, second = chain
    await rows("UPDATE tasks SET occurrence_key = '2026-01-08' WHERE id = :id", id=second["id"])
    await ada.call("PATCH", f"/api/v1/series/{second['series_id']}", 200, json={"rrule": "FREQ=WEEKLY"})
    history = (await ada.call("GET", f"{TASKS}/{second['id']}/history", 200)).json()["items"]
    assert history[-1]["changes"] == {"occurrence_key": {"old": "2026-01-08", "new": "2026-01-07"}}
    await ada.call("POST", f"{TASKS}/{first['id']}/complete", 200, json={"completed": False})
    await ada.call("GET", f"{TASKS}/{second['id']}", 404)


async def test_pause_and_resume(ada: Any, chain: Any, rows: Any, clock: Any) -> None:
    first, _ = chain
    one = f"/api/v1/series/{first['series_id']}"
    paused = (await ada.call("POST", f"{one}/pause", 200)).json()
    assert paused["paused_at"] == "2026-01-05T09:00:00Z"
    assert (await ada.call("POST", f"{one}/pause", 200)).json()["version"] == paused["version"] == 2
    clock.advance(timedelta(days=3))
    resumed = (await ada.call("POST", f"{one}/resume", 200)).json()
    assert (resumed["paused_at"], resumed["resumed_at"]) == (None, "2026-01-08T09:00:00Z")
    events = await told(rows, first["series_id"])
    assert [(event["version"], event["paused"]) for event in events] == [(1, False), (2, True), (3, False)]
    assert events[-1]["resumed_at"] == "2026-01-08T09:00:00Z"


async def test_who_changed_what(ada: Any, chain: Any, clock: Any) -> None:
    first, second = chain
    one = f"/api/v1/series/{first['series_id']}"
    body = {"rrule": "FREQ=WEEKLY;BYDAY=WE", "overdue": "catch_up", "timezone": "America/New_York"}
    await ada.call("PATCH", one, 200, json=body)
    clock.advance(timedelta(hours=1))
    await ada.call("POST", f"{one}/pause", 200)
    began = await ada.call("GET", f"{one}/history?limit=1", 200)
    assert (began.json()["items"][0]["version"], began.json()["items"][0]["changes"]) == (1, {})
    cursor = began.json()["next_cursor"]
    page = (await ada.call("GET", f"{one}/history?cursor={cursor}", 200)).json()
    edited, paused = page["items"]
    assert edited == {
        "version": 2,
        "at": "2026-01-05T09:00:00Z",
        "actor": {"kind": "user", "id": str(ada.id)},
        "changes": {
            "rrule": {"old": "FREQ=DAILY", "new": "FREQ=WEEKLY;BYDAY=WE"},
            "overdue": {"old": "next_future", "new": "catch_up"},
            "timezone": {"old": "Europe/Berlin", "new": "America/New_York"},
            "start": {"old": "2026-01-06", "new": second["due_date"]},
        },
    }
    assert paused["changes"] == {"paused_at": {"old": None, "new": "2026-01-05T10:00:00Z"}}
    assert page["has_next"] is False
    await ada.call("GET", f"/api/v1/tasks/{first['id']}/history?cursor={cursor}", 422)


async def test_slots_are_left_out_from_now_on(ada: Any, chain: Any, rows: Any) -> None:
    """The list is replaced as a whole; the open instance stays, also when its own date is in it."""
    first, second = chain
    one = f"/api/v1/series/{first['series_id']}"
    slots = [second["occurrence_key"], "2026-02-01", "2026-01-20"]
    answer = await ada.call("PATCH", one, 200, json={"exdates": [*slots, "2026-02-01"]})
    assert (answer.json()["exdates"], answer.headers["etag"]) == (sorted(slots), '"2"')
    *_, event = await told(rows, first["series_id"])
    assert (event["version"], event["exdates"], event["start"]) == (2, sorted(slots), "2026-01-06")
    assert event["tip"]["task_id"] == second["id"]
    assert (await ada.call("GET", f"{TASKS}/{second['id']}", 200)).json() == second
    *_, entry = (await ada.call("GET", f"{one}/history", 200)).json()["items"]
    assert entry["changes"] == {"exdates": {"old": [], "new": sorted(slots)}}

    # The same again is no change; an edit of something else keeps them; an empty list takes them back.
    assert (await ada.call("PATCH", one, 200, json={"exdates": slots})).json()["version"] == 2
    kept = (await ada.call("PATCH", one, 200, json={"overdue": "catch_up"})).json()
    assert (kept["version"], kept["exdates"]) == (3, sorted(slots))
    back = await ada.call("PATCH", one, 200, json={"exdates": []}, headers={"If-Match": '"3"'})
    assert (back.json()["version"], back.json()["exdates"]) == (4, [])


async def test_what_leaves_out_nothing_is_refused(ada: Any, chain: Any) -> None:
    first, _ = chain
    one = f"/api/v1/series/{first['series_id']}"
    timed = await ada.create(due_at="2026-01-06T08:00:00Z", recurrence=WEEKLY)
    other = f"/api/v1/series/{timed['series_id']}"
    for path, slots in [
        (one, ["2026-01-20T09:00:00"]),
        (other, ["2026-01-20"]),
        (other, ["2026-01-20T09:00"]),
        (one, ["2026-02-30"]),
        (one, ["1066-10-14"]),
        (one, ["soon"]),
        (one, [20_260_120]),
        (
            one,
            [
                f"{2026 + number // 300}-{1 + number % 12:02}-{1 + number // 12 % 25:02}"
                for number in range(501)
            ],
        ),
        (one, None),
    ]:
        refused = await ada.call("PATCH", path, 422, json={"exdates": slots})
        assert refused.json()["errors"][0]["field"].startswith("exdates"), slots
        assert (await ada.call("GET", path, 200)).json()["version"] == 1
    # The form is that of the slots as they are after the same edit.
    await ada.call("PATCH", other, 200, json={"exdates": ["2026-01-20T09:00:00"]})


async def test_ended_for_good(ada: Any, chain: Any) -> None:
    first, second = chain
    one = f"/api/v1/series/{first['series_id']}"
    assert (await ada.call("DELETE", one, 200)).json()["ended_at"] is not None
    assert (await ada.call("GET", f"{TASKS}/{second['id']}", 200)).json()["status"] == "pending"
    assert (await ada.call("DELETE", one, 200)).json()["version"] == 2


async def test_versions_owners_and_bad_rules(ada: Any, bob: Any, chain: Any) -> None:
    first, _ = chain
    one = f"/api/v1/series/{first['series_id']}"
    stale = await ada.call("PATCH", one, 412, json={"month_end": "skip"}, headers={"If-Match": '"7"'})
    assert stale.headers["etag"] == '"1"'
    for method, path, body in [
        ("GET", one, None),
        ("GET", f"{one}/history", None),
        ("PATCH", one, {"month_end": "skip"}),
        ("POST", f"{one}/pause", None),
        ("POST", f"{one}/resume", None),
        ("DELETE", one, None),
        ("GET", f"/api/v1/series/{uuid4()}", None),
    ]:
        await bob.call(method, path, 404, json=body)
    bad = await ada.call("PATCH", one, 422, json={"rrule": "FREQ=SOMETIMES"})
    assert bad.json()["errors"][0]["field"] == "rrule"
    await ada.call("PATCH", one, 422, json={"rule": "FREQ=DAILY"})
    plain = await ada.create()
    await ada.call("PATCH", f"{TASKS}/{plain['id']}?scope=series", 409, json={"title": "x"})


async def test_one_live_successor_whatever_happens_at_once(ada: Any, follow: Any, rows: Any) -> None:
    """Complete, undo, edit, pause, offer, all at the same moment, again and again."""
    task = await ada.create(due_date="2026-01-06", recurrence={"rrule": "FREQ=DAILY"})
    one, series = f"{TASKS}/{task['id']}", f"/api/v1/series/{task['series_id']}"

    async def offer() -> None:
        try:
            await follow(task)
        except ValueError:
            return  # nothing to follow: it was not closed, or the offer was refused

    for round_ in range(8):
        calls = [
            ada.call("POST", f"{one}/complete"),
            offer(),
            ada.call("POST", f"{one}/complete", json={"completed": False}),
            offer(),
            ada.call("PATCH", series, json={"overdue": ["catch_up", "next_future"][round_ % 2]}),
            ada.call("POST", f"{series}/{['pause', 'resume'][round_ % 2]}"),
            ada.call("PATCH", one, json={"title": f"round {round_}"}),
            ada.call("POST", f"{one}/complete"),
            offer(),
        ]
        answers = await asyncio.gather(*calls)
        assert all(answer is None or answer.status_code in (200, 409) for answer in answers)
        live = await rows(
            "SELECT predecessor_task_id FROM tasks WHERE series_id = :id AND closed_by IS NULL",
            id=task["series_id"],
        )
        assert len(live) <= 1
    history = (await ada.call("GET", f"{one}/history?limit=200", 200)).json()["items"]
    assert [line["version"] for line in history] == list(range(1, len(history) + 1))
