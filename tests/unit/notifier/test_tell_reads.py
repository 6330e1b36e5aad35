"""Read marks go out once the bus has them, one event a person; what failed goes out again."""

from __future__ import annotations

import pytest
from tests.unit.notifier.samples import START, USER, message
from tests.unit.notifier.world import World, memory_world

from notifier.adapters.dapr_events import DaprEvents
from notifier.application.errors import PublishFailed
from notifier.application.tell_reads import TellReads
from service_kit.sidecar import SidecarUnavailable


async def _read(world: World, number: int) -> set[str]:
    told = [message() for _ in range(number)]
    for one in told:
        await world.inbox.add(one, None, START)
        await world.inbox.mark_read(USER, one.notification_id, START)
    return {str(one.notification_id) for one in told}


async def test_all_marks_of_a_person_are_one_event() -> None:
    world = await memory_world()
    ids = await _read(world, 3)
    await TellReads(world.inbox, DaprEvents(world.sidecar)).step()
    (event,) = world.sidecar.events("notification-read")
    assert set(event["data"]["notification_ids"]) == ids
    assert event["data"]["user_id"] == str(USER)
    assert world.sidecar.published[0].key == str(USER)


async def test_more_than_a_batch_takes_several_events() -> None:
    world = await memory_world()
    ids = await _read(world, 5)
    await TellReads(world.inbox, DaprEvents(world.sidecar), batch=2).step()
    events = world.sidecar.events("notification-read")
    assert [len(event["data"]["notification_ids"]) for event in events] == [2, 2, 1]
    assert {one for event in events for one in event["data"]["notification_ids"]} == ids


async def test_what_the_bus_did_not_take_is_told_again_under_the_same_id() -> None:
    world = await memory_world()
    await _read(world, 2)
    tell = TellReads(world.inbox, DaprEvents(world.sidecar))
    world.sidecar.fail_next(SidecarUnavailable("by the test"), landed=True)
    with pytest.raises(PublishFailed):
        await tell.step()
    await tell.step()
    await tell.step()
    first, second = world.sidecar.events("notification-read")
    assert first["id"] == second["id"]
