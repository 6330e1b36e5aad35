"""One completion, one successor: whatever the order, the number of deliveries and the moment."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.integration.task_api.conftest import Person, Rows
from tests.integration.task_api.deliveries import Delivery, Json, Weekly, until_waiting

from service_kit.testing.fakes import ManualClock
from task_api.application.insert_successor import KEY_CONFLICTS


@pytest.fixture
def weekly(ada: Person, rows: Rows, http: httpx.AsyncClient) -> Weekly:
    return Weekly(ada, rows, http)


async def _activity(rows: Rows, task_id: Any) -> list[Json]:
    return await rows(
        "SELECT * FROM task_activity WHERE task_id = :id ORDER BY at, id", id=UUID(str(task_id))
    )


async def _events(rows: Rows, key: Any) -> list[Json]:
    found = await rows(
        "SELECT topic, event FROM outbox WHERE key = :key ORDER BY created_at, id", key=str(key)
    )
    return [{"topic": row["topic"], **json.loads(bytes(row["event"]))} for row in found]


async def test_a_completion_gets_its_successor(weekly: Weekly, rows: Rows, clock: ManualClock) -> None:
    first = await weekly.begin(
        title="Water the plants",
        description="All of them",
        priority="high",
        tags=["home", "garden"],
        metadata={"room": 7},
        reminders=[{"offset": "PT30M", "channels": ["email"]}, {"at": "2026-01-11T17:00:00Z"}],
    )
    await weekly.complete(first)
    at = clock.advance(timedelta(minutes=3))
    offer = await weekly.offer(first)
    assert await offer.to(weekly.http) == "SUCCESS"

    predecessor, successor = await weekly.chain(first)
    assert successor["predecessor_task_id"] == predecessor["id"]
    assert successor["occurrence_key"] == "2026-01-19T09:00:00"
    assert successor["due_at"].isoformat() == "2026-01-19T08:00:00+00:00"
    for name in ("user_id", "title", "description", "priority", "tags", "metadata", "timezone", "series_id"):
        assert successor[name] == predecessor[name], name
    assert (successor["status"], successor["version"]) == ("pending", 1)
    assert successor["number"] == predecessor["number"] + 1
    assert successor["created_at"] == at

    (event,) = await _events(rows, successor["id"])
    assert (event["topic"], event["data"]["number"]) == ("task-created", successor["number"])
    assert event["data"]["actor"] == {"kind": "service", "id": "recurrence"}
    assert event["data"]["series_version"] == 1
    before, absolute = event["data"]["reminders"]
    assert (before["offset"], before["channels"]) == ("PT30M", ["email"])
    assert absolute["at"] == "2026-01-18T17:00:00Z", "shifted by the week that due moved"
    assert before["reminder_id"] not in {reminder["id"] for reminder in first["reminders"]}
    assert {datetime.fromisoformat(one["set_at"]) for one in (before, absolute)} == {at}
    assert [one["topic"] for one in await _events(rows, first["series_id"])] == ["series-updated"], (
        "from the start only"
    )


async def test_both_tasks_say_why(weekly: Weekly, rows: Rows) -> None:
    first = await weekly.begin()
    await weekly.complete(first)
    offer = await weekly.offer(first)
    await offer.to(weekly.http)
    _, successor = await weekly.chain(first)
    (told,) = [line for line in await _activity(rows, first["id"]) if line["kind"] == "occurrence_generated"]
    assert told["id"] == offer.id
    assert told["detail"]["sentence"] == "Next occurrence: Every week on Monday."
    assert told["detail"]["task_id"] == str(successor["id"])
    assert told["detail"]["number"] == successor["number"]
    (made,) = await _activity(rows, successor["id"])
    assert made["kind"] == "created"
    assert made["detail"]["predecessor_task_id"] == first["id"]
    answer = await weekly.person.call("GET", f"/api/v1/tasks/{successor['id']}", 200)
    assert answer.json()["recurrence"]["rrule"] == "FREQ=WEEKLY"


async def test_the_same_offer_again_changes_nothing(weekly: Weekly, rows: Rows) -> None:
    first = await weekly.begin()
    await weekly.complete(first)
    offer = await weekly.offer(first)
    assert await offer.to(weekly.http) == "SUCCESS"
    before = await _everything(rows, weekly.person)
    for _ in range(2):
        assert await offer.to(weekly.http) == "SUCCESS"
    assert await _everything(rows, weekly.person) == before
    repeated = await weekly.offer(first, why="repair")
    assert await repeated.to(weekly.http) == "SUCCESS"
    assert len(await weekly.chain(first)) == 2


async def test_two_replicas_at_the_same_moment_make_one(
    weekly: Weekly, rows: Rows, engine: AsyncEngine
) -> None:
    first = await weekly.begin()
    await weekly.complete(first)
    offer = await weekly.offer(first)
    async with engine.connect() as holder:
        await holder.execute(text("SELECT FROM users WHERE id = :id FOR UPDATE"), {"id": weekly.person.id})
        deliveries = [asyncio.ensure_future(offer.to(weekly.http))]
        deliveries += [asyncio.ensure_future(offer.to_another_replica(engine)) for _ in range(2)]
        await until_waiting(rows, 3)
        await holder.rollback()
        assert await asyncio.gather(*deliveries) == ["SUCCESS"] * 3
    assert len(await weekly.chain(first)) == 2
    assert (
        len([line for line in await _activity(rows, first["id"]) if line["kind"] == "occurrence_generated"])
        == 1
    )


async def test_what_it_waited_for_came_before_it(
    weekly: Weekly, rows: Rows, engine: AsyncEngine, clock: ManualClock
) -> None:
    first = await weekly.begin()
    await weekly.complete(first)
    offer = await weekly.offer(first)
    async with engine.connect() as holder:
        await holder.execute(text("SELECT FROM users WHERE id = :id FOR UPDATE"), {"id": weekly.person.id})
        delivery = asyncio.ensure_future(offer.to(weekly.http))
        await until_waiting(rows, 1)
        clock.advance(timedelta(minutes=1))
        await holder.rollback()
        assert await delivery == "SUCCESS"
    *_, second = await weekly.chain(first)
    (line,) = [one for one in await _activity(rows, first["id"]) if one["kind"] == "occurrence_generated"]
    assert (second["created_at"], line["at"]) == (clock.instant, clock.instant)


async def test_it_waits_for_a_reopen_that_is_under_way(
    weekly: Weekly, rows: Rows, engine: AsyncEngine
) -> None:
    """The series' row comes first for every status change, so the offer sees the reopened task, not the closed one."""
    first = await weekly.begin()
    await weekly.complete(first)
    offer = await weekly.offer(first)
    async with engine.connect() as reopening:
        series = {"id": UUID(first["series_id"])}
        await reopening.execute(text("SELECT FROM series WHERE id = :id FOR NO KEY UPDATE"), series)
        delivery = asyncio.ensure_future(offer.to(weekly.http))
        await until_waiting(rows, 1)
        await reopening.execute(
            text(
                "UPDATE tasks SET status = 'pending', completed_at = NULL, closed_by = NULL, closed_version = NULL, "
                "closed_at = NULL, version = version + 1 WHERE id = :id"
            ),
            {"id": UUID(first["id"])},
        )
        await reopening.commit()
        assert await delivery == "SUCCESS"
    assert len(await weekly.chain(first)) == 1


async def test_an_offer_for_an_earlier_completion_is_stale(weekly: Weekly, rows: Rows) -> None:
    first = await weekly.begin()
    await weekly.complete(first)
    stale = await weekly.offer(first)
    await weekly.reopen(first)
    assert await stale.to(weekly.http) == "SUCCESS"
    assert len(await weekly.chain(first)) == 1
    (told,) = [
        line for line in await _activity(rows, first["id"]) if line["kind"] == "occurrence_not_generated"
    ]
    assert "opened again" in told["detail"]["sentence"]

    await weekly.complete(first)
    again = await weekly.offer(first, weeks=2)
    assert await again.to(weekly.http) == "SUCCESS"
    assert await stale.to(weekly.http) == "SUCCESS", "and late once more"
    keys = [task["occurrence_key"] for task in await weekly.chain(first)]
    assert keys == ["2026-01-12T09:00:00", "2026-01-26T09:00:00"]


async def test_an_offer_from_an_older_series_is_stale_and_a_newer_one_comes_again(
    weekly: Weekly, rows: Rows
) -> None:
    first = await weekly.begin()
    await weekly.complete(first)
    old, ahead = await weekly.offer(first), await weekly.offer(first, series_version=3)
    await rows("UPDATE series SET version = 2 WHERE id = :id", id=UUID(first["series_id"]))
    assert await old.to(weekly.http) == "SUCCESS"
    assert await ahead.to(weekly.http) == "RETRY"
    assert len(await weekly.chain(first)) == 1
    (told,) = [
        line for line in await _activity(rows, first["id"]) if line["kind"] == "occurrence_not_generated"
    ]
    assert "series was changed" in told["detail"]["sentence"]
    assert await (await weekly.offer(first)).to(weekly.http) == "SUCCESS"
    assert len(await weekly.chain(first)) == 2


@pytest.mark.parametrize("column", ["paused_at", "ended_at"])
async def test_a_series_at_rest_gets_nothing(weekly: Weekly, rows: Rows, column: str) -> None:
    first = await weekly.begin()
    await weekly.complete(first)
    await rows(f"UPDATE series SET {column} = now() WHERE id = :id", id=UUID(first["series_id"]))
    assert await (await weekly.offer(first)).to(weekly.http) == "SUCCESS"
    assert len(await weekly.chain(first)) == 1
    assert {line["kind"] for line in await _activity(rows, first["id"])} == {"created", "completed"}


async def test_what_was_taken_away_has_no_successor(weekly: Weekly, rows: Rows) -> None:
    first = await weekly.begin()
    await weekly.complete(first)
    offer = await weekly.offer(first)
    await rows("UPDATE tasks SET closed_by = 'erased' WHERE id = :id", id=UUID(first["id"]))
    assert await offer.to(weekly.http) == "SUCCESS"
    assert len(await weekly.chain(first)) == 1


@pytest.mark.parametrize("act", ["skip", "delete"])
async def test_a_slot_that_is_given_up_has_a_successor(weekly: Weekly, act: str) -> None:
    first = await weekly.begin()
    if act == "skip":
        await weekly.person.call("POST", f"/api/v1/tasks/{first['id']}/skip", 200)
    else:
        await weekly.person.call("DELETE", f"/api/v1/tasks/{first['id']}", 204)
    assert await (await weekly.offer(first, why="skipped")).to(weekly.http) == "SUCCESS"
    assert [task["status"] for task in await weekly.chain(first)][1:] == ["pending"]


async def test_a_withdrawn_successor_is_revived_with_new_key_due_and_fields(
    weekly: Weekly, rows: Rows
) -> None:
    first = await weekly.begin(title="Old title")
    await weekly.complete(first)
    await (await weekly.offer(first)).to(weekly.http)
    _, made = await weekly.chain(first)
    await weekly.reopen(first)
    _, withdrawn = await weekly.chain(first)
    assert (withdrawn["closed_by"], withdrawn["version"]) == ("withdrawn", 2)

    await weekly.person.call("PATCH", f"/api/v1/tasks/{first['id']}", 200, json={"title": "New title"})
    await weekly.complete(first)
    offer = await weekly.offer(first, weeks=2)
    assert await offer.to(weekly.http) == "SUCCESS"
    _, revived = await weekly.chain(first)
    assert revived["id"] == made["id"]
    assert (revived["number"], revived["version"]) == (made["number"], 3)
    assert (revived["status"], revived["closed_by"], revived["deleted_at"]) == ("pending", None, None)
    assert (revived["occurrence_key"], revived["title"]) == ("2026-01-26T09:00:00", "New title")
    assert revived["due_at"].isoformat() == "2026-01-26T08:00:00+00:00"
    *_, event = await _events(rows, revived["id"])
    assert (event["topic"], event["data"]["version"]) == ("task-created", 3)
    assert len(event["data"]["reminders"]) == 1
    kept = await rows("SELECT id FROM task_reminders WHERE task_id = :id", id=revived["id"])
    assert [str(row["id"]) for row in kept] == [event["data"]["reminders"][0]["reminder_id"]]
    assert await offer.to(weekly.http) == "SUCCESS"
    assert (await weekly.chain(first))[1]["version"] == 3


async def test_a_slot_of_another_predecessor_raises_the_alarm(
    weekly: Weekly, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    first = await weekly.begin()
    await weekly.complete(first)
    await (await weekly.offer(first)).to(weekly.http)
    _, second = await weekly.chain(first)
    await weekly.complete({"id": str(second["id"])})
    await (await weekly.offer({"id": str(second["id"])})).to(weekly.http)
    # The first one's follower is withdrawn by hand, so the offer names a free predecessor and a taken slot.
    await rows("UPDATE tasks SET closed_by = 'withdrawn' WHERE id = :id", id=second["id"])
    counted = KEY_CONFLICTS._value.get()
    assert await (await weekly.offer(first, weeks=2)).to(weekly.http) == "SUCCESS"
    assert KEY_CONFLICTS._value.get() == counted + 1
    assert [r.levelname for r in caplog.records if "successor_key_conflict" in r.message] == ["ERROR"]
    assert len(await weekly.chain(first)) == 3
    (told,) = [
        line for line in await _activity(rows, first["id"]) if line["kind"] == "occurrence_not_generated"
    ]
    assert "another occurrence" in told["detail"]["sentence"]


async def test_a_slot_before_its_predecessor_raises_the_alarm(weekly: Weekly, rows: Rows) -> None:
    first = await weekly.begin()
    await weekly.complete(first)
    counted = KEY_CONFLICTS._value.get()
    assert await (await weekly.offer(first, weeks=-1)).to(weekly.http) == "SUCCESS"
    assert await (await weekly.offer(first, weeks=0)).to(weekly.http) == "SUCCESS"
    assert KEY_CONFLICTS._value.get() == counted + 2
    assert len(await weekly.chain(first)) == 1


async def test_only_series_that_pile_up_may_follow_an_open_task(weekly: Weekly, rows: Rows) -> None:
    first = await weekly.begin()
    early = await weekly.offer(first, why="schedule")
    assert early.data["predecessor_closed_version"] is None
    assert await early.to(weekly.http) == "SUCCESS"
    assert len(await weekly.chain(first)) == 1, "wait is the default"
    await rows("UPDATE series SET pile_up = 'allow', version = 2 WHERE id = :id", id=UUID(first["series_id"]))
    assert await (await weekly.offer(first, why="schedule")).to(weekly.http) == "SUCCESS"
    assert [task["closed_by"] for task in await weekly.chain(first)] == [None, None]
    assert await (await weekly.offer(first, why="completed", weeks=2)).to(weekly.http) == "SUCCESS"
    assert len(await weekly.chain(first)) == 2


async def test_an_offer_for_somebody_elses_series_changes_nothing(
    weekly: Weekly, bob: Person, rows: Rows
) -> None:
    first = await weekly.begin()
    await weekly.complete(first)
    assert await (await weekly.offer(first, user_id=str(bob.id))).to(weekly.http) == "SUCCESS"
    assert await (await weekly.offer(first, series_id=str(bob.id))).to(weekly.http) == "SUCCESS"
    assert await (await weekly.offer(first, predecessor_task_id=str(bob.id))).to(weekly.http) == "SUCCESS"
    assert len(await weekly.chain(first)) == 1


async def test_an_all_day_series_moves_by_days(weekly: Weekly, rows: Rows) -> None:
    first = await weekly.begin(due_at=None, due_date="2026-03-27", reminders=[{"at": "2026-03-26T08:00:00Z"}])
    await weekly.complete(first)
    offer = await weekly.offer(first, occurrence_key="2026-04-03", due_at=None, due_date="2026-04-03")
    assert await offer.to(weekly.http) == "SUCCESS"
    _, successor = await weekly.chain(first)
    assert (str(successor["due_date"]), successor["due_at"]) == ("2026-04-03", None)
    (event,) = await _events(rows, successor["id"])
    assert event["data"]["reminders"][0]["at"] == "2026-04-02T07:00:00Z", (
        "the same hour on the wall, past the switch"
    )


async def test_offers_in_any_order_and_number_lead_to_the_same_chain(weekly: Weekly, rows: Rows) -> None:
    """Every offer ever made, delivered again backwards and forwards, changes nothing."""
    offers: list[Delivery] = []
    task = first = await weekly.begin()
    for weeks in (1, 2, 1):
        await weekly.complete(task)
        offers.append(await weekly.offer(task, weeks=weeks))
        await weekly.reopen(task)
        await weekly.complete(task)
        offers.append(await weekly.offer(task, weeks=weeks))
        assert await offers[-1].to(weekly.http) == "SUCCESS"
        *_, last = await weekly.chain(first)
        task = {"id": str(last["id"]), "series_id": first["series_id"]}
    before = await _state(rows, weekly.person)
    for offer in [*reversed(offers), *offers, *reversed(offers)]:
        assert await offer.to(weekly.http) == "SUCCESS"
    assert await _state(rows, weekly.person) == before
    keys = [one["occurrence_key"] for one in await weekly.chain(first)]
    assert keys == sorted(keys)
    assert len(keys) == 4


async def _state(rows: Rows, person: Person) -> dict[str, list[Json]]:
    """What the person and the bus would see; stale offers may leave a line in the ledger once."""
    everything = await _everything(rows, person)
    everything["task_activity"] = [
        line for line in everything["task_activity"] if line["kind"] != "occurrence_not_generated"
    ]
    return everything


async def _everything(rows: Rows, person: Person) -> dict[str, list[Json]]:
    tables = ("tasks", "task_reminders", "task_history", "task_activity", "series")
    found = {
        table: await rows(f"SELECT * FROM {table} WHERE user_id = :id ORDER BY id", id=person.id)
        for table in tables
    }
    keys = [str(row["id"]) for row in found["tasks"] + found["series"]]
    found["outbox"] = await rows("SELECT * FROM outbox WHERE key = ANY(:keys) ORDER BY id", keys=keys)
    return found
