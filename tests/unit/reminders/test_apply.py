"""Applying snapshots: twice, backwards, crashed half-way, from before a restore, with the store away."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from tests.unit.reminders.conftest import START, Rig, completed, later, reminder, snapshot

from service_kit.sidecar import SidecarUnavailable
from service_kit.state_store import StateConflict, StateUnavailable

SOON = START + timedelta(minutes=1)


async def test_every_order_of_deliveries_ends_the_same() -> None:
    one = reminder(at=SOON)
    moved = one.model_copy(update={"at": SOON + timedelta(minutes=1)})
    first = snapshot(reminders=(one,))
    history = [first, later(first, 2, reminders=(moved,)), later(first, 3, reminders=(moved,), title="Other")]
    ends = set()
    for order in itertools.permutations([*history, *history]):
        rig = Rig()
        await rig.begin()
        applier = rig.applier()
        for task in order:
            assert await applier.apply(task)
        stored = await rig.documents.get(rig.generation, first.task_id)
        assert stored is not None
        ends.add((stored.document.version, tuple((e.fire_ms, e.state) for e in stored.document.entries)))
        assert not list(stored.document.unannounced())
    assert len(ends) == 1


async def test_announced_once_a_fire_time(rig: Rig) -> None:
    task = snapshot(reminders=(reminder(at=SOON),))
    applier = rig.applier()
    for _ in range(3):
        assert await applier.apply(task)
    assert await applier.apply(later(task, 2, title="Other"))
    assert len(rig.sidecar.events("reminder-scheduled")) == 1


async def test_without_a_marker_everything_comes_again(rig: Rig) -> None:
    rig.state.flush()
    assert not await rig.applier().apply(snapshot())
    assert rig.state.keys == []


async def test_an_event_from_before_a_restore_never_happened() -> None:
    rig = Rig()
    await rig.begin(epoch=2)
    assert await rig.applier().apply(snapshot(epoch=1, reminders=(reminder(at=SOON),)))
    assert await rig.index.depth() == 0


@pytest.mark.parametrize("landed", [False, True])
@pytest.mark.parametrize("error", [StateConflict("conflict"), StateUnavailable("away")])
async def test_a_failed_write_is_not_taken_for_stale(rig: Rig, landed: bool, error: Exception) -> None:
    """daprd answers 409 when Redis is away, even when the write landed later: only a higher version is stale."""
    task = snapshot(reminders=(reminder(at=SOON),))
    original = rig.state.create

    async def failing(*args: object, **kwargs: object) -> None:
        if landed:
            await original(*args, **kwargs)  # type: ignore[arg-type]
        raise error

    rig.state.create = failing  # type: ignore[method-assign]
    assert not await rig.applier().apply(task)
    rig.state.create = original  # type: ignore[method-assign]
    assert await rig.applier().apply(task)
    assert await rig.index.depth() == 1
    assert len(rig.scheduled()) == 1


async def test_a_lost_announcement_is_made_good_by_the_next_delivery(rig: Rig) -> None:
    task = snapshot(reminders=(reminder(at=SOON),))
    rig.sidecar.fail_next(SidecarUnavailable("timed out"))
    with pytest.raises(SidecarUnavailable):
        await rig.applier().apply(task)
    assert await rig.applier().apply(later(task, 1))
    assert len(rig.scheduled()) == 1


async def test_an_older_delivery_heals_the_newer_versions_crash(rig: Rig) -> None:
    """Version 2 was written and its process died before the index: version 1, delivered late, puts it there."""
    task = snapshot(reminders=(reminder(at=SOON),))
    newer = later(task, 2)

    async def dead(_: object) -> int:
        raise ConnectionError

    add, rig.index.add = rig.index.add, dead  # type: ignore[method-assign, assignment]
    with pytest.raises(ConnectionError):
        await rig.applier().apply(newer)
    rig.index.add = add  # type: ignore[method-assign]
    assert await rig.applier().apply(task)
    assert await rig.index.depth() == 1
    assert len(rig.scheduled()) == 1


async def test_a_deleted_task_is_not_brought_back(rig: Rig) -> None:
    task = snapshot(reminders=(reminder(at=SOON),))
    gone = later(completed(task, 2), 2, deleted_at=START)
    assert await rig.applier().apply(gone)
    assert await rig.applier().apply(task)
    assert await rig.index.depth() == 0
    (key,) = [key for key in rig.state.keys if key != "marker"]
    expires = rig.state.expires_at(key)
    assert expires is not None
    assert expires > START + timedelta(days=7), "outlives the topics' retention"


async def test_a_restored_task_loses_its_tombstones_expiry(rig: Rig) -> None:
    task = snapshot(reminders=(reminder(at=SOON),))
    assert await rig.applier().apply(later(completed(task, 2), 2, deleted_at=START))
    assert await rig.applier().apply(later(task, 3))
    (key,) = [key for key in rig.state.keys if key != "marker"]
    assert rig.state.expires_at(key) is None
