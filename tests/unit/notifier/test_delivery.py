"""The delivery suites on the stand-ins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from tests.unit.notifier.delivery_behaviour import CrashBehaviour, DeliveryBehaviour
from tests.unit.notifier.inbox_behaviour import InboxBehaviour, IndexBehaviour
from tests.unit.notifier.world import World, memory_world


@pytest.fixture
async def world() -> World:
    return await memory_world()


@pytest.fixture
def fresh_world() -> Callable[[], Awaitable[World]]:
    return memory_world


class TestDeliveryInMemory(DeliveryBehaviour):
    pass


class TestCrashesInMemory(CrashBehaviour):
    pass


class TestInboxInMemory(InboxBehaviour):
    pass


class TestIndexInMemory(IndexBehaviour):
    pass
