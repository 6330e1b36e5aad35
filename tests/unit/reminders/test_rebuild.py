"""Whether the schedule is whole, and what happens while it is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.unit.reminders.conftest import START, Rig, reminder, snapshot

from reminders.adapters.task_api import InvokedTaskApi
from reminders.application.rebuild import NotRebuilt, Rebuilder
from service_kit.sidecar import SidecarError


class Lock:
    """The only replica, beside a Redis with this run id."""

    run_id = "run"

    async def take(self) -> bool:
        return True

    async def keep(self) -> bool:
        return True

    async def give_back(self) -> None:
        return None

    async def store_run_id(self) -> str:
        return self.run_id


def task_api_answers(rig: Rig, epoch: int = 1) -> None:
    rig.sidecar.on_invoke("task-api", "/internal/v1/epoch", json={"epoch": epoch})
    task = snapshot(epoch=epoch, reminders=(reminder(at=START),))
    page = {"items": [task.model_dump(mode="json")], "next_cursor": None, "epoch": epoch}
    rig.sidecar.on_invoke("task-api", "/internal/v1/snapshot", json=page)


@pytest.fixture
def lock() -> Lock:
    return Lock()


@pytest.fixture
def rebuilder(lock: Lock) -> Callable[[Rig], Rebuilder]:
    return lambda rig: Rebuilder(rig.markers, InvokedTaskApi(rig.sidecar), lock, rig.applier())


Make = Callable[[Rig], Rebuilder]


async def test_without_a_marker_everything_is_built_and_then_it_is_ready(rebuilder: Make) -> None:
    rig = Rig()
    task_api_answers(rig)
    made = rebuilder(rig)
    with pytest.raises(NotRebuilt):
        await made.check()
    await made.step()
    await made.check()
    assert await rig.index.depth() == 1
    marker = await rig.markers.read()
    assert marker is not None
    assert (marker.epoch, marker.run_id) == (1, "run")


async def test_a_process_that_never_heard_an_epoch_is_not_ready_while_task_api_is_away(
    rig: Rig, rebuilder: Make
) -> None:
    rig.sidecar.on_invoke("task-api", "/internal/v1/epoch", status=503, json={})
    made = rebuilder(rig)
    with pytest.raises(SidecarError):
        await made.step()
    with pytest.raises(NotRebuilt):
        await made.check()


async def test_reminders_go_on_while_task_api_is_away(rig: Rig, rebuilder: Make) -> None:
    task_api_answers(rig)
    made = rebuilder(rig)
    await made.step()
    rig.sidecar.on_invoke("task-api", "/internal/v1/epoch", status=503, json={})
    for _ in range(100):
        await made.step()
    await made.check()


async def test_a_higher_epoch_begins_a_new_generation(rig: Rig, rebuilder: Make) -> None:
    task_api_answers(rig)
    made = rebuilder(rig)
    await made.step()
    before = await rig.markers.read()
    task_api_answers(rig, epoch=2)
    for _ in range(31):
        await made.step()
    after = await rig.markers.read()
    assert before is not None
    assert after is not None
    assert after.epoch == 2
    assert after.generation != before.generation


async def test_a_restarted_redis_is_filled_again_under_the_same_generation(
    rig: Rig, rebuilder: Make, lock: Lock
) -> None:
    task_api_answers(rig)
    made = rebuilder(rig)
    await made.step()
    before = await rig.markers.read()
    lock.run_id = "another run"
    await made.step()
    after = await rig.markers.read()
    assert before is not None
    assert after is not None
    assert (after.generation, after.run_id) == (before.generation, "another run")
    await made.check()
