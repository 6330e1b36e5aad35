"""Instances that the schedule makes beside an open one: several at once, at most one a slot; and reopening."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.integration.task_api.conftest import Person, Rows
from tests.integration.task_api.deliveries import Delivery, Json, Weekly, stamp, until_waiting

from service_kit.testing.fakes import ManualClock
from task_api.application.insert_successor import KEY_CONFLICTS

ALLOW = {"rrule": "FREQ=WEEKLY", "pile_up": "allow"}
FIRST, SECOND, THIRD, FOURTH = (f"2026-{day}T09:00:00" for day in ("01-12", "01-19", "01-26", "02-02"))
SECOND_IS_DUE = datetime(2026, 1, 19, 8, tzinfo=UTC)


@pytest.fixture
def weekly(ada: Person, rows: Rows, http: httpx.AsyncClient) -> Weekly:
    return Weekly(ada, rows, http)


async def _piling(weekly: Weekly, **fields: Any) -> Json:
    return await weekly.begin(recurrence=ALLOW, **fields)


async def _schedule(weekly: Weekly, task: Json, weeks: int = 1, further: int = 0, **other: Any) -> Delivery:
    slots = [datetime.fromisoformat(FIRST) + timedelta(weeks=weeks + one) for one in range(1, further + 1)]
    more = [
        {
            "occurrence_key": slot.isoformat(),
            "due_at": stamp(slot.replace(tzinfo=UTC) - timedelta(hours=1)),
            "due_date": None,
            "sentence": f"Every week on Monday, {slot:%d %B}.",
        }
        for slot in slots
    ]
    return await weekly.offer(task, weeks, why="schedule", further=more, **other)


async def _keys(weekly: Weekly, task: Json) -> list[tuple[str, str | None]]:
    return [(one["occurrence_key"], one["closed_by"]) for one in await weekly.chain(task)]


def _second_of(chain: list[Json]) -> Json:
    return {"id": str(chain[1]["id"])}


async def test_the_next_comes_beside_an_open_one(weekly: Weekly, rows: Rows) -> None:
    first = await _piling(weekly)
    assert await (await _schedule(weekly, first)).to(weekly.http) == "SUCCESS"
    opened, made = await weekly.chain(first)
    assert (opened["closed_by"], opened["version"]) == (None, 1)
    assert (made["occurrence_key"], made["predecessor_task_id"]) == (SECOND, opened["id"])
    (line,) = await rows(
        "SELECT detail FROM task_activity WHERE task_id = :id AND kind = 'occurrence_generated'",
        id=opened["id"],
    )
    assert (line["detail"]["why"], line["detail"]["task_id"]) == ("schedule", str(made["id"]))


async def test_several_are_made_together_each_after_the_one_before(weekly: Weekly, rows: Rows) -> None:
    first = await _piling(weekly)
    offer = await _schedule(weekly, first, further=49)
    for _ in range(3):
        assert await offer.to(weekly.http) == "SUCCESS"
    chain = await weekly.chain(first)
    assert len(chain) == 51
    for before, after in pairwise(chain):
        assert after["predecessor_task_id"] == before["id"]
        assert after["occurrence_key"] > before["occurrence_key"]
        assert after["number"] == before["number"] + 1
        (line,) = await rows(
            "SELECT detail FROM task_activity WHERE task_id = :id AND kind = 'occurrence_generated'",
            id=before["id"],
        )
        assert line["detail"]["task_id"] == str(after["id"])
        assert line["detail"]["occurrence_key"] == after["occurrence_key"]


@pytest.mark.parametrize("key", [SECOND, FIRST])
async def test_slots_that_do_not_rise_are_an_alert_and_make_nothing(weekly: Weekly, key: str) -> None:
    first = await _piling(weekly)
    offer = await _schedule(weekly, first, further=1)
    offer.data["further"][0]["occurrence_key"] = key
    before = KEY_CONFLICTS._value.get()
    assert await offer.to(weekly.http) == "SUCCESS"
    assert KEY_CONFLICTS._value.get() == before + 1
    assert len(await weekly.chain(first)) == 1


async def test_two_replicas_with_two_dates_make_one_follower_and_nobody_is_alarmed(
    weekly: Weekly, rows: Rows, engine: AsyncEngine
) -> None:
    first = await _piling(weekly)
    offers = [await _schedule(weekly, first), await _schedule(weekly, first, weeks=2, further=1)]
    alerts = KEY_CONFLICTS._value.get()
    async with engine.connect() as holder:
        await holder.execute(text("SELECT FROM users WHERE id = :id FOR UPDATE"), {"id": weekly.person.id})
        deliveries = [asyncio.ensure_future(one.to(weekly.http)) for one in offers]
        deliveries += [asyncio.ensure_future(one.to_another_replica(engine)) for one in offers]
        await until_waiting(rows, 4)
        await holder.rollback()
        assert await asyncio.gather(*deliveries) == ["SUCCESS"] * 4
    keys = [key for key, _ in await _keys(weekly, first)]
    assert keys in ([FIRST, SECOND], [FIRST, THIRD, FOURTH])
    assert KEY_CONFLICTS._value.get() == alerts


async def test_closing_and_the_date_at_the_same_moment_make_one(weekly: Weekly) -> None:
    """Both orders: whoever is first has the follower, and the other is answered by it."""
    for schedule_first in (True, False):
        first = await _piling(weekly)
        by_schedule = await _schedule(weekly, first)
        await weekly.complete(first)
        by_closing = await weekly.offer(first, weeks=2)
        offers = [by_schedule, by_closing] if schedule_first else [by_closing, by_schedule]
        for offer in [*offers, *offers]:
            assert await offer.to(weekly.http) == "SUCCESS"
        assert [key for key, _ in await _keys(weekly, first)] == [FIRST, SECOND if schedule_first else THIRD]


async def test_an_older_one_that_is_closed_needs_nothing(weekly: Weekly, rows: Rows) -> None:
    first = await _piling(weekly)
    await (await _schedule(weekly, first, further=1)).to(weekly.http)
    await weekly.complete(first)
    assert await (await weekly.offer(first, weeks=9)).to(weekly.http) == "SUCCESS"
    assert [key for key, _ in await _keys(weekly, first)] == [FIRST, SECOND, THIRD]
    kinds = [
        line["kind"]
        for line in await rows("SELECT kind FROM task_activity WHERE task_id = :id", id=UUID(first["id"]))
    ]
    assert "occurrence_not_generated" not in kinds


async def test_only_the_newest_is_followed_by_the_schedule(weekly: Weekly, rows: Rows) -> None:
    """A follower that was taken away behind a newer instance leaves a gap that the schedule does not fill."""
    first = await _piling(weekly)
    await (await _schedule(weekly, first, further=1)).to(weekly.http)
    await rows(
        "UPDATE tasks SET closed_by = 'withdrawn', closed_version = 1, closed_at = now(), deleted_at = now()"
        " WHERE id = :id",
        id=(await weekly.chain(first))[1]["id"],
    )
    assert await (await _schedule(weekly, first)).to(weekly.http) == "SUCCESS"
    assert [closed_by for _, closed_by in await _keys(weekly, first)] == [None, "withdrawn", None]


@pytest.mark.parametrize("column", ["paused_at", "ended_at"])
async def test_a_series_at_rest_and_one_that_was_edited_make_nothing(
    weekly: Weekly, rows: Rows, column: str
) -> None:
    first = await _piling(weekly)
    offer = await _schedule(weekly, first)
    await rows(f"UPDATE series SET {column} = now() WHERE id = :id", id=UUID(first["series_id"]))
    assert await offer.to(weekly.http) == "SUCCESS"
    await rows(
        f"UPDATE series SET {column} = NULL, version = version + 1 WHERE id = :id",
        id=UUID(first["series_id"]),
    )
    assert await offer.to(weekly.http) == "SUCCESS"
    assert len(await weekly.chain(first)) == 1


async def test_reopening_leaves_the_sibling_that_the_schedule_made(
    weekly: Weekly, clock: ManualClock
) -> None:
    """Made ahead of its date for its reminder; taken away by mistake it would come back without that."""
    first = await _piling(weekly)
    clock.instant = SECOND_IS_DUE - timedelta(hours=2)
    await (await _schedule(weekly, first)).to(weekly.http)
    clock.advance(timedelta(minutes=1))
    await weekly.complete(first)
    clock.advance(timedelta(minutes=1))
    await weekly.reopen(first)
    assert await _keys(weekly, first) == [(FIRST, None), (SECOND, None)]


async def test_reopening_takes_the_one_away_that_the_closing_made_early(
    weekly: Weekly, clock: ManualClock
) -> None:
    first = await _piling(weekly)
    for _ in range(2):  # revived, it counts as made by the second closing
        clock.advance(timedelta(minutes=1))
        await weekly.complete(first)
        clock.advance(timedelta(minutes=1))
        await (await weekly.offer(first)).to(weekly.http)
        assert await _keys(weekly, first) == [(FIRST, "completed"), (SECOND, None)]
        clock.advance(timedelta(minutes=1))
        await weekly.reopen(first)
        assert await _keys(weekly, first) == [(FIRST, None), (SECOND, "withdrawn")]
    clock.instant = SECOND_IS_DUE
    await (await _schedule(weekly, first)).to(weekly.http)
    assert await _keys(weekly, first) == [(FIRST, None), (SECOND, None)]


@pytest.mark.parametrize("act", ["date", "touched", "closed"])
async def test_reopening_leaves_what_has_a_life_of_its_own(
    weekly: Weekly, clock: ManualClock, act: str
) -> None:
    first = await _piling(weekly)
    await weekly.complete(first)
    clock.advance(timedelta(minutes=1))
    await (await weekly.offer(first)).to(weekly.http)
    second = _second_of(await weekly.chain(first))
    if act == "date":
        clock.instant = SECOND_IS_DUE
    elif act == "touched":
        await weekly.person.call("PATCH", f"/api/v1/tasks/{second['id']}", 200, json={"title": "Other"})
    else:
        await weekly.complete(second)
    await weekly.reopen(first)
    closed_by = "completed" if act == "closed" else None
    assert await _keys(weekly, first) == [(FIRST, None), (SECOND, closed_by)]


async def test_reopening_leaves_an_open_one_that_is_followed_itself_after_piling_up_was_taken_back(
    weekly: Weekly,
) -> None:
    first = await _piling(weekly)
    await (await _schedule(weekly, first, further=1)).to(weekly.http)
    await weekly.person.call("PATCH", f"/api/v1/series/{first['series_id']}", 200, json={"pile_up": "wait"})
    await weekly.complete(first)
    await weekly.reopen(first)
    assert await _keys(weekly, first) == [(FIRST, None), (SECOND, None), (THIRD, None)]


async def test_undo_of_a_completion_leaves_the_sibling_too(weekly: Weekly, clock: ManualClock) -> None:
    first = await _piling(weekly)
    clock.instant = SECOND_IS_DUE
    await (await _schedule(weekly, first)).to(weekly.http)
    clock.advance(timedelta(minutes=1))
    answer = await weekly.person.call("POST", f"/api/v1/tasks/{first['id']}/complete", 200)
    clock.advance(timedelta(minutes=1))
    await weekly.person.call("POST", f"/api/v1/undo/{answer.headers['X-Undo-Token']}", 200)
    assert await _keys(weekly, first) == [(FIRST, None), (SECOND, None)]
