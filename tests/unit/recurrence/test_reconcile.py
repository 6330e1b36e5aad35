"""The slow pass: what was never heard of is found, what is on its way is left alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prometheus_client import REGISTRY
from tests.unit.recurrence.conftest import NEXT_MONDAY, Rig, closed, instance_of, series_of, tip_of

from event_contracts.series import SeriesSnapshot
from recurrence.domain.checks import CHECK_AFTER

LONG_AGO = CHECK_AFTER + timedelta(seconds=1)


def _mended(what: str) -> float:
    return REGISTRY.get_sample_value("recurrence_reconciled_total", {"what": what}) or 0.0


async def _heard(rig: Rig, **fields: Any) -> SeriesSnapshot:
    """A series with its open instance, both as task-api has them."""
    series = series_of(**fields)
    task = instance_of(series)
    series = series.model_copy(update={"tip": tip_of(task)})
    rig.task_api.knows(series)
    await rig.evaluation.on_series(series)
    await rig.evaluation.on_task(task)
    return series


async def test_a_completion_that_was_never_heard_of_gets_its_successor(rig: Rig) -> None:
    series = await _heard(rig)
    assert series.tip is not None
    done = closed(instance_of(series, task_id=series.tip.task_id), 2)
    rig.task_api.knows(series.model_copy(update={"tip": tip_of(done)}))
    before = _mended("closing")
    await rig.reconcile.step()
    assert rig.publisher.keys == []  # closed just now: its event may be on its way
    rig.clock.advance(LONG_AGO)
    await rig.reconcile.step()
    await rig.reconcile.step()
    assert rig.publisher.keys == [NEXT_MONDAY]
    assert _mended("closing") == before + 1


async def test_an_edit_that_was_never_heard_of_is_taken_up(rig: Rig) -> None:
    series = await _heard(rig)
    rig.task_api.knows(series.model_copy(update={"version": 2, "rrule": "FREQ=DAILY"}))
    rig.clock.advance(LONG_AGO)
    before = _mended("series")
    await rig.reconcile.step()
    await rig.reconcile.step()
    assert _mended("series") == before + 1


async def test_an_end_that_was_never_heard_of_is_taken_up_by_the_next_pass(rig: Rig) -> None:
    series = await _heard(rig)
    await rig.reconcile.step()
    rig.task_api.knows(
        series.model_copy(update={"version": 2, "ended": True, "updated_at": rig.clock.instant})
    )
    rig.clock.advance(LONG_AGO)
    before = _mended("series")
    await rig.reconcile.step()
    assert _mended("series") == before + 1


async def test_what_is_as_task_api_has_it_is_left_alone(rig: Rig) -> None:
    await _heard(rig)
    rig.clock.advance(LONG_AGO)
    writes = rig.store.writes
    await rig.reconcile.step()
    assert (rig.store.writes, rig.publisher.keys) == (writes, [])


async def test_one_replica_at_a_time_and_none_during_a_rebuild(rig: Rig) -> None:
    series = await _heard(rig)
    rig.task_api.knows(series.model_copy(update={"version": 2}))
    rig.clock.advance(LONG_AGO)
    writes = rig.store.writes
    rig.redis.locked = True
    await rig.reconcile.step()
    rig.redis.locked = False
    rig.state.doubt()
    await rig.reconcile.step()
    assert rig.store.writes == writes


async def test_without_task_api_the_pass_is_made_later(rig: Rig) -> None:
    series = await _heard(rig)
    rig.task_api.knows(series.model_copy(update={"version": 2}))
    rig.clock.advance(LONG_AGO)
    rig.task_api.away = True
    before = _mended("series")
    await rig.reconcile.step()
    assert _mended("series") == before
    rig.task_api.away = False
    await rig.reconcile.step()
    assert _mended("series") == before + 1


async def test_an_erased_user_is_left_out(rig: Rig) -> None:
    series = await _heard(rig)
    await rig.evaluation.on_user_deleted(series.user_id)
    rig.task_api.knows(series.model_copy(update={"version": 2}))
    rig.clock.advance(LONG_AGO)
    writes = rig.store.writes
    await rig.reconcile.step()
    assert rig.store.writes == writes
