"""A notification goes into the lane of each of the person's destinations, once, and a closed lane opens in time."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from tests.unit.notifier.delivery_behaviour import dying_at
from tests.unit.notifier.samples import completed, contact, reminder, snapshot
from tests.unit.notifier.world import LEASE, CrashError, memory_world

from event_contracts.values import Channel
from notifier.domain.contact import Chat, Destination, PushSubscription, Webhook, name_of
from notifier.domain.lanes import Circuit, Lane

HOOKS = tuple(Webhook(uuid4(), "https://home.example.org", "whsec_cw==") for _ in range(2))
ROOM = Chat(uuid4(), "ntfy://ntfy.example.org/x")


async def test_each_destination_gets_it_once_wherever_a_process_dies() -> None:
    for point in range(100):
        world = await memory_world()
        world.reach(contact(webhooks=HOOKS, chats=(ROOM,)))
        task = world.commit(snapshot())
        gate, died = dying_at(point)
        try:
            replica = world.replica(gate)
            await replica.hear_due(task)
            await replica.work(Channel.WEBHOOK, Channel.CHAT, Channel.PUSH)
        except CrashError:
            await world.advance(LEASE)
        await world.replica().hear_due(task)
        await world.settle()
        lanes = {Lane(Channel.WEBHOOK, hook.id) for hook in HOOKS} | {Lane(Channel.CHAT, ROOM.id)}
        assert world.lanes.queued.keys() == lanes
        assert all(len(waiting) == 1 for waiting in world.lanes.queued.values())
        if not died():
            return
    raise AssertionError("it never ran to its end")


async def test_a_channel_that_a_reminder_names_and_that_leads_nowhere_is_told_of_once() -> None:
    """Once wherever a process dies; and of channels that nobody named, nothing is said."""
    for point in range(100):
        world = await memory_world()
        task = world.commit(snapshot(reminders=(reminder(channels=(Channel.INBOX, Channel.WEBHOOK)),)))
        gate, died = dying_at(point)
        try:
            replica = world.replica(gate)
            await replica.hear_due(task)
            await replica.work(Channel.WEBHOOK, Channel.CHAT, Channel.PUSH)
        except CrashError:
            await world.advance(LEASE)
        await world.replica().hear_due(task)
        await world.settle()
        (told,) = world.told(Channel.WEBHOOK)
        assert (told["outcome"], told["reason"]) == ("cancelled", "no webhook is set up")
        assert world.told(Channel.CHAT) == world.told(Channel.PUSH) == []
        if not died():
            return
    raise AssertionError("it never ran to its end")


async def test_of_a_task_that_is_done_nothing_is_missing() -> None:
    world = await memory_world()
    task = snapshot(reminders=(reminder(channels=(Channel.WEBHOOK,)),))
    await world.replica().hear_due(world.commit(completed(task)))
    await world.settle()
    assert world.told(Channel.WEBHOOK) == []


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (
            Webhook(uuid4(), "https://user@Hooks.example.org:8443/T0/secret?key=1", "whsec_cw=="),
            "hooks.example.org",
        ),
        (Chat(uuid4(), "tgram://123456:secret-token/chat"), "tgram"),
        (Chat(uuid4(), "discord://webhook-id/secret"), "discord"),
        (PushSubscription(uuid4(), "https://push.example.org/secret", "p", "a"), "push.example.org"),
        (Webhook(uuid4(), "https://[broken", "whsec_cw=="), "its address"),
    ],
)
def test_a_destinations_name_gives_nothing_away(place: Destination, name: str) -> None:
    assert name_of(place) == name


async def test_without_task_api_it_waits() -> None:
    world = await memory_world()
    world.reach(contact(webhooks=HOOKS))
    await world.replica().hear_due(world.commit(snapshot()))
    world.sidecar.unavailable = True
    await world.replica().work(Channel.WEBHOOK)
    assert world.lanes.queued == {}
    world.sidecar.unavailable = False
    await world.settle()
    assert len(world.lanes.queued) == 2


def test_a_destination_that_keeps_failing_is_left_alone_longer_and_longer() -> None:
    circuit = Circuit()
    pauses = [circuit.pause(failures) for failures in range(60)]
    assert pauses[:5] == [timedelta(0)] * 5
    assert pauses[5:8] == [timedelta(seconds=15), timedelta(seconds=30), timedelta(minutes=1)]
    assert pauses == sorted(pauses)
    assert max(pauses) == timedelta(minutes=15)
