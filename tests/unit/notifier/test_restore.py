"""A page is put back with one question for its tasks and one for their records; what is closed is not left unread."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from tests.unit.notifier.samples import (
    START,
    USER,
    completed,
    contact,
    deleted,
    notification,
    reminder,
    reopened,
    snapshot,
)
from tests.unit.notifier.world import Gate, Gated, Replica, World, memory_world, open_gate

from event_contracts.notifications import DeliveryOutcome
from event_contracts.tasks import TaskSnapshot
from event_contracts.topics import TASK_API
from event_contracts.values import Channel
from notifier.adapters.dapr_records import DaprTaskRecords
from notifier.adapters.languages import Languages
from notifier.adapters.task_api import InvokedTaskApi
from notifier.application.announce import notification_of
from notifier.application.errors import NotReady
from notifier.application.ports import Settled
from notifier.application.requeue import RequeueCancelled
from notifier.application.restore import RestoreAnnounced
from notifier.domain.announced import Announced, Place, Told
from notifier.domain.contact import Webhook
from notifier.domain.inbox import ClosedTask
from notifier.domain.notifications import CHANNELS
from service_kit.marker import MarkerStore
from service_kit.pubsub import Outcome

_DELIVERED = Told(Channel.INBOX, DeliveryOutcome.DELIVERED, 1, None, START)


class _Lost:
    """`LostDeliveries` that remembers what was put back, and which of it waits for its task."""

    def __init__(self) -> None:
        self.settled: dict[UUID, set[Channel]] = {}
        self.shelved: dict[UUID, set[Place]] = {}
        self.nowhere: dict[UUID, set[Channel]] = {}
        self.whole = False

    async def missing(self, page: Sequence[Announced]) -> set[UUID]:
        return set() if self.whole else {one.notification.notification_id for one in page}

    async def put_back(self, lost: Sequence[Settled]) -> None:
        for one in lost:
            task_id = one.announced.notification.task_id
            self.settled[task_id] = set(one.settled)
            self.shelved[task_id] = set(one.shelved)
            self.nowhere[task_id] = set(one.nowhere)


class Rig:
    def __init__(self, world: World) -> None:
        self.world = world
        self.lost = _Lost()
        self.calls: list[str] = []
        self.cleared = set[UUID]()
        clear_many = world.inbox.clear_many

        async def noted(tasks: Sequence[ClosedTask]) -> None:
            self.cleared |= {task.task_id for task in tasks}
            await clear_many(tasks)

        world.inbox.clear_many = noted  # type: ignore[method-assign]

    def know(self, *tasks: TaskSnapshot) -> None:
        """Let task-api give these."""
        items = [task.model_dump(mode="json") for task in tasks]
        self.world.sidecar.on_invoke(TASK_API, "/internal/v1/tasks", content=orjson.dumps({"items": items}))

    def restore(self, gate: Gate = open_gate) -> RestoreAnnounced:
        async def noted(step: str) -> None:
            self.calls.append(step)
            await gate(step)

        def gated(port: object, name: str) -> Any:
            return Gated(port, name, noted)

        world = self.world
        state = gated(world.state, "state")
        return RestoreAnnounced(
            gated(world.inbox, "inbox"),
            DaprTaskRecords(state, MarkerStore(state)),
            world.deliveries,
            self.lost,
            InvokedTaskApi(world.sidecar, remember=30),
            Languages(),
            world.clock,
            RequeueCancelled(world.deliveries, world.lanes, lambda: None),
            horizon=timedelta(days=1),
        )

    async def shown(self) -> dict[UUID, bool]:
        """Which tasks the inbox tells of, and whether it was cleared."""
        return {entry.task_id: entry.cleared for entry in await self.world.entries(USER)}


@pytest.fixture
async def rig() -> Rig:
    return Rig(await memory_world())


def _told(task: TaskSnapshot, told: Told = _DELIVERED) -> Announced:
    return Announced(notification(task), [told], None)


async def test_a_page_is_one_question_for_tasks_and_one_for_records(rig: Rig) -> None:
    tasks = [snapshot() for _ in range(20)]
    rig.know(*tasks)
    await rig.restore().take_up([_told(task) for task in tasks])
    assert await rig.shown() == {task.task_id: False for task in tasks}
    asked = [path for _, _, path in rig.world.sidecar.invocations]
    assert asked == ["/internal/v1/tasks", f"/internal/v1/users/{USER}/contact"]
    assert [call for call in rig.calls if call.startswith("before state")] == [
        "before state.get",
        "before state.get_many",
    ]


async def test_only_what_is_closed_by_the_newest_that_is_known_is_cleared(rig: Rig) -> None:
    open_, gone, lost, behind, ahead = (snapshot() for _ in range(5))
    replica = rig.world.replica()
    # Of `behind` the record knows that it was closed, of `ahead` what task-api has overtaken; of `lost` nobody knows.
    assert await replica.hear_task(completed(behind)) is Outcome.SUCCESS
    assert await replica.hear_task(completed(ahead)) is Outcome.SUCCESS
    rig.know(open_, deleted(gone), behind, reopened(completed(ahead)))
    await rig.restore().take_up([_told(task) for task in (open_, gone, lost, behind, ahead)])
    assert await rig.shown() == {
        open_.task_id: False,
        gone.task_id: True,
        behind.task_id: True,
        ahead.task_id: False,
    }
    assert rig.cleared == {gone.task_id, behind.task_id}


@pytest.mark.parametrize("moment", ["before inbox.restore", "after inbox.restore"])
async def test_a_task_that_is_closed_meanwhile_does_not_stay_unread(rig: Rig, moment: str) -> None:
    """Its news wrote the record and cleared the inbox before the entry was there, or after."""
    task = snapshot()
    rig.know(task)
    closing: list[Replica] = [rig.world.replica()]

    async def gate(step: str) -> None:
        if step == moment and closing:
            await closing.pop().hear_task(completed(task))

    await rig.restore(gate).take_up([_told(task)])
    assert await rig.shown() == {task.task_id: True}


async def test_an_entry_is_as_late_as_it_was_when_it_was_written(rig: Rig) -> None:
    """However long ago that is by now."""
    in_time, late = snapshot(), snapshot()
    rig.know(in_time, late)
    await rig.world.advance(timedelta(days=3))
    two_hours_on = Told(Channel.INBOX, DeliveryOutcome.DELIVERED, 1, None, START + timedelta(hours=2))
    await rig.restore().take_up([_told(in_time), _told(late, two_hours_on)])
    bodies = {entry.task_id: entry.body for entry in await rig.world.entries(USER)}
    assert "late" not in bodies[in_time.task_id]
    assert bodies[late.task_id].endswith(" This reminder comes 2 h late.")


async def test_a_cancellation_waits_for_its_task_as_task_api_has_it(rig: Rig) -> None:
    closed, unknown = completed(snapshot()), snapshot()
    cancelled = Told(Channel.EMAIL, DeliveryOutcome.CANCELLED, 1, "task completed", START)
    rig.know(closed)
    await rig.restore().take_up([_told(closed, cancelled), _told(unknown, cancelled)])
    assert rig.lost.shelved == {closed.task_id: {(Channel.EMAIL, None)}, unknown.task_id: set()}


@pytest.mark.parametrize(
    ("reason", "waits"), [("task completed", True), ("reminder moved", True), ("not wanted", False)]
)
async def test_of_a_task_that_is_open_only_what_a_change_ended_waits(
    rig: Rig, reason: str, waits: bool
) -> None:
    task = reopened(completed(snapshot()))
    cancelled = Told(Channel.EMAIL, DeliveryOutcome.CANCELLED, 1, reason, START)
    rig.know(task)
    await rig.restore().take_up([_told(task, cancelled)])
    assert rig.lost.shelved == {task.task_id: {(Channel.EMAIL, None)} if waits else set()}


async def test_without_a_marker_nothing_is_known_of_records(rig: Rig) -> None:
    task = snapshot()
    rig.know(task)
    rig.world.state.flush()
    with pytest.raises(NotReady):
        await rig.restore().take_up([_told(task)])


@pytest.mark.parametrize("wish", ["nothing", "a webhook", "asked for"])
async def test_a_channel_that_leads_nowhere_is_not_queued_for_everything_that_ever_fired(
    rig: Rig, wish: str
) -> None:
    if wish == "a webhook":
        place = Webhook(uuid4(), "https://example.org/hook", "whsec_c2VjcmV0")
        rig.world.reach(contact(webhooks=(place,)))
    channels = (Channel.WEBHOOK,) if wish == "asked for" else ()
    task = snapshot(reminders=(reminder(at=START, channels=channels),))
    rig.know(task)
    await rig.restore().take_up([_told(task)])
    queued = {channel for channel in CHANNELS if await rig.world.deliveries.depth(channel)}
    wanted = set() if wish == "nothing" else {Channel.WEBHOOK}
    assert queued == wanted | {Channel.EMAIL}, "of the mail nobody knows whether it went out"
    assert rig.lost.nowhere[task.task_id] == {Channel.WEBHOOK, Channel.CHAT, Channel.PUSH} - wanted


_HERE, _THERE = (Webhook(uuid4(), "https://example.org/hook", "whsec_c2VjcmV0") for _ in range(2))


def _told_at(place: Webhook | None, outcome: DeliveryOutcome = DeliveryOutcome.DELIVERED) -> Told:
    reason = "task completed" if outcome is DeliveryOutcome.CANCELLED else None
    return Told(Channel.WEBHOOK, outcome, 1, reason, START, None if place is None else place.id)


@pytest.mark.parametrize(
    ("told", "again"),
    [
        ([_told_at(_HERE)], True),
        ([_told_at(_HERE, DeliveryOutcome.FAILED)], True),
        ([_told_at(_HERE, DeliveryOutcome.CANCELLED)], True),
        ([_told_at(_HERE), _told_at(_THERE)], False),
        ([_told_at(_THERE), _told_at(_HERE, DeliveryOutcome.CANCELLED)], False),
        ([_told_at(None)], False),
        ([_told_at(None), _told_at(_HERE)], False),
    ],
)
async def test_a_channel_is_queued_again_while_one_of_its_destinations_has_no_outcome(
    rig: Rig, told: list[Told], again: bool
) -> None:
    """An outcome that names none is of a release that did not say it: it stands for all of them."""
    rig.world.reach(contact(webhooks=(_HERE, _THERE)))
    task = snapshot()
    rig.know(task)
    one = Announced(notification(task), told, None)
    for _ in range(2):
        await rig.restore().take_up([one])
        assert rig.lost.settled[task.task_id] == (set() if again else {Channel.WEBHOOK})
        assert await rig.world.deliveries.depth(Channel.WEBHOOK) == again


@pytest.mark.parametrize("release", ["this", "the one before"])
async def test_task_api_says_which_destination_ended_since_this_release(rig: Rig, release: str) -> None:
    one = notification_of(uuid4(), uuid4(), USER, START, START)
    outcome = {"notification_id": one.notification_id, "channel": "webhook", "outcome": "delivered"}
    outcome |= {"attempt": 1, "reason": None, "at": START, "read_at": None}
    outcome |= {"destination_id": _HERE.id} if release == "this" else {}
    about = {"reminder_id": one.reminder_id, "task_id": one.task_id, "user_id": one.user_id}
    again = outcome | {"outcome": "to_be_repeated", "destination_id": _THERE.id}
    item = about | {"fire_at": one.fire_at, "fired_at": one.fired_at, "outcomes": [outcome, again]}
    answer = {"items": [item], "next_cursor": None}
    rig.world.sidecar.on_invoke(TASK_API, "/internal/v1/snapshot", json=answer)
    page = await InvokedTaskApi(rig.world.sidecar, remember=30).announced(None, START)
    assert page.items == [
        Announced(one, [_told_at(_HERE if release == "this" else None)], None),
    ]


@pytest.mark.parametrize("why", ["the other was taken away", "its time is over", "nobody knows the task"])
async def test_a_channel_with_an_outcome_is_not_queued_again_when(rig: Rig, why: str) -> None:
    rig.world.reach(contact(webhooks=(_HERE,) if why == "the other was taken away" else (_HERE, _THERE)))
    task = snapshot()
    rig.know(*() if why == "nobody knows the task" else (task,))
    if why == "its time is over":
        await rig.world.advance(timedelta(days=1))
    await rig.restore().take_up([_told(task, _told_at(_HERE))])
    assert rig.lost.settled == {task.task_id: {Channel.WEBHOOK}}
    assert await rig.world.deliveries.depth(Channel.WEBHOOK) == 0


async def test_each_destination_waits_for_its_task_by_itself(rig: Rig) -> None:
    rig.world.reach(contact(webhooks=(_HERE, _THERE)))
    task = completed(snapshot())
    rig.know(task)
    told = [_told_at(_HERE), _told_at(_THERE, DeliveryOutcome.CANCELLED)]
    await rig.restore().take_up([Announced(notification(task), told, None)])
    assert rig.lost.shelved == {task.task_id: {(Channel.WEBHOOK, _THERE.id)}}


async def test_what_is_whole_is_left_alone_but_for_its_task(rig: Rig) -> None:
    """After a restart of Redis most of a page is. What its task meant in the second that was lost is done again."""
    open_, gone, out_of_the_inbox = snapshot(), snapshot(), snapshot()
    rig.know(open_, deleted(gone), out_of_the_inbox)
    there, lost = [_told(open_), _told(gone)], _told(out_of_the_inbox)
    await rig.restore().take_up(there)
    rig.calls.clear()
    rig.lost.shelved.clear()
    rig.lost.whole = True
    await rig.restore().take_up([*there, lost])
    assert set(rig.lost.shelved) == {out_of_the_inbox.task_id}
    assert rig.calls.count("before inbox.restore") == 1
    assert await rig.shown() == {open_.task_id: False, gone.task_id: True, out_of_the_inbox.task_id: False}


async def test_what_is_whole_and_waits_is_queued_when_its_task_is_open_again(rig: Rig) -> None:
    """It was put on the shelf, and the news that took it off is what Redis lost."""
    task = reopened(completed(snapshot()))
    told = _told(task, Told(Channel.EMAIL, DeliveryOutcome.CANCELLED, 1, "task completed", START))
    rig.know(task)
    rig.lost.whole = True
    asked = list[UUID]()

    class Requeue(RequeueCancelled):
        async def run(self, user_id: UUID, task_id: UUID, task: TaskSnapshot | None) -> None:
            asked.append(task_id)

    restore = rig.restore()
    restore._requeue = Requeue(rig.world.deliveries, rig.world.lanes, lambda: None)
    await restore.take_up([told])
    assert asked == [task.task_id]
