"""The hourly sweep, and building everything anew."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.unit.recurrence.conftest import NEXT_MONDAY, NOW, Rig, closed, instance_of, series_of, tip_of

from event_contracts.recurrence import GenerationReason
from event_contracts.series import SeriesSnapshot
from event_contracts.values import ClosedBy
from recurrence import metrics
from recurrence.application.errors import DocumentWriteFailed, TaskApiAway
from recurrence.application.keep_complete import LOOK_AGAIN_AFTER
from recurrence.domain.checks import CHECK_AFTER, CHECK_AGAIN_AFTER, GIVEN_UP_AGAIN_AFTER

HOUR = timedelta(hours=1)


async def _completed(rig: Rig) -> SeriesSnapshot:
    """A series whose completed tip was proposed, and whose proposal nobody has heard."""
    series = series_of()
    done = closed(instance_of(series), 2)
    rig.task_api.knows(series.model_copy(update={"tip": tip_of(done)}))
    await rig.evaluation.on_task(done)
    rig.publisher.published.clear()
    return rig.task_api.known[series.series_id]


def _is_complete(rig: Rig) -> bool:
    return rig.state.is_complete


async def test_a_closed_tip_without_successor_is_proposed_again_each_hour(rig: Rig) -> None:
    await _completed(rig)
    await rig.sweep_after(CHECK_AFTER - timedelta(seconds=1))
    assert rig.publisher.published == []
    for _ in range(3):
        await rig.sweep_after(HOUR)
    assert rig.publisher.keys == [NEXT_MONDAY] * 3
    assert {one.why for one in rig.publisher.published} == {GenerationReason.REPAIR}
    assert await rig.index.depth() == 1


async def test_a_repair_carries_the_same_proposal(rig: Rig) -> None:
    series = series_of()
    done = closed(instance_of(series), 2)
    rig.task_api.knows(series.model_copy(update={"tip": tip_of(done)}))
    await rig.evaluation.on_task(done)
    await rig.sweep_after(HOUR)
    first, again = rig.publisher.published
    assert again == first.model_copy(
        update={"why": GenerationReason.REPAIR, "generated_at": again.generated_at}
    )


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda series: None, id="gone"),
        pytest.param(lambda series: series.model_copy(update={"tip": None}), id="no tip"),
        pytest.param(
            lambda series: series.model_copy(update={"tip": tip_of(instance_of(series))}), id="moved on"
        ),
        pytest.param(
            lambda series: series.model_copy(
                update={"tip": series.tip.model_copy(update={"closed_version": 5, "version": 5})}
            ),
            id="closed again",
        ),
        pytest.param(
            lambda series: series.model_copy(
                update={"tip": series.tip.model_copy(update={"closed_by": ClosedBy.WITHDRAWN, "version": 5})}
            ),
            id="withdrawn",
        ),
        pytest.param(lambda series: series.model_copy(update={"paused": True, "version": 2}), id="paused"),
        pytest.param(lambda series: series.model_copy(update={"ended": True, "version": 2}), id="ended"),
        pytest.param(
            lambda series: series.model_copy(update={"rrule": "FREQ=DAILY;COUNT=1", "version": 2}), id="over"
        ),
    ],
)
async def test_what_moved_on_is_settled(
    rig: Rig, change: Callable[[SeriesSnapshot], SeriesSnapshot | None]
) -> None:
    series = await _completed(rig)
    changed = change(series)
    if changed is None:
        del rig.task_api.known[series.series_id]
    else:
        rig.task_api.knows(changed)
    await rig.sweep_after(HOUR)
    assert rig.publisher.published == []
    assert await rig.index.depth() == 0


async def test_a_search_that_is_given_up_does_not_end_the_series(rig: Rig) -> None:
    """It is asked again each day, and an engine that reaches farther, or a changed rule, lets it go on."""
    over, given_up = metrics.series_over._value.get(), metrics.expansion_bound._value.get()
    series = series_of(rrule="FREQ=WEEKLY;BYDAY=MO;BYSETPOS=2")
    done = closed(instance_of(series), 2)
    rig.task_api.knows(series.model_copy(update={"tip": tip_of(done)}))
    await rig.evaluation.on_task(done)
    assert (metrics.series_over._value.get(), metrics.expansion_bound._value.get()) == (over, given_up + 1)
    for day in (1, 2):
        await rig.sweep_after(GIVEN_UP_AGAIN_AFTER)
        assert rig.publisher.published == []
        assert await rig.index.next_due() == NOW + (day + 1) * GIVEN_UP_AGAIN_AFTER
    rig.task_api.knows(series.model_copy(update={"tip": tip_of(done), "rrule": "FREQ=WEEKLY;BYDAY=MO"}))
    await rig.sweep_after(GIVEN_UP_AGAIN_AFTER)
    assert rig.publisher.keys == [NEXT_MONDAY]


async def test_a_sweep_without_task_api_leaves_everything_for_the_next(rig: Rig) -> None:
    await _completed(rig)
    rig.task_api.away = True
    await rig.sweep_after(HOUR)
    assert await rig.index.depth() == 1
    rig.task_api.away = False
    await rig.sweep_after(HOUR)
    assert rig.publisher.keys == [NEXT_MONDAY]


async def test_two_replicas_share_what_is_due(rig: Rig) -> None:
    other = rig.another()
    await other.begin()
    for _ in range(10):
        await _completed(rig)
    rig.clock.advance(HOUR)
    await rig.repair.sweep()
    await other.repair.sweep()
    assert len(rig.publisher.published) == 10


async def test_nothing_is_claimed_while_it_is_being_rebuilt(rig: Rig) -> None:
    await _completed(rig)
    rig.state.doubt()
    await rig.sweep_after(HOUR)
    assert rig.publisher.published == []


async def test_checks_are_asked_again_before_the_next_hourly_tick() -> None:
    assert CHECK_AGAIN_AFTER < HOUR


async def test_an_empty_store_is_built_from_task_api(make_rig: Callable[[], Rig]) -> None:
    rig = make_rig()
    for _ in range(5):
        series = series_of()
        rig.task_api.knows(series.model_copy(update={"tip": tip_of(closed(instance_of(series), 2))}))
    await rig.keeper.step()
    assert rig.state.is_complete
    assert rig.publisher.keys == [NEXT_MONDAY] * 5
    await rig.keeper.step()
    assert len(rig.publisher.published) == 5


async def test_a_flushed_store_is_built_anew(rig: Rig) -> None:
    series = await _completed(rig)
    before = await rig.documents.generation()
    rig.store.flush()
    woken = []
    rig.state.on_doubt(lambda: woken.append(True))
    rig.state.doubt()
    assert woken
    assert not _is_complete(rig)
    await rig.keeper.step()
    after = await rig.documents.generation()
    assert _is_complete(rig)
    assert before is not None
    assert after is not None
    assert after.name != before.name
    assert rig.publisher.keys == [NEXT_MONDAY]
    assert rig.publisher.published[0].series_id == series.series_id


async def test_a_new_epoch_begins_a_new_generation(rig: Rig) -> None:
    rig.task_api.current_epoch = 2
    await rig.keeper.step()
    generation = await rig.documents.generation()
    assert generation is not None
    assert generation.epoch == 2
    assert rig.state.is_complete


async def test_a_rebuild_that_died_is_taken_up_again_in_the_same_generation(
    make_rig: Callable[[], Rig],
) -> None:
    rig = make_rig()
    for _ in range(3):
        series = series_of()
        rig.task_api.knows(series.model_copy(update={"tip": tip_of(closed(instance_of(series), 2))}))
    rig.publisher.error = TaskApiAway("died")
    with pytest.raises(TaskApiAway):
        await rig.keeper.step()
    assert not rig.state.is_complete
    begun = await rig.documents.generation()
    other = rig.another()
    await other.keeper.step()
    assert other.state.is_complete
    assert await other.documents.generation() == begun
    assert len({one.series_id for one in rig.publisher.published}) == 3


async def test_only_one_replica_rebuilds(make_rig: Callable[[], Rig]) -> None:
    rig = make_rig()
    rig.redis.locked = True
    assert await rig.keeper.step() == LOOK_AGAIN_AFTER
    assert not rig.state.is_complete
    assert await rig.documents.generation() is None


async def test_without_task_api_what_is_complete_stays_so_and_what_is_not_does_not(
    rig: Rig, make_rig: Callable[[], Rig]
) -> None:
    rig.task_api.away = True
    await rig.keeper.step()
    assert rig.state.is_complete
    other = make_rig()
    other.task_api.away = True
    await other.keeper.step()
    assert not other.state.is_complete


async def test_a_redis_that_was_restarted_is_gone_over_once(rig: Rig) -> None:
    await _completed(rig)
    rig.redis.run = "run-2"
    assert await rig.keeper.step() is None
    assert rig.publisher.keys == [NEXT_MONDAY]
    assert rig.state.is_complete
    await rig.keeper.step()
    assert rig.publisher.keys == [NEXT_MONDAY]


async def test_a_series_written_by_an_event_at_the_same_moment_is_taken_up_again(
    make_rig: Callable[[], Rig],
) -> None:
    rig = make_rig()
    series = rig.task_api.knows(series_of(updated_at=NOW))
    tries = []

    async def take_up(snapshot: SeriesSnapshot) -> bool:
        tries.append(snapshot)
        if len(tries) < 3:
            raise DocumentWriteFailed("409")
        return False

    rig.keeper._take_up = take_up
    await rig.keeper.step()
    assert tries == [series] * 3
