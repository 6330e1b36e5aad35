"""Open instances that wait for no other: what is awaited, what is made, and how it is paced."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.unit.recurrence.conftest import (
    MONDAY,
    NEXT_MONDAY,
    NOW,
    Rig,
    closed,
    instance_of,
    later,
    series_of,
    tip_of,
)

from event_contracts.recurrence import GenerationReason
from event_contracts.series import RecurrencePolicies, SeriesSnapshot
from event_contracts.tasks import ReminderDefinition, TaskSnapshot
from recurrence.application.by_schedule import LONGEST_PAUSE, SHORTEST_PAUSE
from recurrence.application.propose import Outcome
from recurrence.domain.checks import CHECK_AFTER, CHECK_AGAIN_AFTER, GIVEN_UP_AGAIN_AFTER

NEXT_DATE = NOW.replace(day=31, hour=7, minute=0)
HOUR = timedelta(hours=1)


def _piling(**fields: Any) -> SeriesSnapshot:
    policies = {"pile_up": "allow", **fields.pop("policies", {})}
    return series_of(policies=RecurrencePolicies.model_validate(policies), **fields)


def _known(rig: Rig, series: SeriesSnapshot, task: TaskSnapshot) -> SeriesSnapshot:
    rig.task_api.known_tasks[task.task_id] = task
    return rig.task_api.knows(series.model_copy(update={"tip": tip_of(task)}))


async def _opened(rig: Rig, series: SeriesSnapshot | None = None, **fields: Any) -> TaskSnapshot:
    """An instance that both task-api and this service know, open."""
    series = series or _piling()
    task = instance_of(series, **fields)
    await rig.evaluation.on_series(_known(rig, series, task))
    await rig.evaluation.on_task(task)
    return task


async def _sweep_at(rig: Rig, moment: datetime) -> None:
    rig.clock.instant = moment
    await rig.by_schedule.sweep()


def _reminder(**moment: Any) -> ReminderDefinition:
    return ReminderDefinition(reminder_id=uuid4(), set_at=NOW, **moment)


async def test_the_next_comes_at_its_date_beside_an_open_one(rig: Rig) -> None:
    task = await _opened(rig)
    assert await rig.dates.next_due() == NEXT_DATE
    await _sweep_at(rig, NEXT_DATE - timedelta(milliseconds=1))
    assert rig.publisher.published == []
    await _sweep_at(rig, NEXT_DATE)
    (offer,) = rig.publisher.published
    assert (offer.occurrence_key, offer.why) == (NEXT_MONDAY, GenerationReason.SCHEDULE)
    assert (offer.predecessor_task_id, offer.predecessor_closed_version) == (task.task_id, None)
    assert offer.further == ()


async def test_it_is_offered_again_until_it_is_there(rig: Rig) -> None:
    series = _piling()
    task = await _opened(rig, series)
    await _sweep_at(rig, NEXT_DATE)
    await _sweep_at(rig, NEXT_DATE + HOUR)
    first, again = rig.publisher.published
    assert again == first.model_copy(update={"generated_at": NEXT_DATE + HOUR})
    made = instance_of(series, occurrence_key=NEXT_MONDAY, predecessor_task_id=task.task_id)
    _known(rig, series, made)
    await rig.evaluation.on_task(made)
    await _sweep_at(rig, NEXT_DATE + 2 * HOUR)
    assert len(rig.publisher.published) == 2
    assert await rig.dates.depth() == 1, "what comes after the new one"
    assert await rig.dates.next_due() == NEXT_DATE + timedelta(days=7)


async def test_two_replicas_share_what_is_due(rig: Rig) -> None:
    other = rig.another()
    await other.begin()
    for _ in range(10):
        await _opened(rig)
    rig.clock.instant = NEXT_DATE
    await rig.by_schedule.sweep()
    await other.by_schedule.sweep()
    assert len(rig.publisher.published) == 10


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"paused": True, "version": 2}, id="paused"),
        pytest.param({"ended": True, "version": 2}, id="ended"),
        pytest.param({"policies": RecurrencePolicies(), "version": 2}, id="waits now"),
        pytest.param({"tip": None}, id="no tip"),
    ],
)
async def test_what_was_changed_makes_nothing_and_is_settled(rig: Rig, change: dict[str, Any]) -> None:
    task = await _opened(rig)
    assert task.series_id is not None
    rig.task_api.knows(rig.task_api.known[task.series_id].model_copy(update=change))
    await _sweep_at(rig, NEXT_DATE)
    assert rig.publisher.published == []
    assert await rig.dates.depth() == 0


async def test_what_was_closed_or_is_gone_is_settled(rig: Rig) -> None:
    series = _piling()
    task = await _opened(rig, series)
    _known(rig, series, closed(task, 2))
    other = await _opened(rig)
    assert other.series_id is not None
    del rig.task_api.known[other.series_id]
    await _sweep_at(rig, NEXT_DATE)
    assert rig.publisher.published == []
    assert await rig.dates.depth() == 0


async def test_a_change_brings_its_own_date_and_the_old_one_is_dropped(rig: Rig) -> None:
    series = _piling()
    task = await _opened(rig, series)
    edited = later(task, 2, title="Other", reminders=(_reminder(offset=timedelta(days=1)),))
    _known(rig, series, edited)
    await rig.evaluation.on_task(edited)
    ahead = NEXT_DATE - timedelta(days=1, hours=2)
    assert await rig.dates.next_due() == ahead
    await _sweep_at(rig, ahead)
    assert rig.publisher.keys == [NEXT_MONDAY]
    await _sweep_at(rig, NEXT_DATE)
    assert set(rig.publisher.keys) == {NEXT_MONDAY}
    assert await rig.dates.depth() == 1


async def test_a_pause_and_a_resume_between_look_and_settlement_lose_nothing(rig: Rig) -> None:
    """The sweep saw the series at rest; what the resumed one awaits must not be what it settles."""
    series = _piling()
    task = await _opened(rig, series)
    tip = tip_of(task)
    rig.task_api.knows(series.model_copy(update={"paused": True, "version": 2, "tip": tip}))
    resumed = series.model_copy(update={"version": 3, "resumed_at": NOW, "tip": tip})
    ask = rig.task_api.series

    async def resumed_meanwhile(series_id: Any) -> SeriesSnapshot | None:
        found = await ask(series_id)
        rig.task_api.knows(resumed)
        await rig.evaluation.on_series(resumed)
        return found

    rig.task_api.series = resumed_meanwhile  # type: ignore[method-assign]
    await _sweep_at(rig, NEXT_DATE)
    rig.task_api.series = ask  # type: ignore[method-assign]
    await _sweep_at(rig, NEXT_DATE + CHECK_AGAIN_AFTER)
    assert rig.publisher.keys == [NEXT_MONDAY] * 2, "offered again, for nobody took it up"
    assert {one.series_version for one in rig.publisher.published} == {3}


@pytest.mark.parametrize(
    ("reminder", "ahead"),
    [
        (_reminder(offset=timedelta(0)), timedelta(hours=2)),
        (_reminder(offset=timedelta(minutes=30)), timedelta(hours=2, minutes=30)),
        (_reminder(at=NOW - timedelta(days=3, minutes=5)), timedelta(days=3, hours=2)),
        (_reminder(at=NOW + timedelta(days=3)), timedelta(hours=2)),
    ],
)
async def test_it_is_there_before_its_earliest_reminder(
    rig: Rig, reminder: ReminderDefinition, ahead: timedelta
) -> None:
    await _opened(rig, reminders=(reminder,))
    assert await rig.dates.next_due() == NEXT_DATE - ahead


async def test_an_all_day_one_with_a_reminder_is_there_before_its_day(rig: Rig) -> None:
    series = _piling(start="2025-03-03")
    at = datetime.fromisoformat("2025-03-23T08:00:00Z")
    fields = {"occurrence_key": "2025-03-24", "due_at": None, "due_date": date(2025, 3, 24)}
    await _opened(rig, series, reminders=(_reminder(at=at),), **fields)
    midnight = datetime.fromisoformat("2025-03-30T22:00:00Z")
    assert await rig.dates.next_due() == midnight - timedelta(hours=15 + 2)
    assert (await rig.dates.depth()) == 1


async def test_a_rebuild_awaits_everything_again_and_asks_for_reminders(
    make_rig: Callable[[], Rig],
) -> None:
    rig = make_rig()
    series = _piling()
    _known(rig, series, instance_of(series, reminders=(_reminder(offset=HOUR),)))
    await rig.begin()
    assert await rig.dates.next_due() == NEXT_DATE - 3 * HOUR
    rig.store.flush()
    rig.dates = type(rig.dates)(rig.clock)
    rig._assemble()
    await rig.begin()
    assert await rig.dates.next_due() == NEXT_DATE - 3 * HOUR


async def test_a_task_that_vanished_meanwhile_is_awaited_at_its_date(rig: Rig) -> None:
    series = _piling()
    await rig.evaluation.on_series(series.model_copy(update={"tip": tip_of(instance_of(series))}))
    assert await rig.dates.next_due() == NEXT_DATE


async def test_weeks_of_downtime_are_made_up_for_fifty_a_sweep(rig: Rig) -> None:
    series = _piling(rrule="FREQ=DAILY", policies={"overdue": "catch_up"})
    task = await _opened(rig, series)
    rig.clock.instant = NOW + timedelta(days=120)
    made: list[str] = []
    for expected in (50, 50, 20):
        rig.publisher.published.clear()
        for _ in range(3):  # every replica ticks, and ticks overlap
            await rig.by_schedule.sweep()
        (offer,) = rig.publisher.published
        slots = [offer, *offer.further]
        assert len(slots) == expected
        made += [one.occurrence_key for one in slots]
        for one in slots:
            task = instance_of(series, occurrence_key=one.occurrence_key, predecessor_task_id=task.task_id)
            _known(rig, series, task)
            await rig.evaluation.on_task(task)
        rig.clock.advance(HOUR)
    rig.publisher.published.clear()
    await rig.by_schedule.sweep()
    assert rig.publisher.published == []
    assert made == sorted(set(made))
    assert len(made) == 120


async def test_next_future_makes_one_after_weeks(rig: Rig) -> None:
    await _opened(rig, _piling(rrule="FREQ=DAILY"))
    await _sweep_at(rig, NOW + timedelta(days=40))
    (offer,) = rig.publisher.published
    assert offer.occurrence_key == "2025-05-03T09:00:00"
    assert offer.further == ()


async def test_what_is_reopened_behind_its_date_goes_on_at_once(rig: Rig) -> None:
    series = _piling()
    task = await _opened(rig, series)
    rig.clock.instant = NEXT_DATE + HOUR
    back = later(task, 3)
    _known(rig, series, back)
    await rig.evaluation.on_task(back)
    await rig.by_schedule.sweep()
    assert set(rig.publisher.keys) == {NEXT_MONDAY}


async def test_an_edit_that_lets_instances_pile_up_counts_at_once(rig: Rig) -> None:
    series = series_of()
    task = await _opened(rig, series)
    rig.clock.instant = NEXT_DATE + HOUR
    edited = _piling(series_id=series.series_id, version=2, tip=tip_of(task))
    assert await rig.evaluation.on_series(rig.task_api.knows(edited)) is Outcome.PROPOSED
    assert rig.publisher.keys == [NEXT_MONDAY]
    await _sweep_at(rig, NEXT_DATE + HOUR + CHECK_AFTER)
    assert rig.publisher.keys == [NEXT_MONDAY] * 2, "nobody took it up"


async def test_a_search_that_is_given_up_is_begun_again_each_day(
    rig: Rig,
) -> None:
    """A rule that costs too much is not one that is over: it stays in the index, and goes on once it can be told."""
    task = await _opened(rig, _piling(rrule="FREQ=WEEKLY;BYDAY=MO;BYSETPOS=2"))
    assert await rig.dates.next_due() == NOW + GIVEN_UP_AGAIN_AFTER
    await _sweep_at(rig, NOW + GIVEN_UP_AGAIN_AFTER)
    assert rig.publisher.published == []
    assert await rig.dates.next_due() == NOW + 2 * GIVEN_UP_AGAIN_AFTER
    assert task.series_id is not None
    told = rig.task_api.known[task.series_id]
    rig.task_api.knows(told.model_copy(update={"rrule": "FREQ=WEEKLY;BYDAY=MO"}))
    await _sweep_at(rig, NOW + 8 * GIVEN_UP_AGAIN_AFTER)
    assert set(rig.publisher.keys) == {NEXT_MONDAY}


async def test_the_slow_pass_finds_an_instance_that_was_never_heard_of(rig: Rig) -> None:
    series = _piling()
    await _opened(rig, series)
    made = instance_of(series, occurrence_key=NEXT_MONDAY)
    _known(rig, series, made)
    await rig.reconcile.step()
    assert await rig.dates.depth() == 2
    rig.clock.instant = NEXT_DATE + timedelta(days=7)
    await rig.by_schedule.sweep()
    assert rig.publisher.keys == ["2025-04-07T09:00:00"]


async def test_the_alarm_rings_for_the_earliest_date(rig: Rig) -> None:
    assert rig.by_schedule.is_later_than(NOW)
    assert await rig.by_schedule.ring() == LONGEST_PAUSE
    await _opened(rig)
    rig.clock.instant = NEXT_DATE - timedelta(minutes=10)
    assert await rig.by_schedule.ring() == timedelta(minutes=10)
    assert rig.by_schedule.is_later_than(NEXT_DATE - timedelta(minutes=1))
    assert not rig.by_schedule.is_later_than(NEXT_DATE)
    rig.state.doubt()
    rig.clock.instant = NEXT_DATE
    assert await rig.by_schedule.ring() == SHORTEST_PAUSE
    assert rig.publisher.published == []


async def test_counted_from_completion_nothing_is_awaited(rig: Rig) -> None:
    await _opened(rig, _piling(policies={"anchor": "completion"}))
    assert await rig.dates.depth() == 0


async def test_the_document_keeps_how_far_ahead(rig: Rig) -> None:
    task = await _opened(rig)
    assert task.series_id is not None
    rig.task_api.known_tasks.clear()
    await rig.evaluation.on_series(rig.task_api.known[task.series_id])
    generation = await rig.documents.generation()
    assert generation is not None
    found = await rig.documents.read(
        generation.name, task_id=task.task_id, series_id=task.series_id, user_id=task.user_id
    )
    assert found.task is not None
    assert found.task.value.ahead == timedelta()
    assert found.task.value.occurrence_key == MONDAY
