"""What siblings report lands in the ledger once, and on the reminder only when nothing later was said."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.integration.task_api.conftest import Person, Rows
from tests.integration.task_api.deliveries import (
    Delivery,
    Json,
    Weekly,
    delivered,
    due,
    read,
    scheduled,
    stamp,
    until_waiting,
)

from event_contracts.topics import TASK_API, consumed_by
from task_api.app import build
from task_api.settings import Settings

FIRST = datetime(2026, 1, 12, 7, 30, tzinfo=UTC)
LATER = FIRST + timedelta(hours=2)
TABLES = ("tasks", "task_reminders", "task_history", "task_activity", "notification_reads")


async def _task(person: Person) -> Json:
    return await person.create(due_at="2026-01-12T08:00:00Z", reminders=[{"offset": "PT30M"}])


async def _told(rows: Rows, task: Json, kind: str) -> list[Json]:
    return await rows(
        "SELECT * FROM task_activity WHERE task_id = :id AND kind = :kind ORDER BY at",
        id=UUID(task["id"]),
        kind=kind,
    )


async def _reminder(rows: Rows, task: Json) -> Json:
    (row,) = await rows("SELECT * FROM task_reminders WHERE task_id = :id", id=UUID(task["id"]))
    return row


async def _state(rows: Rows, person: Person) -> dict[str, list[Json]]:
    return {
        table: await rows(f"SELECT * FROM {table} WHERE user_id = :id ORDER BY 1, 2", id=person.id)
        for table in TABLES
    }


async def test_a_planned_reminder_is_noted(ada: Person, rows: Rows, http: httpx.AsyncClient) -> None:
    task = await _task(ada)
    event = scheduled(task, FIRST, user_id=str(ada.id))
    assert await event.to(http) == "SUCCESS"
    (line,) = await _told(rows, task, "reminder_scheduled")
    assert (line["id"], line["user_id"]) == (event.id, ada.id)
    assert line["detail"] == {
        "reminder_id": task["reminders"][0]["id"],
        "fire_at": "2026-01-12T07:30:00Z",
        "reason": "created",
        "version": 1,
    }
    assert (await _reminder(rows, task))["scheduled_for"] == FIRST


async def test_a_fired_reminder_says_how_late_and_is_no_new_version(
    ada: Person, rows: Rows, http: httpx.AsyncClient
) -> None:
    task = await _task(ada)
    assert await due(task, FIRST, timedelta(milliseconds=41), str(ada.id)).to(http) == "SUCCESS"
    (line,) = await _told(rows, task, "reminder_fired")
    assert line["detail"]["late_ms"] == 41
    assert line["detail"]["sentence"].endswith(" fired, less than 1 s late.")
    assert line["at"] == FIRST + timedelta(milliseconds=41)
    assert (await _reminder(rows, task))["fired_for"] == FIRST
    (row,) = await rows("SELECT version FROM tasks WHERE id = :id", id=UUID(task["id"]))
    assert row["version"] == 1


async def test_a_reminder_that_fired_after_an_outage_says_so_in_hours(
    ada: Person, rows: Rows, http: httpx.AsyncClient
) -> None:
    task = await _task(ada)
    assert await due(task, FIRST, timedelta(hours=2, minutes=5), str(ada.id)).to(http) == "SUCCESS"
    (line,) = await _told(rows, task, "reminder_fired")
    assert line["detail"]["late_ms"] == 7_500_000
    assert line["detail"]["sentence"].endswith(" fired, 2 h 5 min late.")


@pytest.mark.parametrize("outcome", ["delivered", "failed", "cancelled", "to_be_repeated"])
async def test_each_outcome_of_a_notification_is_noted(
    ada: Person, rows: Rows, http: httpx.AsyncClient, outcome: str
) -> None:
    task = await _task(ada)
    assert await delivered(task, outcome, str(ada.id), reason="mailbox full").to(http) == "SUCCESS"
    (line,) = await _told(rows, task, f"notification_{outcome}")
    assert (line["detail"]["channel"], line["detail"]["reason"]) == ("email", "mailbox full")


async def test_an_overtaken_plan_does_not_win(ada: Person, rows: Rows, http: httpx.AsyncClient) -> None:
    task = await _task(ada)
    for event in (
        scheduled(task, LATER, version=3, user_id=str(ada.id)),
        scheduled(task, FIRST, version=2, user_id=str(ada.id)),
        scheduled(task, FIRST + timedelta(hours=1), version=1, user_id=str(ada.id)),
    ):
        assert await event.to(http) == "SUCCESS"
    assert (await _reminder(rows, task))["scheduled_for"] == LATER
    assert len(await _told(rows, task, "reminder_scheduled")) == 3
    later_said = "2026-01-05T09:30:00Z"
    same_version = scheduled(task, FIRST, version=3, user_id=str(ada.id), time=later_said)
    assert await same_version.to(http) == "SUCCESS"
    assert (await _reminder(rows, task))["scheduled_for"] == FIRST


async def test_of_two_firings_the_later_one_stays(ada: Person, rows: Rows, http: httpx.AsyncClient) -> None:
    """Later is when it fired: a reminder may be moved to an earlier time and fire once more."""
    task = await _task(ada)
    moved_back = due(task, FIRST - timedelta(hours=1), timedelta(hours=3), str(ada.id))
    assert await moved_back.to(http) == "SUCCESS"
    assert await due(task, FIRST, timedelta(seconds=1), str(ada.id)).to(http) == "SUCCESS"
    assert (await _reminder(rows, task))["fired_for"] == FIRST - timedelta(hours=1)


async def test_two_plans_at_the_same_moment_leave_the_newer(
    ada: Person, rows: Rows, http: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    """Neither sees the other's line before it commits, so the reminder's row keeps them apart."""
    task = await _task(ada)
    newer = scheduled(task, LATER, version=2, user_id=str(ada.id))
    older = scheduled(task, FIRST, version=1, user_id=str(ada.id))
    async with engine.connect() as holder:
        held = {"id": UUID(task["id"])}
        await holder.execute(text("SELECT FROM task_reminders WHERE task_id = :id FOR UPDATE"), held)
        deliveries = []
        for waiting, event in enumerate((newer, older), 1):
            deliveries.append(asyncio.ensure_future(event.to(http)))
            await until_waiting(rows, waiting)
        await holder.rollback()
        assert await asyncio.gather(*deliveries) == ["SUCCESS", "SUCCESS"]
    assert (await _reminder(rows, task))["scheduled_for"] == LATER


async def test_what_was_read_is_kept_with_its_first_time(
    ada: Person, rows: Rows, http: httpx.AsyncClient
) -> None:
    one, two = uuid4(), uuid4()
    assert await read(str(ada.id), one).to(http) == "SUCCESS"
    assert await read(str(ada.id), one, two, two, at="2026-01-05T11:00:00Z").to(http) == "SUCCESS"
    found = await rows("SELECT * FROM notification_reads WHERE user_id = :id", id=ada.id)
    assert {row["notification_id"]: stamp(row["read_at"]) for row in found} == {
        one: "2026-01-05T10:00:00Z",
        two: "2026-01-05T11:00:00Z",
    }


async def test_unknown_tasks_and_people_are_no_error(
    ada: Person, rows: Rows, http: httpx.AsyncClient
) -> None:
    task = await _task(ada)
    gone = {**task, "id": str(uuid4())}
    user = str(ada.id)
    for event in (
        scheduled(gone, FIRST, user_id=user),
        due(gone, FIRST, timedelta(), user),
        delivered(gone, "delivered", user),
        read(str(uuid4()), uuid4()),
    ):
        assert await event.to(http) == "SUCCESS"
    assert await rows("SELECT 1 FROM task_activity WHERE task_id = :id", id=UUID(gone["id"])) == []


async def test_another_persons_task_takes_no_line(
    ada: Person, bob: Person, rows: Rows, http: httpx.AsyncClient
) -> None:
    task = await _task(ada)
    assert await scheduled(task, FIRST, user_id=str(bob.id)).to(http) == "SUCCESS"
    assert await due(task, FIRST, timedelta(), str(bob.id)).to(http) == "SUCCESS"
    assert await _told(rows, task, "reminder_scheduled") == []
    reminder = await _reminder(rows, task)
    assert (reminder["scheduled_for"], reminder["fired_for"]) == (None, None)


async def test_a_reminder_of_another_task_is_not_marked(
    ada: Person, rows: Rows, http: httpx.AsyncClient
) -> None:
    task, other = await _task(ada), await _task(ada)
    crossed = {**task, "reminders": other["reminders"]}
    assert await due(crossed, FIRST, timedelta(), str(ada.id)).to(http) == "SUCCESS"
    assert (await _reminder(rows, other))["fired_for"] is None


async def test_all_of_it_twice_and_backwards_changes_nothing(
    ada: Person, rows: Rows, http: httpx.AsyncClient
) -> None:
    user = str(ada.id)
    weekly = Weekly(ada, rows, http)
    task = await weekly.begin()
    await weekly.complete(task)
    events: list[Delivery] = [
        scheduled(task, FIRST, version=1, user_id=user),
        scheduled(task, LATER, version=2, user_id=user),
        due(task, FIRST, timedelta(milliseconds=5), user),
        due(task, LATER, timedelta(milliseconds=7), user),
        delivered(task, "to_be_repeated", user),
        delivered(task, "failed", user),
        delivered(task, "delivered", user),
        read(user, uuid4(), uuid4()),
        await weekly.offer(task),
    ]
    for event in events:
        assert await event.to(http) == "SUCCESS"
    before = await _state(rows, ada)
    assert len(before["tasks"]) == 2
    for event in [*reversed(events), *events]:
        assert await event.to(http) == "SUCCESS"
    assert await _state(rows, ada) == before


async def test_the_ledger_tells_it_in_order(ada: Person, rows: Rows, http: httpx.AsyncClient) -> None:
    task = await _task(ada)
    user = str(ada.id)
    for event in (
        delivered(task, "delivered", user, at=stamp(FIRST + timedelta(seconds=1))),
        due(task, FIRST, timedelta(milliseconds=5), user),
        scheduled(task, FIRST, user_id=user),
    ):
        await event.to(http)
    answer = await ada.call("GET", f"/api/v1/tasks/{task['id']}/activity", 200)
    kinds = [item["kind"] for item in answer.json()["items"]]
    assert set(kinds[:2]) == {"created", "reminder_scheduled"}
    assert kinds[2:] == ["reminder_fired", "notification_delivered"]


async def test_several_destinations_of_a_channel_are_told_apart(
    ada: Person, rows: Rows, http: httpx.AsyncClient
) -> None:
    task = await _task(ada)
    for place, outcome, more in (
        ("hooks.example.org", "delivered", {}),
        ("other.example.org", "failed", {"reason": "no answer in time"}),
        (None, "cancelled", {"reason": "no webhook is set up"}),
        ("other.example.org", "to_be_repeated", {"reason": "the webhook answered 500", "attempt": 2}),
    ):
        event = delivered(task, outcome, str(ada.id), channel="webhook", destination=place, **more)
        await event.to(http)
    answer = await ada.call("GET", f"/api/v1/tasks/{task['id']}/activity", 200)
    said = {item["sentence"] for item in answer.json()["items"]}
    assert said >= {
        "Sent by webhook (hooks.example.org).",
        "Could not be sent by webhook (other.example.org): no answer in time.",
        "Not sent by webhook: no webhook is set up.",
        "Attempt 2 to send by webhook (other.example.org) failed: the webhook answered 500. Another one follows.",
    }


async def test_only_the_own_sidecar_may_deliver(ada: Person, rows: Rows, http: httpx.AsyncClient) -> None:
    task = await _task(ada)
    event = scheduled(task, FIRST, user_id=str(ada.id))
    path = f"/events/{event.topic}"
    wrong: list[dict[str, str]] = [
        {},
        {"dapr-api-token": "wrong"},
        {"dapr-api-token": "app-token", "dapr-caller-app-id": "reminders"},
    ]
    for headers in wrong:
        assert (await http.post(path, json=event.body, headers=headers)).status_code == 403
    assert await _told(rows, task, "reminder_scheduled") == []


async def test_what_does_not_parse_is_dropped(http: httpx.AsyncClient) -> None:
    headers = {"dapr-api-token": "app-token"}
    for topic in ("reminder-scheduled", "recurring-task-generated"):
        answer = await http.post(f"/events/{topic}", json={"specversion": "1.0"}, headers=headers)
        assert answer.json() == {"status": "DROP"}


async def test_an_id_that_is_no_uuid_is_once_all_the_same(
    ada: Person, rows: Rows, http: httpx.AsyncClient
) -> None:
    task = await _task(ada)
    body: dict[str, Any] = {**scheduled(task, FIRST, user_id=str(ada.id)).body, "id": "reminder 7"}
    for _ in range(2):
        answer = await http.post(
            "/events/reminder-scheduled", json=body, headers={"dapr-api-token": "app-token"}
        )
        assert answer.json() == {"status": "SUCCESS"}
    assert len(await _told(rows, task, "reminder_scheduled")) == 1


async def test_the_subscriptions_are_what_the_registry_says(http: httpx.AsyncClient) -> None:
    answer = await http.get("/dapr/subscribe", headers={"dapr-api-token": "app-token"})
    subscribed = {item["topic"]: item for item in answer.json()}
    assert set(subscribed) == {topic.name for topic in consumed_by(TASK_API)}
    assert {item["deadLetterTopic"] for item in subscribed.values()} == {"task-api-dlq"}


async def test_while_the_database_is_away_everything_comes_again(settings: Settings, ada: Person) -> None:
    away = settings.model_copy(
        update={"database_url": type(settings.database_url)("postgresql+asyncpg://nobody@127.0.0.1:9/none")}
    )
    transport = httpx.ASGITransport(app=build(away))
    task = {"id": str(uuid4()), "reminders": [{"id": str(uuid4())}]}
    async with httpx.AsyncClient(transport=transport, base_url="http://task-api") as http:
        for event in (scheduled(task, FIRST, user_id=str(ada.id)), read(str(ada.id), uuid4())):
            assert await event.to(http) == "RETRY"
