"""One reminder, the real use cases in a seeded random scheduler, and what must hold of it in the end."""

from __future__ import annotations

import os
import random
from functools import partial

import pytest
from tests.unit.notifier.crowd import ACTORS, Act, Crowd, deliver, hear_due, hear_task
from tests.unit.notifier.samples import USER, completed, later, reopened, snapshot
from tests.unit.notifier.world import LEASE, World, memory_world
from tests.unit.seeds import of_seed

from event_contracts.values import Channel
from notifier.application.errors import ChannelUnavailable
from notifier.domain.notifications import CHANNELS, OUTSIDE

RUNS = 20_000 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 300
CHUNK = 100


class Story:
    """One run: what happens is drawn from the seed."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.chance = random.Random(seed)
        self.task = world.commit(snapshot())
        self.was_closed = False
        self.deaths = 0
        self.events: list[Act] = [
            (True, partial(hear_due, task=self.task)),
            (True, partial(hear_due, task=self.task)),
            (True, partial(hear_task, task=self.task)),
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
        self.events += [(True, partial(hear_task, task=self.task))] * 2

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
        self.deaths = crowd.deaths
        await self.world.advance(LEASE)
        await self.world.settle()

    def _begin(self, crowd: Crowd) -> None:
        if self.events and self.chance.random() < 0.5:
            crowd.send(self.events.pop(self.chance.randrange(len(self.events))))
        else:
            crowd.send((False, partial(deliver, channel=self.chance.choice(CHANNELS))))

    async def check(self) -> None:
        entries = await self.world.entries(USER)
        unread = await self.world.unread(USER)
        assert len(entries) <= 1
        assert len({mail.notification_id for mail in self.world.mailer.sent}) <= 1
        for channel in OUTSIDE:
            assert self.world.told(channel) == [], "nobody has such a place"
        for channel, is_out in (
            (Channel.INBOX, bool(entries)),
            (Channel.EMAIL, bool(self.world.mailer.sent)),
        ):
            outcomes = [one["outcome"] for one in self.world.told(channel)]
            delivered = outcomes.count("delivered")
            # Of a mail whose sender died before it wrote down that the server took it nobody knows.
            unknown = channel is Channel.EMAIL and self.deaths and not delivered
            assert delivered == is_out or unknown
            assert set(outcomes) <= {"delivered", "cancelled"}
            assert outcomes
        if self.task.is_open:
            assert entries, "cancelled while the task was closed is not the last word"
            assert self.world.mailer.sent
        if not self.task.is_open:
            assert unread == 0
        if not self.was_closed:
            assert len(entries) == unread == 1


@pytest.mark.parametrize("chunk", range(0, RUNS, CHUNK))
async def test_any_order_with_crashes_ends_well(chunk: int) -> None:
    for seed in range(chunk, chunk + CHUNK):
        story = Story(await memory_world(), seed)
        with of_seed(seed):
            await story.play()
            await story.check()
