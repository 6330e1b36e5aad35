"""A process dies while a reminder falls due: after the restart the person hears of it, once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from tests.e2e.conftest import Json, Person
from tests.e2e.eventually import eventually

from stack import Instance


async def _scheduled(person: Person, fire_at: datetime) -> Json:
    """A task whose reminder is in the due index, as its activity says."""
    task = await person.call(
        "POST",
        "/api/v1/tasks",
        {
            "title": "Take the medicine",
            "due_at": (fire_at + timedelta(hours=1)).isoformat(),
            "reminders": [{"at": fire_at.isoformat()}],
        },
    )

    async def kinds() -> list[str]:
        return [entry["kind"] for entry in await person.activity(task["id"])]

    await eventually(kinds, lambda seen: "reminder_scheduled" in seen, what="the scheduled reminder")
    return task


async def _heard_once(person: Person, task: Json) -> None:
    await eventually(person.inbox, seconds=60, what="the inbox entry")
    await eventually(lambda: asyncio.to_thread(person.mails), seconds=30, what="the mail")

    async def deliveries() -> list[Json]:
        return [e for e in await person.activity(task["id"]) if e["kind"] == "notification_delivered"]

    await eventually(deliveries, lambda seen: len(seen) >= 2, what="both deliveries in the activity")
    assert len(await person.inbox()) == 1
    assert person.mails() == 1
    fired = [entry for entry in await person.activity(task["id"]) if entry["kind"] == "reminder_fired"]
    assert len(fired) == 1


@pytest.mark.parametrize("part", ["", ".dapr"], ids=["service", "sidecar"])
async def test_reminders_killed_while_a_reminder_is_due(system: Instance, person: Person, part: str) -> None:
    fire_at = datetime.now(UTC) + timedelta(seconds=6)
    task = await _scheduled(person, fire_at)
    names = [f"reminders{part}", f"reminders-2{part}"]
    for name in names:
        await asyncio.to_thread(system.kill, name)
    try:
        await asyncio.sleep(max(0.0, (fire_at - datetime.now(UTC)).total_seconds()) + 0.5)
        assert await person.inbox() == []
    finally:
        for name in names:
            await asyncio.to_thread(system.restart, name)
    await _heard_once(person, task)


async def test_notifier_killed_while_a_reminder_is_due(system: Instance, person: Person) -> None:
    fire_at = datetime.now(UTC) + timedelta(seconds=6)
    task = await _scheduled(person, fire_at)
    await asyncio.to_thread(system.kill, "notifier")
    try:
        await asyncio.sleep(max(0.0, (fire_at - datetime.now(UTC)).total_seconds()) + 0.5)
    finally:
        await asyncio.to_thread(system.restart, "notifier")
    await _heard_once(person, task)


async def test_what_was_committed_before_task_api_died_is_published(system: Instance, person: Person) -> None:
    """Killed right after the answer: the outbox row waits, and the reminder comes after the restart."""
    fire_at = datetime.now(UTC) + timedelta(seconds=2)
    task = await person.call(
        "POST",
        "/api/v1/tasks",
        {
            "title": "Lock the door",
            "due_at": (fire_at + timedelta(hours=1)).isoformat(),
            "reminders": [{"at": fire_at.isoformat()}],
        },
    )
    await asyncio.to_thread(system.kill, "task-api")
    await asyncio.to_thread(system.restart, "task-api")
    await _heard_once(person, task)


async def test_an_app_that_comes_back_while_an_event_is_tried_hears_every_topic(
    system: Instance, person: Person
) -> None:
    """The sidecar outlives it, with a delivery under way: no subscription may get lost between the two."""
    # notifier has the keys of tokens from now on: while task-api is away it could not fetch them.
    await person.inbox()
    fire_at = datetime.now(UTC) + timedelta(seconds=4)
    task = await _scheduled(person, fire_at)
    # It takes the connection and never answers: the event that it fired is under way when it dies.
    await asyncio.to_thread(system.pause, "task-api")
    await asyncio.sleep((fire_at - datetime.now(UTC)).total_seconds() + 0.5)
    await asyncio.to_thread(system.kill, "task-api")
    await asyncio.to_thread(system.restart, "task-api")
    await _heard_once(person, task)

    after = await _scheduled(person, datetime.now(UTC) + timedelta(seconds=2))

    async def heard() -> set[str]:
        return {entry["kind"] for entry in await person.activity(after["id"])}

    wanted = {"reminder_scheduled", "reminder_fired", "notification_delivered"}
    await eventually(heard, lambda seen: wanted <= seen, what="every report about the next task")
