"""Whether the schedule is whole, and what happens while it is not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from tests.unit.reminders.conftest import START, FreeLock, Rig, completed, later, reminder, snapshot

from event_contracts.tasks import TaskSnapshot
from reminders.application.rebuild import NotRebuilt, ScheduleRebuilder
from service_kit import rebuild
from service_kit.rebuild import IN_PROGRESS, LOST_AT_MOST, LOST_AT_ONCE
from service_kit.sidecar import SidecarError

MINUTE = timedelta(minutes=1)


class Store:
    """A Redis with this run id."""

    def __init__(self) -> None:
        self.run = "run"
        self.look: datetime | None = None
        self.kept: list[str] = []

    async def run_id(self) -> str:
        return self.run

    async def last_look(self) -> datetime | None:
        return self.look

    async def note_look(self, at: datetime) -> None:
        self.look = at

    async def clear_other_generations(self, kept: str) -> None:
        self.kept.append(kept)


@pytest.fixture
def store() -> Store:
    return Store()


Make = Callable[[Rig], ScheduleRebuilder]


@pytest.fixture
def rebuilder(store: Store) -> Make:
    return lambda rig: ScheduleRebuilder(
        rig.markers, rig.task_api, FreeLock(), store, rig.applier(), rig.clock
    )


def reminded(rig: Rig, **fields: object) -> TaskSnapshot:
    """A task at task-api that reminds in a minute."""
    return rig.task_api.commit(snapshot(reminders=(reminder(at=START + MINUTE),), **fields))


async def test_without_a_marker_everything_is_built_and_then_it_is_ready(rebuilder: Make) -> None:
    rig = Rig()
    for _ in range(5):
        reminded(rig)
    made = rebuilder(rig)
    with pytest.raises(NotRebuilt):
        await made.check()
    await made.step()
    await made.check()
    assert await rig.index.depth() == 5
    marker = await rig.markers.read()
    assert marker is not None
    assert (marker.epoch, marker.run_id) == (1, "run")


async def test_a_rebuild_that_died_half_way_is_not_taken_for_whole(rebuilder: Make) -> None:
    rig = Rig()
    await rig.markers.create(1, IN_PROGRESS)
    reminded(rig)
    await rebuilder(rig).step()
    assert await rig.index.depth() == 1
    marker = await rig.markers.read()
    assert marker is not None
    assert marker.run_id == "run"


async def test_another_replica_builds(rig: Rig, rebuilder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.state.flush()
    reminded(rig)
    monkeypatch.setattr(FreeLock, "taken", True)
    made = rebuilder(rig)
    assert await made.step() == timedelta(milliseconds=500)
    assert not made.is_ready()
    assert await rig.index.depth() == 0


async def test_a_process_that_never_heard_an_epoch_is_not_ready_while_task_api_is_away(
    rig: Rig, rebuilder: Make
) -> None:
    rig.task_api.away = True
    made = rebuilder(rig)
    with pytest.raises(SidecarError):
        await made.step()
    with pytest.raises(NotRebuilt):
        await made.check()


async def test_reminders_go_on_while_task_api_is_away(rig: Rig, rebuilder: Make, store: Store) -> None:
    made = rebuilder(rig)
    await made.step()
    rig.task_api.away = True
    for _ in range(100):
        await made.step()
    await made.check()
    store.run = "another run"
    await made.step()
    await made.check()


async def test_a_higher_epoch_begins_a_new_generation_and_clears_the_old_one(
    rig: Rig, rebuilder: Make, store: Store
) -> None:
    lost = reminded(rig)
    made = rebuilder(rig)
    await rig.applier().apply(lost)
    await made.step()
    rig.task_api.tasks.clear()
    kept = reminded(rig, epoch=2)
    rig.task_api.current_epoch = 2
    before = rig.generation
    for _ in range(31):
        await made.step()
    after = await rig.markers.read()
    assert after is not None
    assert after.epoch == 2
    assert after.generation != before
    assert store.kept == [after.generation]
    # What the restored database lacks never happened: a late event of it changes nothing, and it does not fire.
    assert await rig.applier().apply(later(lost, 9))
    rig.clock.advance(2 * MINUTE)
    await rig.firer().fire_all()
    assert [one for _, one in rig.fired()] == [str(kept.reminders[0].reminder_id)]
    assert await rig.index.depth() == 0


async def test_a_restarted_redis_is_asked_for_what_it_may_have_lost_and_reminders_go_on(
    rig: Rig, rebuilder: Make, store: Store
) -> None:
    old = reminded(rig)
    made = rebuilder(rig)
    await made.step()
    store.look = START + timedelta(hours=5)
    lost = reminded(rig, updated_at=store.look - MINUTE)
    gone = rig.task_api.commit(completed(snapshot(updated_at=store.look - MINUTE), 3))
    store.run = "another run"
    rig.clock.advance(timedelta(hours=9))
    rig.task_api.since.clear()
    await made.step()
    await made.check()
    near, far = store.look - LOST_AT_ONCE, store.look - LOST_AT_MOST
    assert rig.task_api.since == [near, far], "what is most likely lost comes first"
    assert await rig.documents.get(rig.generation, lost.task_id) is not None
    assert await rig.documents.get(rig.generation, gone.task_id) is not None
    assert await rig.documents.get(rig.generation, old.task_id) is None, "nothing else is looked at"
    marker = await rig.markers.read()
    assert marker is not None
    assert (marker.generation, marker.run_id) == (rig.generation, "another run")


async def test_what_changed_minutes_before_gives_way_to_what_is_new(
    rig: Rig, rebuilder: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = rebuilder(rig)
    await made.step()
    store.look = START + timedelta(hours=5)
    just_before = [reminded(rig, updated_at=store.look) for _ in range(5)]
    minutes_before = [reminded(rig, updated_at=store.look - timedelta(minutes=9)) for _ in range(4)]
    store.run = "another run"
    there: list[int] = []

    async def pause(_: float) -> None:
        found = [await rig.documents.get(rig.generation, task.task_id) for task in minutes_before]
        assert all([await rig.documents.get(rig.generation, task.task_id) for task in just_before])
        there.append(sum(one is not None for one in found))

    monkeypatch.setattr(rebuild, "give_way", pause)
    await made.step()
    assert there == sorted(there)
    assert len(there) == 4, "a pause between each two pages of two"
    assert all([await rig.documents.get(rig.generation, task.task_id) for task in minutes_before])


async def test_a_pause_is_twice_as_long_as_the_work_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("asyncio.sleep", sleep)
    monkeypatch.setattr(rebuild, "perf_counter", lambda: 100.0)
    await rebuild.give_way(99.5)
    await rebuild.give_way(40.0)
    assert slept == [1.0, 5.0]


async def test_a_reconcile_that_cannot_ask_task_api_is_done_later(
    rig: Rig, rebuilder: Make, store: Store
) -> None:
    made = rebuilder(rig)
    await made.step()
    lost = reminded(rig, updated_at=START)
    store.run, rig.task_api.away = "another run", True
    await made.step()
    assert await rig.documents.get(rig.generation, lost.task_id) is None
    rig.task_api.away = False
    await made.step()
    assert await rig.documents.get(rig.generation, lost.task_id) is not None


async def test_it_is_noted_now_and_then_that_redis_was_seen_whole(
    rig: Rig, rebuilder: Make, store: Store
) -> None:
    made = rebuilder(rig)
    for _ in range(30):
        await made.step()
    assert store.look == rig.clock.instant


class LockThatGoes(FreeLock):
    """A lock that another replica has taken over by the time the first page is through."""

    async def keep(self) -> bool:
        return False


async def test_whoever_lost_the_lock_on_the_way_does_not_call_it_whole(store: Store) -> None:
    """Two replicas: the first was held up for longer than its lock; the second clears and builds, and says when."""
    rig = Rig()
    for _ in range(5):
        reminded(rig)
    slow = ScheduleRebuilder(rig.markers, rig.task_api, LockThatGoes(), store, rig.applier(), rig.clock)
    await slow.step()
    with pytest.raises(NotRebuilt):
        await slow.check()
    marker = await rig.markers.read()
    assert marker is not None
    assert marker.run_id == IN_PROGRESS
    assert store.kept == [], "what is cleared belongs to who has the lock"
    quick = ScheduleRebuilder(rig.markers, rig.task_api, FreeLock(), store, rig.applier(), rig.clock)
    await quick.step()
    assert quick.is_ready()
    assert await rig.index.depth() == 5
    await slow.step()
    await slow.check()


async def test_a_marker_that_vanishes_on_the_way_ends_the_rebuild(
    rig: Rig, rebuilder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flush between two pages: what was applied is gone with it, so the rebuild must not end well."""
    rig.state.flush()
    for _ in range(5):
        reminded(rig)
    page, pages = rig.task_api.page, 0

    async def flushing(*which: object) -> object:
        nonlocal pages
        pages += 1
        if pages == 2:
            rig.state.flush()
        return await page(*which)  # type: ignore[arg-type]

    monkeypatch.setattr(rig.task_api, "page", flushing)
    made = rebuilder(rig)
    await made.step()
    with pytest.raises(NotRebuilt):
        await made.check()
    await made.step()
    await made.check()
    generation = await rig.markers.read()
    assert generation is not None
    for task in rig.task_api.tasks.values():
        assert await rig.documents.get(generation.generation, task.task_id) is not None


async def test_who_waited_for_the_lock_finds_it_built(store: Store) -> None:
    rig = Rig()
    reminded(rig)

    class Waited(FreeLock):
        async def take(self) -> bool:
            if not store.kept:
                await ScheduleRebuilder(
                    rig.markers, rig.task_api, FreeLock(), store, rig.applier(), rig.clock
                ).step()
            return True

    late = ScheduleRebuilder(rig.markers, rig.task_api, Waited(), store, rig.applier(), rig.clock)
    await late.step()
    assert late.is_ready()
    assert len(store.kept) == 1, "it is built once"
