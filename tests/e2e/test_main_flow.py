"""The main flow, end to end, on real PostgreSQL, Redis, Kafka and sidecars; and twice, and backwards."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from redis.asyncio import Redis
from tests.e2e.conftest import Json, Person
from tests.e2e.eventually import eventually

from event_contracts.topics import SERVICES, TOPICS, consumed_by, dead_letter_topic
from stack import Instance

BERLIN = ZoneInfo("Europe/Berlin")


def _tomorrow_at_nine() -> datetime:
    return (datetime.now(BERLIN) + timedelta(days=1)).replace(hour=9, minute=0, second=0, microsecond=0)


async def _weekly_task(person: Person, fire_in: timedelta) -> Json:
    return await person.call(
        "POST",
        "/api/v1/tasks",
        {
            "title": "Water the plants",
            "due_at": _tomorrow_at_nine().isoformat(),
            "timezone": "Europe/Berlin",
            "reminders": [{"at": (datetime.now(UTC) + fire_in).isoformat()}],
            "recurrence": {"rrule": "FREQ=WEEKLY"},
        },
    )


async def _played_out(person: Person) -> tuple[Json, Json]:
    """Play the flow to its end: the completed task and its successor."""
    task = await _weekly_task(person, timedelta(seconds=1))
    await eventually(lambda: asyncio.to_thread(person.mails), what="the reminder's mail")
    await eventually(person.inbox, what="the inbox entry")
    await person.call("POST", f"/api/v1/tasks/{task['id']}/complete", {})

    async def open_tasks() -> list[Json]:
        items: list[Json] = (await person.call("GET", "/api/v1/tasks?status=pending"))["items"]
        return items

    (successor,) = await eventually(open_tasks, what="the next occurrence")
    wanted = {"reminder_scheduled", "reminder_fired", "completed", "occurrence_generated"}

    async def kinds() -> list[str]:
        return [entry["kind"] for entry in await person.activity(task["id"])]

    await eventually(
        kinds,
        lambda seen: wanted <= set(seen) and seen.count("notification_delivered") >= 2,
        what=f"{wanted} and both deliveries in the activity",
    )

    async def successor_kinds() -> list[str]:
        return [entry["kind"] for entry in await person.activity(successor["id"])]

    await eventually(
        successor_kinds, lambda seen: "reminder_scheduled" in seen, what="the successor's own reminder"
    )
    return task, successor


async def test_reminded_once_and_repeated_once(person: Person) -> None:
    task, successor = await _played_out(person)

    (entry,) = await person.inbox()
    assert entry["task_id"] == task["id"]
    assert person.mails() == 1
    due = datetime.fromisoformat(successor["due_at"]).astimezone(BERLIN)
    assert due == _tomorrow_at_nine() + timedelta(days=7), "the wall-clock hour is kept over a clock change"
    assert successor["number"] == task["number"] + 1
    assert successor["series_id"] == task["series_id"]

    ledger = {entry["kind"]: entry for entry in await person.activity(task["id"])}
    assert f"{due.day} {due:%B %Y}" in ledger["occurrence_generated"]["sentence"]
    await person.call("POST", f"/api/v1/tasks/{task['id']}/complete", {})
    again = await person.call("GET", "/api/v1/tasks?status=pending")
    assert [item["id"] for item in again["items"]] == [successor["id"]], "completing again changes nothing"


async def test_who_asks_for_it_hears_of_the_next_one(person: Person) -> None:
    path = "/api/v1/users/me/notification-preferences"
    known = await person.client.get(path)
    wanted = known.json() | {"generated": True}
    said = await person.client.put(path, json=wanted, headers={"If-Match": known.headers["ETag"]})
    assert said.is_success, said.text
    task = await _weekly_task(person, timedelta(hours=1))
    await person.call("POST", f"/api/v1/tasks/{task['id']}/complete", {})
    (entry,) = await eventually(person.inbox, what="the word on the next occurrence")
    assert (entry["title"], entry["reminder_id"]) == (task["title"], None)
    assert entry["task_id"] != task["id"]
    await eventually(lambda: asyncio.to_thread(person.mails), what="its mail")

    async def outcomes() -> list[str]:
        lines = await person.activity(entry["task_id"])
        kinds = [line["kind"] for line in lines if line["kind"].startswith("notification_")]
        return [kind for kind in kinds if kind != "notification_to_be_repeated"]

    told = ["notification_delivered"] * 2
    await eventually(outcomes, lambda seen: seen == told, what="both deliveries in its activity")


async def _kept_of_series(system: Instance, series_id: str) -> str:
    """The document that recurrence keeps of a series, as text."""
    async with Redis.from_url(system.env("recurrence")["REDIS_URL"], decode_responses=True) as redis:
        kept = [await redis.hgetall(key) async for key in redis.scan_iter(f"recurrence||s:*:{series_id}")]
        return str(kept)


async def test_a_series_whose_deletion_is_undone_goes_on(person: Person) -> None:
    task = await _weekly_task(person, timedelta(hours=1))
    gone = await person.client.delete(f"/api/v1/tasks/{task['id']}?scope=series")
    assert gone.status_code == 204, gone.text
    await eventually(lambda: _kept_of_series(person.system, task["series_id"]), lambda text: "erased" in text)
    await person.call("POST", f"/api/v1/undo/{gone.headers['x-undo-token']}")
    await person.call("POST", f"/api/v1/tasks/{task['id']}/complete", {})

    async def open_tasks() -> list[Json]:
        items: list[Json] = (await person.call("GET", "/api/v1/tasks?status=pending"))["items"]
        return items

    (successor,) = await eventually(open_tasks, what="the next occurrence")
    assert successor["series_id"] == task["series_id"]


async def test_a_reminder_fires_at_most_a_second_late(person: Person) -> None:
    task = await person.call(
        "POST",
        "/api/v1/tasks",
        {
            "title": "Call the dentist",
            "due_at": (datetime.now(UTC) + timedelta(seconds=62)).isoformat(),
            "reminders": [{"offset": "PT1M"}],
        },
    )

    async def fired() -> list[Json]:
        return [entry for entry in await person.activity(task["id"]) if entry["kind"] == "reminder_fired"]

    (entry,) = await eventually(fired, what="the fired reminder")
    assert entry["detail"]["late_ms"] <= 1_000


async def _recorded(bootstrap: str) -> list[tuple[str, bytes | None, bytes]]:
    """Every event on every topic so far: topic, key, value."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        partitions = [
            TopicPartition(name, number)
            for name, topic in TOPICS.items()
            for number in range(topic.partitions)
        ]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        records: list[tuple[str, bytes | None, bytes]] = []
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                batch = await consumer.getmany(partition, timeout_ms=1_000)
                records += [(r.topic, r.key, r.value) for found in batch.values() for r in found]
        return records
    finally:
        await consumer.stop()


def _of_tasks(record: tuple[str, bytes | None, bytes], ids: set[str]) -> bool:
    if not any(one.encode() in record[2] for one in ids):
        return False  # of other tests, some of which are no events at all
    data: dict[str, Any] = json.loads(record[2])["data"]
    return bool({data.get("task_id"), data.get("predecessor_task_id"), data.get("series_id")} & ids)


async def _parked(bootstrap: str) -> dict[TopicPartition, int]:
    """How far the dead letters of each service go."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None)
    await consumer.start()
    try:
        letters = [TopicPartition(dead_letter_topic(service), 0) for service in SERVICES]
        ends: dict[TopicPartition, int] = await consumer.end_offsets(letters)
        return ends
    finally:
        await consumer.stop()


async def _caught_up(bootstrap: str, service: str) -> bool:
    """Whether the consumer group has committed everything there is on its topics."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=service, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [
            TopicPartition(topic.name, number)
            for topic in consumed_by(service)
            for number in range(topic.partitions)
        ]
        ends = await consumer.end_offsets(partitions)
        committed = [await consumer.committed(partition) for partition in partitions]
        return all(
            (offset or 0) >= ends[p] for p, offset in zip(partitions, committed, strict=True) if ends[p]
        )
    finally:
        await consumer.stop()


async def test_every_event_again_twice_and_in_reverse_changes_nothing(
    system: Instance, person: Person
) -> None:
    task, successor = await _played_out(person)
    ids = {task["id"], successor["id"], task["series_id"]}

    async def state() -> dict[str, Any]:
        return {
            "tasks": (await person.call("GET", "/api/v1/tasks"))["items"],
            "activity": [await person.activity(task["id"]), await person.activity(successor["id"])],
            "inbox": await person.inbox(),
            "mails": person.mails(),
        }

    bootstrap = system.kafka_bootstrap
    before, parked = await state(), await _parked(bootstrap)
    events = [record for record in await _recorded(bootstrap) if _of_tasks(record, ids)]
    assert {topic for topic, _, _ in events} >= {
        "task-created", "task-completed", "reminder-scheduled", "reminder-due", "recurring-task-generated",
        "notification-delivered",
    }  # fmt: skip
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        for topic, key, value in [*reversed(events), *reversed(events)]:
            await producer.send_and_wait(topic, value, key=key)
    finally:
        await producer.stop()

    for service in SERVICES:

        async def caught_up(group: str = service) -> bool:
            return await _caught_up(bootstrap, group)

        await eventually(caught_up, seconds=90, what=f"{service} having handled the copies")
    assert await state() == before
    assert await _parked(bootstrap) == parked, "nothing was parked"


@pytest.mark.parametrize("route", ["/events/task-created", "/reminder-cron"])
async def test_only_the_own_sidecar_reaches_events_and_cron(
    system: Instance, person: Person, route: str
) -> None:
    url = f"{system.app_url('reminders')}{route}"
    bare = {"Authorization": ""}
    assert (await person.client.post(url, json={}, headers=bare)).status_code in (401, 403)
    forged = bare | {"dapr-api-token": "guessed"}
    assert (await person.client.post(url, json={}, headers=forged)).status_code in (401, 403)
    invoked = bare | {"dapr-api-token": system.app_api_token, "dapr-caller-app-id": "notifier"}
    assert (await person.client.post(url, json={}, headers=invoked)).status_code in (401, 403)


async def test_internal_routes_answer_siblings_only(system: Instance, person: Person) -> None:
    task = await person.call("POST", "/api/v1/tasks", {"title": "Mine"})
    path = f"/internal/v1/tasks/{task['id']}"
    assert (await person.client.get(path)).status_code in (401, 403)
    stranger = {"dapr-api-token": system.app_api_token, "dapr-caller-app-id": "frontend"}
    assert (await person.client.get(path, headers=stranger)).status_code in (401, 403)
    sibling = {"dapr-api-token": system.app_api_token, "dapr-caller-app-id": "reminders"}
    assert (await person.client.get(path, headers=sibling)).status_code == 200
