"""A worker claims no more than it can begin, and one delivery that breaks does not stop the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from tests.unit.notifier.samples import notification, snapshot
from tests.unit.notifier.world import World, memory_world

from event_contracts.values import Channel
from notifier.application.deliver import DeliverNotification
from notifier.application.ports import Claimed
from notifier.application.worker import ChannelWorker


class Deliveries:
    """In place of the use case: each delivery waits until it is let go."""

    def __init__(self) -> None:
        self.begun: list[Claimed] = []
        self.let_go = asyncio.Event()
        self.broken: set[int] = set()

    async def run(self, claimed: Claimed) -> None:
        self.begun.append(claimed)
        if len(self.begun) in self.broken:
            raise ZeroDivisionError
        await self.let_go.wait()


class Rig:
    def __init__(self, world: World, is_ready: Callable[[], bool] = lambda: True) -> None:
        self.world = world
        self.deliveries = Deliveries()
        self.wakes = 0
        self.worker = ChannelWorker(
            Channel.EMAIL,
            cast("DeliverNotification", self.deliveries),
            world.deliveries,
            concurrency=3,
            is_ready=is_ready,
            wake=self._wake,
        )

    def _wake(self) -> None:
        self.wakes += 1

    async def queue(self, number: int) -> None:
        for _ in range(number):
            await self.world.deliveries.enqueue(notification(snapshot()), Channel.EMAIL)

    async def rest(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


async def test_no_more_is_claimed_than_there_is_room() -> None:
    rig = Rig(await memory_world())
    await rig.queue(5)
    await rig.worker.step()
    await rig.worker.step()
    await rig.rest()
    assert len(rig.deliveries.begun) == 3
    left = await rig.world.deliveries.claim(Channel.EMAIL, 10)
    assert len(left) == 2, "the others are free for another replica"
    rig.deliveries.let_go.set()
    await rig.rest()
    assert rig.wakes == 3, "there was more than room: who ends asks for the next"
    await rig.worker.close(1)


async def test_nothing_more_means_nobody_is_woken() -> None:
    rig = Rig(await memory_world())
    await rig.queue(2)
    await rig.worker.step()
    rig.deliveries.let_go.set()
    await rig.rest()
    assert (len(rig.deliveries.begun), rig.wakes) == (2, 0)


async def test_a_broken_delivery_is_logged_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(await memory_world())
    rig.deliveries.broken = {2}
    rig.deliveries.let_go.set()
    await rig.queue(3)
    await rig.worker.step()
    await rig.rest()
    assert len(rig.deliveries.begun) == 3
    (record,) = [one for one in caplog.records if "delivery_failed_unexpectedly" in one.message]
    assert record.levelname == "ERROR"
    assert record.exc_info


async def test_nothing_is_claimed_before_the_service_is_ready() -> None:
    rig = Rig(await memory_world(), is_ready=lambda: False)
    await rig.queue(1)
    await rig.worker.step()
    assert len(await rig.world.deliveries.claim(Channel.EMAIL, 1)) == 1


async def test_closing_waits_a_little_and_then_leaves_it_to_the_lease() -> None:
    rig = Rig(await memory_world())
    await rig.queue(1)
    await rig.worker.step()
    await rig.rest()
    async with asyncio.timeout(5):
        await rig.worker.close(0.01)
    assert await rig.world.deliveries.depth(Channel.EMAIL) == 1
