"""What arrives is handled for each topic of the registry, and what leaves carries ids that repeat."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from tests.unit.notifier.samples import START, event, notification, snapshot
from tests.unit.notifier.world import World, memory_world

from event_contracts.envelope import derive_id
from event_contracts.notifications import DeliveryOutcome
from event_contracts.recurrence import GenerationReason, RecurringTaskGenerated
from event_contracts.topics import NOTIFIER, TOPICS, consumed_by
from event_contracts.values import Channel
from notifier.adapters.dapr_events import DaprEvents
from notifier.domain.notifications import CHANNELS, Attempt, Delivery, Verdict
from service_kit.pubsub import Outcome
from service_kit.testing.fakes import RecordingSidecar


@pytest.fixture
async def world() -> World:
    return await memory_world()


async def test_every_topic_of_the_registry_has_a_handler(world: World) -> None:
    assert set(world.replica().handlers) == {topic.name for topic in consumed_by(NOTIFIER)}


async def test_a_due_reminder_asks_nobody(world: World) -> None:
    world.sidecar.unavailable = True
    task = snapshot()
    assert await world.replica().hear_due(task) is Outcome.SUCCESS
    assert world.sidecar.invocations == []
    (claimed,) = await world.deliveries.claim(Channel.EMAIL, 5)
    fire_ms = int(START.timestamp() * 1000)
    expected = derive_id("notification", task.reminders[0].reminder_id, fire_ms)
    assert claimed.delivery.notification.notification_id == expected


async def test_the_inbox_is_queued_last(world: World) -> None:
    steps: list[str] = []

    async def note(step: str) -> None:
        steps.append(step)
        if step == "before deliveries.enqueue" and len(steps) == 2 * len(CHANNELS) - 1:
            for channel in CHANNELS:
                assert await world.deliveries.depth(channel) == (channel is not Channel.INBOX)

    await world.replica(note).hear_due(snapshot())
    assert steps == ["before deliveries.enqueue", "after deliveries.enqueue"] * len(CHANNELS)


async def test_a_generated_occurrence_notifies_nobody(world: World) -> None:
    generated = RecurringTaskGenerated(
        series_id=uuid4(),
        series_version=1,
        user_id=uuid4(),
        predecessor_task_id=uuid4(),
        occurrence_key="2026-01-06",
        due_at=START,
        timezone="Europe/Berlin",
        why=GenerationReason.COMPLETED,
        generated_at=START,
    )
    handler = world.replica().handlers["recurring-task-generated"]
    assert await handler(event("recurring.task.generated.v1", generated)) is Outcome.SUCCESS
    assert await world.deliveries.depth(Channel.INBOX) == 0


def _delivery(at: datetime = START) -> tuple[Delivery, Verdict]:
    task = snapshot()
    delivery = Delivery(notification(task), Channel.EMAIL)
    return delivery, Verdict(DeliveryOutcome.DELIVERED, 2, at)


async def test_the_last_word_has_one_id_and_a_latency() -> None:
    sidecar = RecordingSidecar()
    events = DaprEvents(sidecar)
    delivery, verdict = _delivery(START + timedelta(milliseconds=1_234))
    await events.delivered(delivery, verdict)
    await events.delivered(delivery, verdict)
    first, second = sidecar.published
    assert first == second
    assert first.key == str(delivery.notification.task_id)
    assert first.data["latency_ms"] == 1_234
    expected = derive_id(delivery.notification.notification_id, "email", 2, "delivered")
    assert first.json["id"] == str(expected)
    decoded = TOPICS["notification-delivered"].event_model.model_validate_json(first.event)
    assert decoded.time == verdict.at


async def test_an_outcome_names_its_destination() -> None:
    sidecar = RecordingSidecar()
    delivery, verdict = _delivery()
    there = replace(delivery, channel=Channel.WEBHOOK, destination=uuid4())
    for one in (delivery, there):
        await DaprEvents(sidecar).delivered(one, verdict, "home.example.org" if one is there else None)
    assert [(one.data["destination"], one.data["destination_id"]) for one in sidecar.published] == [
        (None, None),
        ("home.example.org", str(there.destination)),
    ]


async def test_a_try_that_comes_again_is_known_by_its_number_and_its_time() -> None:
    """What is queued again counts its tries anew."""
    sidecar = RecordingSidecar()
    there = replace(_delivery()[0], channel=Channel.WEBHOOK, destination=uuid4())
    failed = Attempt(there.channel, there.destination, 2, START, None, "the webhook answered 500")
    tries = (failed, failed, replace(failed, number=3), replace(failed, at=START + timedelta(hours=1)))
    for one in tries:
        await DaprEvents(sidecar).to_be_repeated(there, one, "home.example.org")
    first, copy, *others = [one.json["id"] for one in sidecar.published]
    assert first == copy
    assert len({first, *others}) == 3
    event = TOPICS["notification-delivered"].event_model.model_validate_json(sidecar.published[0].event)
    assert (event.time, event.data.outcome, event.data.attempt) == (START, "to_be_repeated", 2)
    assert (event.data.destination_id, event.data.destination) == (there.destination, "home.example.org")
    assert event.data.reason == failed.reason


async def test_a_clock_behind_gives_no_negative_latency() -> None:
    sidecar = RecordingSidecar()
    delivery, verdict = _delivery(START - timedelta(seconds=1))
    await DaprEvents(sidecar).delivered(delivery, verdict)
    assert sidecar.published[0].data["latency_ms"] == 0
    assert verdict.at.tzinfo is UTC
