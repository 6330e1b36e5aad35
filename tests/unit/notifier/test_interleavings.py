"""The real use cases in a seeded random scheduler: two replicas, copies, reordering, and a crash at any step.

Every call of a port stops at a gate before and after it does its work. The driver picks who goes on, who dies there,
when the person changes the task, and when time passes. An event whose handler died is delivered again.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from tests.unit.notifier.samples import USER, completed, later, reopened, snapshot
from tests.unit.notifier.world import LEASE, Replica, World, memory_world

from event_contracts.tasks import TaskSnapshot
from event_contracts.values import Channel
from notifier.application.errors import ChannelUnavailable
from notifier.domain.notifications import CHANNELS
from service_kit.pubsub import Outcome

RUNS = 20_000 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 300
CHUNK = 100
ACTORS = 4
Work = Callable[[Replica], Awaitable[object]]
Act = tuple[bool, Work]
"""Something to be done, and whether it must be done in the end."""


class Crowd:
    """Actors that run one at a time, each until its next gate."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world = world
        self.chance = chance
        self._waiting: dict[asyncio.Task[object], asyncio.Future[None]] = {}
        self._running: dict[asyncio.Task[object], Act] = {}

    @property
    def busy(self) -> int:
        return len(self._running)

    def send(self, act: Act) -> None:
        replica = self.world.replica(self._gate)
        task: asyncio.Task[object] = asyncio.ensure_future(self._act(act[1], replica))
        self._running[task] = act

    async def _act(self, work: Work, replica: Replica) -> object:
        await self._gate("start")
        return await work(replica)

    async def _gate(self, _: str) -> None:
        me = asyncio.current_task()
        assert me is not None
        turn = asyncio.get_running_loop().create_future()
        self._waiting[me] = turn
        await turn

    async def step(self) -> list[Act]:
        """Let one actor go on, or die; the acts that have to come again."""
        await self._until(lambda: len(self._waiting) == len(self._running))
        if not self._running:
            return []
        actor = self.chance.choice(list(self._running))
        turn = self._waiting.pop(actor)
        if self.chance.random() < 0.06:
            actor.cancel()
            await asyncio.gather(actor, return_exceptions=True)
            act = self._running.pop(actor)
            return [act] if act[0] else []
        turn.set_result(None)
        await self._until(lambda: actor in self._waiting or actor.done())
        return self._collect()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Let the event loop turn until everybody is where they stop. Fails when they never do."""
        for _ in range(10_000):
            if condition():
                return
            await asyncio.sleep(0)
        raise AssertionError("an actor neither stops nor ends")

    def _collect(self) -> list[Act]:
        ended = [(actor, self._running.pop(actor)) for actor in list(self._running) if actor.done()]
        return [act for actor, act in ended if actor.result() is Outcome.RETRY]


async def _hear_due(replica: Replica, *, task: TaskSnapshot) -> Outcome:
    return await replica.hear_due(task)


async def _hear_task(replica: Replica, *, task: TaskSnapshot) -> Outcome:
    return await replica.hear_task(task)


async def _deliver(replica: Replica, *, channel: Channel) -> int:
    return await replica.work(channel, limit=1)


class Story:
    """One run: what happens is drawn from the seed."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.chance = random.Random(seed)
        self.task = world.commit(snapshot())
        self.was_closed = False
        self.events: list[Act] = [
            (True, partial(_hear_due, task=self.task)),
            (True, partial(_hear_due, task=self.task)),
            (True, partial(_hear_task, task=self.task)),
        ]
        self.changes = self.chance.randrange(4)
        world.mailer.failures += [ChannelUnavailable("by the test")] * self.chance.randrange(3)

    def change(self) -> None:
        """The person does something with the task; the news goes out twice."""
        self.changes -= 1
        if not self.task.is_open:
            self.task = reopened(self.task)
        elif self.chance.random() < 0.7:
            self.task = completed(self.task)
            self.was_closed = True
        else:
            self.task = later(self.task, title="Water the other plants")
        self.world.commit(self.task)
        self.events += [(True, partial(_hear_task, task=self.task))] * 2

    async def play(self) -> None:
        crowd = Crowd(self.world, self.chance)
        while self.events or crowd.busy or self.changes:
            draw = self.chance.random()
            if self.changes and draw < 0.04:
                self.change()
            elif draw < 0.06:
                await self.world.advance(LEASE)
            elif crowd.busy < ACTORS and draw < 0.3:
                self._begin(crowd)
            else:
                self.events += await crowd.step()
        await self.world.advance(LEASE)
        await self.world.settle()

    def _begin(self, crowd: Crowd) -> None:
        if self.events and self.chance.random() < 0.5:
            crowd.send(self.events.pop(self.chance.randrange(len(self.events))))
        else:
            crowd.send((False, partial(_deliver, channel=self.chance.choice(CHANNELS))))

    async def check(self) -> None:
        entries = await self.world.entries(USER)
        unread = await self.world.unread(USER)
        assert len(entries) <= 1
        assert len({mail.notification_id for mail in self.world.mailer.sent}) <= 1
        for channel in CHANNELS:
            assert len(self.world.told(channel)) == 1, "each channel has one last word"
        (inbox,) = self.world.told(Channel.INBOX)
        assert inbox["outcome"] == ("delivered" if entries else "cancelled")
        (email,) = self.world.told(Channel.EMAIL)
        assert email["outcome"] == "cancelled" or self.world.mailer.sent
        if not self.task.is_open:
            assert unread == 0
        if not self.was_closed:
            assert len(entries) == unread == 1
            assert self.world.mailer.sent


@pytest.mark.parametrize("chunk", range(0, RUNS, CHUNK))
async def test_any_order_with_crashes_ends_well(chunk: int) -> None:
    for seed in range(chunk, chunk + CHUNK):
        story = Story(await memory_world(), seed)
        try:
            await story.play()
            await story.check()
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
