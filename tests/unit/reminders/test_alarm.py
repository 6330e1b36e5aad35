"""When the next look is: at the earliest fire time, and after three ticks at the latest."""

from __future__ import annotations

from datetime import timedelta

from tests.unit.reminders.conftest import START, Rig, later, reminder, snapshot

from reminders.application.alarm import Alarm
from service_kit.sidecar import SidecarUnavailable

TICK = timedelta(seconds=1)
LONGEST = 3 * TICK


def alarm(rig: Rig, *, ready: bool = True) -> Alarm:
    return Alarm(rig.firer(), rig.index, TICK, lambda: ready)


async def test_it_is_set_for_the_earliest_fire_time(rig: Rig) -> None:
    at = START + timedelta(milliseconds=1200)
    await rig.applier().apply(snapshot(reminders=(reminder(at=at), reminder(at=START + timedelta(days=1)))))
    made = alarm(rig)
    assert await made.ring() == timedelta(milliseconds=1200)
    assert made.is_later_than(at - timedelta(milliseconds=1)), "an earlier one sets it anew"
    assert not made.is_later_than(at)
    rig.clock.advance(timedelta(milliseconds=1200))
    await made.ring()
    assert len(rig.fired()) == 1


async def test_without_anything_near_it_looks_after_three_ticks(rig: Rig) -> None:
    made = alarm(rig)
    assert made.is_later_than(START), "one that was never set is later than anything"
    assert await made.ring() == LONGEST
    await rig.applier().apply(snapshot(reminders=(reminder(at=START + timedelta(days=1)),)))
    assert await made.ring() == LONGEST
    assert not made.is_later_than(START + LONGEST)


async def test_what_the_bus_did_not_take_comes_again_by_itself(rig: Rig) -> None:
    await rig.applier().apply(snapshot(reminders=(reminder(at=START + TICK),)))
    rig.clock.advance(TICK)
    made = alarm(rig)
    rig.sidecar.fail_next(SidecarUnavailable("away"))
    waits = [await made.ring()]
    assert rig.fired() == []
    while not rig.fired():
        assert timedelta(0) <= waits[-1] <= LONGEST
        assert len(waits) < 10
        rig.clock.advance(waits[-1])
        waits.append(await made.ring())
    assert len(rig.fired()) == 1


async def test_while_the_schedule_is_rebuilt_nothing_fires(rig: Rig) -> None:
    task = snapshot(reminders=(reminder(at=START + TICK),))
    await rig.applier().apply(task)
    rig.clock.advance(2 * TICK)
    assert await alarm(rig, ready=False).ring() == LONGEST
    assert rig.fired() == []
    assert await rig.applier().apply(later(task, 2))
    await alarm(rig).ring()
    assert len(rig.fired()) == 1


async def test_without_a_marker_it_waits(rig: Rig) -> None:
    rig.state.flush()
    assert await alarm(rig).ring() == LONGEST
