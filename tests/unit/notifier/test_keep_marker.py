"""Ready with a marker, not without; a second replica does not replace the first one's."""

from __future__ import annotations

from typing import Any, cast

import pytest
from redis.asyncio import Redis

from event_contracts.topics import TASK_API
from notifier.adapters.dapr_records import DaprMarkers
from notifier.adapters.task_api import InvokedTaskApi
from notifier.application.errors import NotReady, TaskApiUnavailable
from notifier.application.keep_marker import KeepMarker
from service_kit.marker import MarkerStore
from service_kit.testing.fakes import InMemoryStateStore, RecordingSidecar


class _Server:
    """Only what is asked of Redis here."""

    async def info(self, section: str) -> dict[str, Any]:
        return {"run_id": "run-1"}


class Rig:
    def __init__(self) -> None:
        self.state = InMemoryStateStore()
        self.sidecar = RecordingSidecar()
        self.sidecar.on_invoke(TASK_API, "/internal/v1/epoch", json={"epoch": 3})

    @property
    def markers(self) -> MarkerStore:
        return MarkerStore(self.state)

    def keeper(self) -> KeepMarker:
        markers = DaprMarkers(self.markers, cast("Redis", _Server()))
        return KeepMarker(markers, InvokedTaskApi(self.sidecar, remember=0))


async def test_the_first_replica_makes_it_with_task_apis_epoch() -> None:
    rig = Rig()
    keeper = rig.keeper()
    with pytest.raises(NotReady):
        await keeper.check()
    await keeper.step()
    await keeper.check()
    assert keeper.is_ready()
    marker = await rig.markers.read()
    assert marker is not None
    assert (marker.epoch, marker.run_id) == (3, "run-1")


async def test_the_second_replica_keeps_the_firsts() -> None:
    rig = Rig()
    await rig.keeper().step()
    before = await rig.markers.read()
    second = rig.keeper()
    await second.step()
    assert second.is_ready()
    assert await rig.markers.read() == before


async def test_a_marker_made_while_task_api_was_asked_stays() -> None:
    rig = Rig()
    markers = DaprMarkers(rig.markers, cast("Redis", _Server()))
    await rig.keeper().step()
    first = await rig.markers.read()
    await markers.create(3)
    assert await rig.markers.read() == first


async def test_a_wipe_is_noticed_and_task_api_is_needed_to_go_on() -> None:
    rig = Rig()
    keeper = rig.keeper()
    await keeper.step()
    rig.state.flush()
    rig.sidecar.unavailable = True
    with pytest.raises(TaskApiUnavailable):
        await keeper.step()
    assert not keeper.is_ready()
    rig.sidecar.unavailable = False
    await keeper.step()
    assert keeper.is_ready()
