"""Undo of what was done to a series: its rule, its pauses, its end, and the instance that went along."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.integration.task_api.deliveries import Weekly, until_waiting

Json = dict[str, Any]
Call = tuple[str, str, Json | None]

DAILY = {"rrule": "FREQ=DAILY"}
YEARLY = {"rrule": "FREQ=YEARLY", "overdue": "catch_up"}
SERIES, TASK = "/api/v1/series/{series_id}", "/api/v1/tasks/{id}"

CALLS: list[Call] = [
    ("PATCH", SERIES, {"rrule": "FREQ=WEEKLY;BYDAY=WE"}),
    ("PATCH", SERIES, {"overdue": "catch_up", "month_end": "skip", "pile_up": "allow"}),
    ("PATCH", SERIES, {"timezone": "America/New_York"}),
    ("PATCH", SERIES, {"exdates": ["2026-01-10", "2026-01-12"]}),
    ("POST", f"{SERIES}/pause", None),
    ("DELETE", SERIES, None),
    ("PATCH", f"{TASK}?scope=series", {"due_date": "2026-01-09"}),
    ("PATCH", f"{TASK}?scope=series", {"due_at": "2026-01-09T08:00:00Z", "timezone": "Asia/Tokyo"}),
    (
        "PATCH",
        f"{TASK}?scope=series",
        {"title": "x", "due_date": "2026-01-09", "recurrence": DAILY | {"overdue": "catch_up"}},
    ),
    ("PATCH", f"{TASK}?scope=series", {"recurrence": None, "priority": "low"}),
]
ids = [f"{method} {path} {','.join(body or ())}" for method, path, body in CALLS]


@pytest.fixture
async def chain(ada: Any, follow: Any) -> list[Json]:
    """Two instances of a daily task, the first completed."""
    first = await ada.create(due_date="2026-01-06", recurrence=DAILY, reminders=[{"offset": "PT1H"}])
    await ada.call("POST", f"/api/v1/tasks/{first['id']}/complete", 200)
    return [first, await follow(first)]


async def do(person: Any, task: Json, call: Call) -> Any:
    method, path, body = call
    answer = await person.call(method, path.format(**task), json=body)
    assert answer.is_success, answer.text
    return answer


async def undo(person: Any, answer: Any, expect: int = 200) -> Any:
    return await person.call("POST", f"/api/v1/undo/{answer.headers['x-undo-token']}", expect)


async def series_of(person: Any, task: Json) -> Json:
    body: Json = (await person.call("GET", SERIES.format(**task), 200)).json()
    return body


async def standing(person: Any, task: Json) -> tuple[Json, Json]:
    """The series and the task as they stand, but for what every write moves on."""
    both = await series_of(person, task), (await person.call("GET", TASK.format(**task), 200)).json()
    for one in both:
        del one["version"], one["updated_at"]
    return both


async def last_told(rows: Any, task: Json) -> Json:
    """The newest series-updated of the task's series."""
    found = await rows("SELECT event FROM outbox WHERE key = :key", key=task["series_id"])
    newest: Json = max(
        (orjson.loads(row["event"])["data"] for row in found), key=lambda data: data["version"]
    )
    return newest


@pytest.mark.parametrize("call", CALLS, ids=ids)
async def test_a_change_is_taken_back_and_brought_again(
    ada: Any, chain: Any, rows: Any, clock: Any, call: Call
) -> None:
    task = chain[1]
    before = await standing(ada, task)
    clock.advance(timedelta(minutes=1))
    token = await do(ada, task, call)
    after = await standing(ada, task)
    assert after != before
    for expected in (before, after, before):
        clock.advance(timedelta(minutes=1))
        token = await undo(ada, token)
        assert await standing(ada, task) == expected
        series, told = await series_of(ada, task), await last_told(rows, task)
        assert (told["version"], told["rrule"], told["start"], told["paused"], told["ended"]) == (
            series["version"],
            series["recurrence"]["rrule"],
            series["start"],
            series["paused_at"] is not None,
            series["ended_at"] is not None,
        )
        (tip,) = await rows("SELECT version, occurrence_key FROM tasks WHERE id = :id", id=task["id"])
        assert {name: told["tip"][name] for name in tip} == tip


async def test_only_what_the_change_touched_is_shown(ada: Any, chain: Any) -> None:
    _, second = chain
    paused = await do(ada, second, ("POST", f"{SERIES}/pause", None))
    assert (await undo(ada, paused)).json() == {"items": []}
    for fields in ({"due_date": "2026-01-09"}, {"title": "Water the garden"}):
        edited = await do(ada, second, ("PATCH", f"{TASK}?scope=series", fields))
        (item,) = (await undo(ada, edited)).json()["items"]
        assert {name: item[name] for name in fields} == {name: second[name] for name in fields}


async def test_what_changes_nothing_has_no_token(ada: Any, chain: Any) -> None:
    _, second = chain
    for call in (
        ("PATCH", SERIES, {"rrule": "FREQ=DAILY"}),
        ("POST", f"{SERIES}/resume", None),
        ("PATCH", f"{TASK}?scope=series", {"title": second["title"]}),
    ):
        assert "x-undo-token" not in (await do(ada, second, call)).headers


async def test_a_token_is_of_one_person(ada: Any, bob: Any, chain: Any) -> None:
    paused = await do(ada, chain[1], ("POST", f"{SERIES}/pause", None))
    assert (await undo(bob, paused, 404)).json()["error_code"]
    assert (await series_of(ada, chain[1]))["paused_at"] is not None


async def test_the_same_change_is_not_taken_back_twice(ada: Any, chain: Any) -> None:
    ended = await do(ada, chain[1], ("DELETE", SERIES, None))
    await undo(ada, ended)
    refused = (await undo(ada, ended, 409)).json()
    assert refused["error_code"] == "undo_not_possible"
    assert "ended_at" in refused["detail"]


async def test_a_pause_that_is_taken_back_never_was(ada: Any, chain: Any, clock: Any, follow: Any) -> None:
    """What was completed meanwhile is followed from its own date; resuming then has nothing to do."""
    _, second = chain
    paused = await do(ada, second, ("POST", f"{SERIES}/pause", None))
    await ada.call("POST", f"/api/v1/tasks/{second['id']}/complete", 200)
    clock.advance(timedelta(hours=2))
    await undo(ada, paused)
    resumed = await do(ada, second, ("POST", f"{SERIES}/resume", None))
    assert "x-undo-token" not in resumed.headers
    assert (resumed.json()["paused_at"], resumed.json()["resumed_at"]) == (None, None)
    assert (await follow(second))["occurrence_key"] == "2026-01-08"


async def test_a_resumption_is_taken_back_to_the_same_pause(ada: Any, chain: Any, clock: Any) -> None:
    _, second = chain
    paused = await do(ada, second, ("POST", f"{SERIES}/pause", None))
    clock.advance(timedelta(hours=2))
    resumed = await do(ada, second, ("POST", f"{SERIES}/resume", None))
    assert "paused_at" in (await undo(ada, paused, 409)).json()["detail"]
    await undo(ada, resumed)
    rests = await series_of(ada, second)
    assert (rests["paused_at"], rests["resumed_at"]) == (paused.json()["paused_at"], None)
    await undo(ada, paused)
    assert (await series_of(ada, second))["paused_at"] is None


async def test_a_later_edit_is_not_lost(ada: Any, chain: Any) -> None:
    _, second = chain
    weekly = await do(ada, second, ("PATCH", SERIES, {"rrule": "FREQ=WEEKLY"}))
    await do(ada, second, ("PATCH", SERIES, {"overdue": "catch_up"}))
    await undo(ada, weekly)
    recurrence = (await series_of(ada, second))["recurrence"]
    assert (recurrence["rrule"], recurrence["overdue"]) == ("FREQ=DAILY", "catch_up")
    monthly = await do(ada, second, ("PATCH", SERIES, {"rrule": "FREQ=MONTHLY"}))
    await do(ada, second, ("PATCH", SERIES, {"rrule": "FREQ=YEARLY"}))
    assert "rrule" in (await undo(ada, monthly, 409)).json()["detail"]
    assert (await series_of(ada, second))["recurrence"]["rrule"] == "FREQ=YEARLY"


async def test_an_old_rule_does_not_come_back_to_a_slot_that_it_cannot_have(ada: Any) -> None:
    """The rule was changed while no instance was open; since then the first slot has lost its time of day."""
    task = await ada.create(due_at="2026-01-06T08:00:00Z", recurrence={"rrule": "FREQ=DAILY;BYHOUR=9"})
    await do(ada, task, ("POST", f"{TASK}/complete", None))
    plain = await do(ada, task, ("PATCH", SERIES, {"rrule": "FREQ=DAILY"}))
    await do(ada, task, ("POST", f"{TASK}/complete", {"completed": False}))
    await do(ada, task, ("PATCH", f"{TASK}?scope=series", {"due_date": "2026-01-09"}))
    assert "BYHOUR" in (await undo(ada, plain, 409)).json()["detail"]


async def test_a_slot_that_was_used_is_not_moved(ada: Any, chain: Any, follow: Any) -> None:
    _, second = chain
    moved = await do(ada, second, ("PATCH", f"{TASK}?scope=series", {"due_date": "2026-01-09"}))
    done = await ada.call("POST", f"/api/v1/tasks/{second['id']}/complete", 200)
    assert "closed" in (await undo(ada, moved, 409)).json()["detail"]
    third = await follow(second)
    assert "gone on" in (await undo(ada, moved, 409)).json()["detail"]
    # Opened again it is the newest one, and its slot is its own.
    await undo(ada, done)
    await ada.call("GET", f"/api/v1/tasks/{third['id']}", 404)
    await undo(ada, moved)
    assert (await standing(ada, second))[1]["occurrence_key"] == "2026-01-07"


async def test_one_that_was_opened_again_and_moved_is_closed_on_its_own_slot(
    ada: Any, chain: Any, follow: Any
) -> None:
    """The edit took the next instance away; it comes back as it does after any completion."""
    first, second = chain
    before = await series_of(ada, first)
    body = {"status": "pending", "due_date": "2026-01-12", "recurrence": {"rrule": "FREQ=WEEKLY"}}
    moved = await do(ada, first, ("PATCH", f"{TASK}?scope=series", body))
    await ada.call("GET", TASK.format(**second), 404)
    (item,) = (await undo(ada, moved)).json()["items"]
    assert (item["id"], item["status"], item["occurrence_key"]) == (first["id"], "completed", "2026-01-06")
    after = await series_of(ada, first)
    assert (after["recurrence"], after["start"]) == (before["recurrence"], before["start"])
    again = await follow(first)
    assert (again["id"], again["occurrence_key"]) == (second["id"], "2026-01-07")


async def test_a_moved_instance_had_its_old_slot_before(ada: Any, chain: Any, clock: Any) -> None:
    _, second = chain
    clock.advance(timedelta(minutes=1))
    await do(ada, second, ("PATCH", f"{TASK}?scope=series", {"due_date": "2026-01-09"}))
    past = await ada.call("GET", TASK.format(**second) + "?as_of=2026-01-05T09:00:30Z", 200)
    assert past.json()["occurrence_key"] == "2026-01-07"


async def test_a_rule_goes_back_whatever_came_by_it(ada: Any, chain: Any, follow: Any) -> None:
    """The edit moved no instance, so that none is in the way: those that are there keep their dates."""
    _, second = chain
    edited = await do(ada, second, ("PATCH", SERIES, {"rrule": "FREQ=WEEKLY;BYDAY=WE"}))
    await ada.call("POST", f"/api/v1/tasks/{second['id']}/complete", 200)
    third = await follow(second)
    before = (await standing(ada, third))[1]
    await undo(ada, edited)
    series, task = await standing(ada, third)
    assert (series["recurrence"]["rrule"], series["start"]) == ("FREQ=DAILY", "2026-01-06")
    assert {**task, "recurrence": None} == {**before, "recurrence": None}


async def test_a_series_that_ended_takes_its_instance_along_and_back(ada: Any, chain: Any, rows: Any) -> None:
    first, second = chain
    before = await standing(ada, second)
    gone = await do(ada, second, ("DELETE", f"{TASK}?scope=series", None))
    back = await undo(ada, gone)
    assert [item["id"] for item in back.json()["items"]] == [second["id"]]
    assert await standing(ada, second) == before
    told = await last_told(rows, first)
    assert (told["ended"], told["tip"]["task_id"], told["tip"]["is_open"]) == (False, second["id"], True)
    (wrote,) = await rows(
        "SELECT count(DISTINCT at) AS moments FROM (SELECT at, change_id FROM task_history "
        "UNION ALL SELECT at, change_id FROM series_history) AS wrote WHERE change_id = "
        "(SELECT change_id FROM series_history WHERE series_id = :id ORDER BY version DESC LIMIT 1)",
        id=first["series_id"],
    )
    assert wrote["moments"] == 1
    await undo(ada, back)
    await ada.call("GET", TASK.format(**second), 404)


@pytest.mark.parametrize("first_goes", [True, False], ids=["from the first", "from the second"])
async def test_two_instances_that_went_together_come_back_together(
    ada: Any, rows: Any, http: Any, first_goes: bool
) -> None:
    """The one does not make room for the other: both were there, one after the other, and both were open."""
    weekly = Weekly(ada, rows, http)
    first = await weekly.begin(recurrence={"rrule": "FREQ=WEEKLY", "pile_up": "allow"})
    await (await weekly.offer(first, why="schedule", predecessor_closed_version=None)).to(http)
    second = (await weekly.chain(first))[1]
    gone = await do(
        ada, first if first_goes else {"id": second["id"]}, ("DELETE", f"{TASK}?scope=series", None)
    )
    back = await undo(ada, gone)
    assert {item["id"] for item in back.json()["items"]} == {first["id"], str(second["id"])}
    assert [one["closed_by"] for one in await weekly.chain(first)] == [None, None]
    await undo(ada, back)
    assert [one["closed_by"] for one in await weekly.chain(first)] == ["erased", "erased"]


async def test_an_end_from_before_the_history_of_series_is_taken_back(
    ada: Any, chain: Any, rows: Any
) -> None:
    _, second = chain
    gone = await do(ada, second, ("DELETE", f"{TASK}?scope=series", None))
    await rows("DELETE FROM series_history WHERE series_id = :id", id=second["series_id"])
    await undo(ada, gone)
    assert (await series_of(ada, second))["ended_at"] is None


async def test_what_was_computed_before_the_undo_is_stale(
    ada: Any, chain: Any, follow: Any, rows: Any
) -> None:
    _, second = chain
    edited = await do(ada, second, ("PATCH", SERIES, {"rrule": "FREQ=WEEKLY"}))
    await ada.call("POST", f"/api/v1/tasks/{second['id']}/complete", 200)
    version = (await last_told(rows, second))["version"]
    await undo(ada, edited)
    assert (await last_told(rows, second))["version"] == version + 1
    told = (await last_told(rows, second))["tip"]
    assert (told["task_id"], told["is_open"]) == (second["id"], False)
    assert (await follow(second))["occurrence_key"] == "2026-01-08"


Waiting = Callable[[], Awaitable[Any]]


async def one_after_the_other(engine: AsyncEngine, rows: Any, series_id: str, *calls: Waiting) -> list[Any]:
    """Let the calls queue for the row of a series in this order, and give their answers."""
    async with engine.begin() as holder:
        await holder.execute(text("SELECT 1 FROM series WHERE id = :id FOR UPDATE"), {"id": series_id})
        running = []
        for number, call in enumerate(calls, start=1):
            running.append(asyncio.ensure_future(call()))
            await until_waiting(rows, number)
    return list(await asyncio.gather(*running))


async def test_an_edit_that_waits_for_the_undo_counts_from_what_it_left(
    ada: Any, chain: Any, engine: AsyncEngine, rows: Any
) -> None:
    """The undo holds the series first; the edit has come meanwhile, and sees what the undo wrote."""
    _, second = chain
    weekly = await do(ada, second, ("PATCH", SERIES, {"rrule": "FREQ=WEEKLY", "overdue": "catch_up"}))
    _, edited = await one_after_the_other(
        engine,
        rows,
        second["series_id"],
        lambda: undo(ada, weekly),
        lambda: do(ada, second, ("PATCH", SERIES, {"month_end": "skip"})),
    )
    after = edited.json()
    recurrence = after["recurrence"]
    assert (after["version"], recurrence["rrule"], recurrence["overdue"], recurrence["month_end"]) == (
        4,
        "FREQ=DAILY",
        "next_future",
        "skip",
    )


async def test_an_undo_that_waits_for_an_edit_does_not_lose_it(
    ada: Any, chain: Any, engine: AsyncEngine, rows: Any
) -> None:
    """The edit holds the series first; the undo has read its change before, and finds the rule changed again."""
    _, second = chain
    weekly = await do(ada, second, ("PATCH", SERIES, {"rrule": "FREQ=WEEKLY"}))
    _, refused = await one_after_the_other(
        engine,
        rows,
        second["series_id"],
        lambda: do(ada, second, ("PATCH", SERIES, {"rrule": "FREQ=MONTHLY"})),
        lambda: undo(ada, weekly, 409),
    )
    assert refused.json()["error_code"] == "undo_not_possible"
    assert (await series_of(ada, second))["recurrence"]["rrule"] == "FREQ=MONTHLY"


async def test_one_of_two_undos_at_once_counts(ada: Any, chain: Any, engine: AsyncEngine, rows: Any) -> None:
    """Both have read the change, and wait for the series."""
    _, second = chain
    paused = await do(ada, second, ("POST", f"{SERIES}/pause", None))
    await one_after_the_other(
        engine, rows, second["series_id"], lambda: undo(ada, paused), lambda: undo(ada, paused, 409)
    )
    assert (await series_of(ada, second))["version"] == 3


async def test_an_undo_that_waits_for_the_completion_leaves_the_used_slot(
    ada: Any, chain: Any, engine: AsyncEngine, rows: Any
) -> None:
    """The completion holds the series first; the undo would have moved the slot that is used up now."""
    _, second = chain
    moved = await do(ada, second, ("PATCH", f"{TASK}?scope=series", {"due_date": "2026-01-09"}))
    await one_after_the_other(
        engine,
        rows,
        second["series_id"],
        lambda: do(ada, second, ("POST", f"{TASK}/complete", None)),
        lambda: undo(ada, moved, 409),
    )
    assert (await standing(ada, second))[1]["occurrence_key"] == "2026-01-09"
