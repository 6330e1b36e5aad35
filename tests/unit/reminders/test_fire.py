"""Firing: once for each (reminder, fire time), whoever else is at it and whatever dies in between."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest
from tests.unit.reminders.conftest import START, Rig, completed, later, reminder, snapshot

from service_kit.due_index import Claim
from service_kit.sidecar import SidecarUnavailable
from service_kit.state_store import StateUnavailable, Stored

SOON = START + timedelta(minutes=1)
LEASE = timedelta(seconds=16)


async def test_fires_when_its_time_has_come_and_once(rig: Rig) -> None:
    await rig.applier().apply(snapshot(reminders=(reminder(at=SOON),)))
    await rig.firer().fire_all()
    assert rig.fired() == []
    rig.clock.advance(timedelta(minutes=1))
    for _ in range(3):
        await rig.firer().fire_all()
        rig.clock.advance(LEASE)
    assert len(rig.fired()) == 1
    assert await rig.index.depth() == 0


async def test_one_that_became_past_while_nobody_looked_fires_late(rig: Rig) -> None:
    await rig.applier().apply(snapshot(reminders=(reminder(at=SOON),)))
    rig.clock.advance(timedelta(days=2))
    await rig.firer().fire_all()
    (event,) = rig.sidecar.events("reminder-due")
    assert event["data"]["fire_at"] != event["data"]["fired_at"]


async def test_one_that_was_past_when_it_was_set_fires_once_while_the_task_is_ahead(rig: Rig) -> None:
    await rig.applier().apply(snapshot(reminders=(reminder(offset=timedelta(hours=3)),)))
    for _ in range(2):
        await rig.firer().fire_all()
        rig.clock.advance(LEASE)
    assert len(rig.fired()) == 1


async def test_one_that_was_past_when_it_was_set_is_missed_when_the_task_was_due(rig: Rig) -> None:
    past = START - timedelta(hours=1)
    await rig.applier().apply(snapshot(due_at=past, reminders=(reminder(offset=timedelta(0)),)))
    await rig.firer().fire_all()
    assert rig.fired() == []


@pytest.mark.parametrize("what", ["moved", "removed", "closed", "deleted"])
async def test_what_the_document_no_longer_stands_behind_is_dropped(rig: Rig, what: str) -> None:
    one = reminder(at=SOON)
    task = snapshot(reminders=(one,))
    await rig.applier().apply(task)
    changed = {
        "moved": later(task, 2, reminders=(one.model_copy(update={"at": SOON + timedelta(hours=1)}),)),
        "removed": later(task, 2, reminders=()),
        "closed": completed(task, 2),
        "deleted": later(completed(task, 2), 2, deleted_at=START),
    }[what]
    await rig.applier().apply(changed)
    rig.clock.advance(timedelta(minutes=1))
    await rig.firer().fire_all()
    assert rig.fired() == []
    assert await rig.index.depth() == (1 if what == "moved" else 0)


async def test_two_replicas_share_the_work(rig: Rig) -> None:
    for _ in range(30):
        await rig.applier().apply(snapshot(reminders=(reminder(at=SOON),)))
    rig.clock.advance(timedelta(minutes=1))
    await rig.firer().fire_all()
    await rig.firer().fire_all()
    assert len(rig.fired()) == len(set(rig.fired())) == 30


async def test_many_are_fired_side_by_side_and_each_once(rig: Rig) -> None:
    """Ten are one claim. Both reminders of a task may be in different ones, whose marks are in each other's way."""
    for _ in range(20):
        await rig.applier().apply(
            snapshot(reminders=(reminder(at=SOON), reminder(at=SOON + timedelta(seconds=1))))
        )
    rig.clock.advance(timedelta(minutes=2))
    await rig.firer().fire_all()
    assert len(rig.fired()) == len(set(rig.fired())) == 40
    assert await rig.index.depth() == 0


async def test_one_claim_that_fails_keeps_no_other_from_firing(rig: Rig) -> None:
    for _ in range(30):
        await rig.applier().apply(snapshot(reminders=(reminder(at=SOON),)))
    rig.clock.advance(timedelta(minutes=1))
    get_many, asked = rig.state.get_many, 0

    async def failing_once(keys: Iterable[str]) -> dict[str, Stored]:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise StateUnavailable("away")
        return await get_many(keys)

    rig.state.get_many = failing_once  # type: ignore[method-assign]
    with pytest.raises(StateUnavailable):
        await rig.firer().fire_all()
    assert len(rig.fired()) == 20
    rig.clock.advance(LEASE)
    await rig.firer().fire_all()
    assert len(rig.fired()) == len(set(rig.fired())) == 30


@pytest.mark.parametrize("landed", [False, True])
async def test_a_publish_that_timed_out_goes_out_again_under_the_same_id(rig: Rig, landed: bool) -> None:
    await rig.applier().apply(snapshot(reminders=(reminder(at=SOON),)))
    rig.clock.advance(timedelta(minutes=1))
    rig.sidecar.fail_next(SidecarUnavailable("timed out"), landed=landed)
    await rig.firer().fire_all()
    rig.clock.advance(timedelta(seconds=2))
    await rig.firer().fire_all()
    assert len(set(rig.fired())) == 1
    assert await rig.index.depth() == 0


async def test_a_crash_between_publish_and_mark_repeats_the_same_event(rig: Rig) -> None:
    await rig.applier().apply(snapshot(reminders=(reminder(at=SOON),)))
    rig.clock.advance(timedelta(minutes=1))
    replace_many = rig.state.replace_many

    async def dead(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    rig.state.replace_many = dead  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        await rig.firer().fire_all()
    rig.state.replace_many = replace_many  # type: ignore[method-assign]
    await rig.firer().fire_all()
    assert len(rig.fired()) == 1, "still leased"
    rig.clock.advance(LEASE)
    await rig.firer().fire_all()
    assert len(rig.fired()) == 2
    assert len(set(rig.fired())) == 1
    assert await rig.index.depth() == 0


async def test_a_failed_mark_is_not_acknowledged_blindly(rig: Rig) -> None:
    await rig.applier().apply(snapshot(reminders=(reminder(at=SOON),)))
    rig.clock.advance(timedelta(minutes=1))
    replace_many = rig.state.replace_many

    async def refusing(*_: object, **__: object) -> None:
        raise StateUnavailable("away")

    rig.state.replace_many = refusing  # type: ignore[method-assign]
    await rig.firer().fire_all()
    assert await rig.index.depth() == 1
    rig.state.replace_many = replace_many  # type: ignore[method-assign]
    rig.clock.advance(LEASE)
    await rig.firer().fire_all()
    assert await rig.index.depth() == 0
    assert len(set(rig.fired())) == 1


async def test_without_a_document_task_api_is_asked(rig: Rig) -> None:
    task = snapshot(reminders=(reminder(at=SOON),))
    await rig.applier().apply(task)
    rig.state.flush()
    await rig.begin()
    rig.task_api.commit(task)
    rig.clock.advance(timedelta(minutes=1))
    await rig.firer().fire_all()
    assert len(rig.fired()) == 1
    assert await rig.index.depth() == 0


async def test_a_member_of_an_unknown_task_is_dropped(rig: Rig) -> None:
    await rig.applier().apply(snapshot(reminders=(reminder(at=SOON),)))
    rig.state.flush()
    await rig.begin()
    rig.clock.advance(timedelta(minutes=1))
    await rig.firer().fire_all()
    assert rig.fired() == []
    assert await rig.index.depth() == 0


async def test_without_a_marker_nothing_is_claimed(rig: Rig) -> None:
    await rig.applier().apply(snapshot(reminders=(reminder(at=SOON),)))
    rig.state.flush()
    rig.clock.advance(timedelta(minutes=1))
    assert await rig.firer().fire_all() is None
    assert await rig.index.depth() == 1


async def test_one_whose_task_cannot_be_asked_for_holds_up_nobody(rig: Rig) -> None:
    known, lost = snapshot(reminders=(reminder(at=SOON),)), snapshot(reminders=(reminder(at=SOON),))
    for task in (known, lost):
        await rig.applier().apply(task)
    rig.state.flush()
    await rig.begin()
    await rig.applier().apply(known)
    rig.task_api.away = True
    rig.clock.advance(timedelta(minutes=1))
    await rig.firer().fire_all()
    assert [one for _, one in rig.fired()] == [str(known.reminders[0].reminder_id)]

    rig.task_api.away = False
    rig.task_api.commit(lost)
    rig.clock.advance(timedelta(seconds=2))
    await rig.firer().fire_all()
    assert [one for _, one in rig.fired()] == [str(task.reminders[0].reminder_id) for task in (known, lost)]


async def test_what_is_claimed_after_a_flush_is_not_judged_by_the_documents_before_it(rig: Rig) -> None:
    """The marker was read, then Redis was flushed and all built again, and only then the claim was made."""
    task = rig.task_api.commit(snapshot(reminders=(reminder(at=START + timedelta(minutes=1)),)))
    rig.clock.advance(timedelta(minutes=2))
    claim = rig.index.claim

    async def late(limit: int = 200) -> Claim:
        rig.index.claim = claim  # type: ignore[method-assign]
        rig.state.flush()
        await rig.begin()
        assert await rig.applier().apply(task)
        return await claim(limit)

    rig.index.claim = late  # type: ignore[method-assign]
    await rig.firer().fire_all()
    rig.clock.advance(timedelta(minutes=1))
    await rig.firer().fire_all()
    assert len(rig.fired()) == 1
