"""A destination that fails and recovers, two workers of its lane, and a crash at any await, in a seeded scheduler.

What must hold, whoever dies, is late or comes twice: every message gets there and is told of; while the lane is closed
nobody sends, and then one message alone is tried, until one gets through; and once the destination works, nothing is
held longer than the closure, or the lease of who died.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from tests.unit.notifier.lane_world import CIRCUIT, LANE, PLACE, Destination, Process
from tests.unit.notifier.memory import Index, MemoryDeliveries
from tests.unit.notifier.memory_lanes import MemoryLanes, Note, memory_lanes
from tests.unit.notifier.samples import START, contact, snapshot
from tests.unit.notifier.world import LEASE, World, memory_world
from tests.unit.seeds import of_seed, until_it_fails

from event_contracts.values import Channel
from notifier.application.announce import notification_of
from notifier.application.ports import Claimed, ClaimedLane
from notifier.domain.lanes import Lane
from notifier.domain.notifications import Notification
from service_kit.due_index import to_instant

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
RUNS = 20_000 if NIGHTLY else 100
CHUNK = 500 if NIGHTLY else 50
"""Of many small ones some have few closures by chance alone."""
WORKERS = 2
STEPS = tuple(timedelta(seconds=one) for one in (1, 5, 39, 41, 61, 130))


class Story:
    """One run: what happens is drawn from the seed."""

    def __init__(self, world: World, seed: int) -> None:
        self.chance = random.Random(seed)
        self.world = world
        world.reach(contact(channels=(Channel.INBOX, Channel.WEBHOOK), webhooks=(PLACE,)))
        self.destination = Destination(world, memory_lanes(world), works=self.chance.random() < 0.3)
        self.processes: list[Process] = []
        self.deaths = 0
        self.all = [self._news() for _ in range(self.chance.randrange(3, 12))]
        self.to_hear = list(self.all)
        self.rest = 600
        """Draws after the last news, so that closures and probes are among what dies."""

    def _news(self) -> Notification:
        task = self.world.commit(snapshot())
        return notification_of(task.reminders[0].reminder_id, task.task_id, task.user_id, START)

    async def play(self) -> None:
        while self.to_hear or self.rest:
            draw = self.chance.random()
            self.rest -= self.rest > 0 and not self.to_hear
            if self.to_hear and draw < 0.03:
                await self._hear()
            elif draw < 0.035:
                self.destination.works = not self.destination.works
            elif draw < 0.05:
                await self.world.advance(self.chance.choice(STEPS))
            elif len(self.processes) < WORKERS and draw < 0.3:
                self.processes.append(Process(self.destination))
            else:
                await self._step(may_die=True)
        self.destination.works = True
        while self.processes:
            await self._step(may_die=True)

    async def _hear(self) -> None:
        notification = self.to_hear.pop()
        if self.chance.random() < 0.2:
            self.to_hear.append(notification)  # whoever heard it died then, and it comes again
        await self.destination.lanes.enqueue_in(LANE, notification)

    async def _step(self, *, may_die: bool) -> None:
        """Let one process go on at one of the gates where it stands, or die."""
        if not self.processes:
            return
        process = self.chance.choice(self.processes)
        if await process.settle():
            self.processes.remove(process)
        elif may_die and self.chance.random() < 0.01:
            self.deaths += 1
            process.die()
        else:
            process.go_on(self.chance.choice(process.waiting))

    async def recover(self) -> None:
        """The destination works from now on and nobody dies: how long it takes until nothing waits any more."""
        lanes, began = self.destination.lanes, self.destination.now
        note = lanes.notes.get(LANE, Note())
        scores = [*lanes.index.scores(), *self._waiting().scores()]
        last = max([began, *map(to_instant, (*scores, note.closed_until_ms))])
        assert last <= began + max(CIRCUIT.longest, LEASE), "held longer than any closure"
        for _ in range(100):
            process = Process(self.destination)
            self.processes.append(process)
            while self.processes:
                await self._step(may_die=False)
            due = await lanes.index.next_due()
            if due is None:
                break
            await self.world.advance(max(due - self.destination.now, timedelta(0)))
        assert self.destination.now <= last, "held longer than the closure that stood"

    def _waiting(self) -> Index:
        assert isinstance(self.world.deliveries, MemoryDeliveries)
        return self.world.deliveries.index(LANE.channel, LANE.destination)

    async def check(self) -> None:
        assert self.destination.faults == []
        assert self.destination.taken == {one.notification_id for one in self.all}, "lost"
        told = self.world.told(Channel.WEBHOOK)
        assert [one["outcome"] for one in told] == ["delivered"] * len(self.all)
        assert await self._waiting().depth() == await self.destination.lanes.index.depth() == 0


async def _play(seed: int) -> Story:
    story = Story(await memory_world(), seed)
    with of_seed(seed):
        await story.play()
        assert story.destination.faults == []
        await story.recover()
        await story.check()
    return story


@pytest.mark.parametrize("chunk", range(0, RUNS, CHUNK))
async def test_any_order_with_crashes_ends_well(chunk: int) -> None:
    stories = [await _play(seed) for seed in range(chunk, chunk + CHUNK)]
    assert sum(one.destination.probes for one in stories) > CHUNK // 2, "no closure, so nothing was tried"
    assert any(one.deaths for one in stories)


async def test_the_model_sees_news_that_opens_a_closed_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    enqueue = MemoryLanes.enqueue_in

    async def at_once(self: MemoryLanes, lane: Lane, notification: Notification) -> bool:
        note = self.notes.setdefault(lane, Note())
        closed, note.closed_until_ms = note.closed_until_ms, 0
        is_new = await enqueue(self, lane, notification)
        note.closed_until_ms = closed
        return is_new

    monkeypatch.setattr(MemoryLanes, "enqueue_in", at_once)
    assert "the lane is closed" in await until_it_fails(_play)


async def test_the_model_sees_a_probe_that_is_not_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = MemoryLanes.claim_in

    async def several(self: MemoryLanes, lane: Lane, limit: int) -> Sequence[Claimed]:
        return await claim(self, lane, max(limit, 4))

    monkeypatch.setattr(MemoryLanes, "claim_in", several)
    assert "a probe is more than one message" in await until_it_fails(_play)


async def test_the_model_sees_who_gives_back_a_lane_that_is_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = MemoryLanes.rest

    async def whoever(
        self: MemoryLanes, claimed: ClaimedLane, failures: int, closed_until: datetime | None
    ) -> None:
        with monkeypatch.context() as unguarded:
            unguarded.setattr(self.index, "holds", lambda _: True)
            await rest(self, claimed, failures, closed_until)

    monkeypatch.setattr(MemoryLanes, "rest", whoever)
    assert await until_it_fails(_play)


async def test_the_model_sees_a_lane_that_is_forgotten_with_news_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rest = MemoryLanes.rest

    async def as_if_empty(
        self: MemoryLanes, claimed: ClaimedLane, failures: int, closed_until: datetime | None
    ) -> None:
        with monkeypatch.context() as blind:
            blind.setattr(Index, "first", lambda _: None)
            await rest(self, claimed, failures, closed_until)

    monkeypatch.setattr(MemoryLanes, "rest", as_if_empty)
    assert "lost" in await until_it_fails(_play)
