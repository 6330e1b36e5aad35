"""While events come late, what changed a moment ago is looked at directly."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.reminders.conftest import Rig, completed, later, reminder, snapshot

from event_contracts.tasks import TaskSnapshot
from reminders.application.overtake import LATE, OVERLAP, WINDOW, Overtaker

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def overtaker(rig: Rig) -> Overtaker:
    rig.clock.advance(HOUR)
    return Overtaker(rig.task_api, rig.applier(), rig.clock)


async def changed_now(rig: Rig, **fields: Any) -> TaskSnapshot:
    """A task with a reminder in ten seconds that was made at this moment; its event is not here yet."""
    now = await rig.clock.now()
    one = reminder(at=now + 10 * SECOND, set_at=now)
    return rig.task_api.commit(snapshot(reminders=(one,), due_at=now + HOUR, updated_at=now, **fields))


async def test_a_new_reminder_does_not_wait_behind_a_backlog(rig: Rig, overtaker: Overtaker) -> None:
    made = await changed_now(rig)
    overtaker.note(await rig.clock.now() - HOUR)
    await overtaker.step()
    rig.clock.advance(10 * SECOND)
    await rig.firer().fire_all()
    assert [fired for _, fired in rig.fired()] == [str(made.reminders[0].reminder_id)]
    # Its event comes at last, and does nothing any more.
    assert await rig.applier().apply(made)
    await rig.firer().fire_all()
    assert len(rig.fired()) == 1


async def test_while_events_come_in_time_nobody_is_asked(rig: Rig, overtaker: Overtaker) -> None:
    await changed_now(rig)
    overtaker.note(await rig.clock.now() - LATE)
    await overtaker.step()
    assert rig.task_api.since == []


async def test_each_look_begins_before_the_one_before_it(rig: Rig, overtaker: Overtaker) -> None:
    first = await rig.clock.now()
    for _ in range(3):
        overtaker.note(first - HOUR)
        await overtaker.step()
        rig.clock.advance(SECOND)
    assert rig.task_api.since == [first - WINDOW - OVERLAP, first - OVERLAP, first + SECOND - OVERLAP]


async def test_a_look_that_failed_is_made_up_for(rig: Rig, overtaker: Overtaker) -> None:
    first = await rig.clock.now()
    overtaker.note(first - HOUR)
    rig.task_api.away = True
    await overtaker.step()
    rig.task_api.away = False
    rig.clock.advance(2 * SECOND)
    await overtaker.step()
    assert rig.task_api.since == [first + 2 * SECOND - WINDOW - OVERLAP]


async def test_what_was_taken_up_is_not_taken_up_again(rig: Rig, overtaker: Overtaker) -> None:
    made = [await changed_now(rig) for _ in range(5)]
    overtaker.note(await rig.clock.now() - HOUR)
    await overtaker.step()
    writes = rig.state.writes
    rig.clock.advance(SECOND)
    await overtaker.step()
    assert rig.state.writes == writes
    now = await rig.clock.now()
    rig.task_api.commit(completed(later(made[0], 2, updated_at=now), 2))
    await overtaker.step()
    assert rig.state.writes == writes + 1


async def test_it_ends_when_events_come_in_time_again(rig: Rig, overtaker: Overtaker) -> None:
    overtaker.note(await rig.clock.now() - HOUR)
    for _ in range(30):
        await overtaker.step()
        rig.clock.advance(SECOND)
    assert len(rig.task_api.since) == 16
    overtaker.note(await rig.clock.now() - HOUR)
    await overtaker.step()
    assert rig.task_api.since[-1] == await rig.clock.now() - WINDOW - OVERLAP, "and begins anew"


async def test_tasks_without_reminders_are_left_to_their_events(rig: Rig, overtaker: Overtaker) -> None:
    now = await rig.clock.now()
    task = rig.task_api.commit(snapshot(updated_at=now))
    overtaker.note(now - HOUR)
    await overtaker.step()
    assert await rig.documents.get(rig.generation, task.task_id) is None
