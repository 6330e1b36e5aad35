"""The delivery suites on the stand-ins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from tests.unit.notifier.delivery_behaviour import CrashBehaviour, DeliveryBehaviour
from tests.unit.notifier.digest_behaviour import DigestBehaviour, DigestCrashBehaviour
from tests.unit.notifier.inbox_behaviour import InboxBehaviour, IndexBehaviour
from tests.unit.notifier.lane_behaviour import LaneBehaviour, LaneWorld
from tests.unit.notifier.late_behaviour import LateBehaviour
from tests.unit.notifier.memory_lanes import memory_lanes
from tests.unit.notifier.occurrence_behaviour import OccurrenceBehaviour
from tests.unit.notifier.world import World, memory_world


@pytest.fixture
async def world() -> World:
    return await memory_world()


@pytest.fixture
def fresh_world() -> Callable[[], Awaitable[World]]:
    return memory_world


@pytest.fixture
def laned(world: World) -> LaneWorld:
    return LaneWorld(memory_lanes(world), world)


class TestDeliveryInMemory(DeliveryBehaviour):
    pass


class TestCrashesInMemory(CrashBehaviour):
    pass


class TestDigestsInMemory(DigestBehaviour):
    pass


class TestDigestCrashesInMemory(DigestCrashBehaviour):
    pass


class TestLatenessInMemory(LateBehaviour):
    pass


class TestOccurrencesInMemory(OccurrenceBehaviour):
    pass


class TestInboxInMemory(InboxBehaviour):
    pass


class TestIndexInMemory(IndexBehaviour):
    pass


class TestLanesInMemory(LaneBehaviour):
    pass
