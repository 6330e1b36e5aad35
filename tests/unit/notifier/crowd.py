"""Actors in a seeded random scheduler: two replicas, copies, reordering, and a crash at any step.

Every call of a port stops at a gate before and after it does its work. The driver picks who goes on, who dies there,
when the person changes a task, and when time passes. An event whose handler died is delivered again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from tests.unit.notifier.world import Replica, World

from event_contracts.tasks import TaskSnapshot
from event_contracts.values import Channel
from service_kit.pubsub import Outcome

ACTORS = 4
Work = Callable[[Replica], Awaitable[object]]
Act = tuple[bool, Work]
"""Something to be done, and whether it must be done in the end."""

_ACTOR: ContextVar[asyncio.Task[object]] = ContextVar("actor")
"""Who acts here, in tasks of its own too."""


class Crowd:
    """Actors that run one at a time, each until its next gate."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world = world
        self.chance = chance
        self.deaths = 0
        """How many of those who deliver died; who hears news that has to come again is none of them."""
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
        me = asyncio.current_task()
        assert me is not None
        _ACTOR.set(me)
        await self._gate("start")
        return await work(replica)

    async def _gate(self, _: str) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting[_ACTOR.get()] = turn
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
            turn.cancel()
            await asyncio.gather(actor, return_exceptions=True)
            act = self._running.pop(actor)
            self.deaths += not act[0]
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


async def hear_due(replica: Replica, *, task: TaskSnapshot) -> Outcome:
    return await replica.hear_due(task)


async def hear_task(replica: Replica, *, task: TaskSnapshot) -> Outcome:
    return await replica.hear_task(task)


async def deliver(replica: Replica, *, channel: Channel) -> int:
    return await replica.work(channel, limit=1)
