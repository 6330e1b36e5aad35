"""Snapshots in any order: what is proposed, what is kept, what is asked of task-api."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from tests.unit.recurrence.conftest import (
    MONDAY,
    NEXT_MONDAY,
    NOW,
    USER,
    Rig,
    closed,
    instance_of,
    later,
    series_of,
    tip_of,
)

from event_contracts.recurrence import GenerationReason
from event_contracts.series import SeriesSnapshot
from event_contracts.values import ClosedBy
from recurrence.application.errors import DocumentWriteFailed, NotReady, TaskApiAway
from recurrence.application.propose import Outcome
from service_kit.sidecar import SidecarUnavailable
from service_kit.state_store import StateConflict, StateUnavailable


async def test_a_completed_instance_has_a_successor(rig: Rig) -> None:
    series = rig.task_api.knows(series_of())
    done = closed(instance_of(series), 2)
    await rig.evaluation.on_task(done)
    (proposal,) = rig.publisher.published
    assert proposal.series_id == series.series_id
    assert proposal.predecessor_task_id == done.task_id
    assert proposal.predecessor_closed_version == 2
    assert proposal.series_version == 1
    assert proposal.occurrence_key == NEXT_MONDAY
    assert proposal.due_at == NOW.replace(day=31, hour=7, minute=0)
    assert proposal.due_date is None
    assert proposal.why is GenerationReason.COMPLETED
    assert proposal.sentence is not None
    assert "Monday 31 March 2025" in proposal.sentence


async def test_an_all_day_series_gives_a_date(rig: Rig) -> None:
    series = rig.task_api.knows(series_of(start="2025-03-03"))
    await rig.evaluation.on_task(closed(instance_of(series, occurrence_key="2025-03-24"), 2))
    (proposal,) = rig.publisher.published
    assert (proposal.due_at, proposal.due_date) == (None, date(2025, 3, 31))


async def test_skipping_has_a_successor_too(rig: Rig) -> None:
    series = rig.task_api.knows(series_of())
    await rig.evaluation.on_task(closed(instance_of(series), 2, ClosedBy.SKIPPED, deleted_at=NOW))
    assert [one.why for one in rig.publisher.published] == [GenerationReason.SKIPPED]


@pytest.mark.parametrize("by", [ClosedBy.WITHDRAWN, ClosedBy.ERASED])
async def test_what_was_taken_back_or_erased_has_none(rig: Rig, by: ClosedBy) -> None:
    series = rig.task_api.knows(series_of())
    await rig.evaluation.on_task(closed(instance_of(series), 2, by))
    assert rig.publisher.published == []
    assert await rig.index.depth() == 0


async def test_an_open_instance_and_a_task_without_series_have_none(rig: Rig) -> None:
    series = rig.task_api.knows(series_of())
    await rig.evaluation.on_task(instance_of(series))
    await rig.evaluation.on_task(
        closed(instance_of(series, series_id=None, series_version=None, occurrence_key=None), 2)
    )
    await rig.evaluation.on_task(later(instance_of(series), 3))
    assert rig.publisher.published == []
    assert rig.task_api.asked == [series.series_id], "whether it piles up, the series says; once"
    assert await rig.dates.depth() == 0


@pytest.mark.parametrize("field", ["paused", "ended"])
async def test_a_paused_or_ended_series_makes_none(rig: Rig, field: str) -> None:
    series = rig.task_api.knows(series_of(**{field: True}))
    await rig.evaluation.on_task(closed(instance_of(series), 2))
    assert rig.publisher.published == []


async def test_a_series_that_is_over_makes_none_and_is_left_alone(rig: Rig) -> None:
    series = rig.task_api.knows(series_of(rrule="FREQ=WEEKLY;UNTIL=20250330T000000Z;BYDAY=MO"))
    await rig.evaluation.on_task(closed(instance_of(series), 2))
    assert rig.publisher.published == []
    assert await rig.index.depth() == 0


async def test_the_series_is_asked_for_once(rig: Rig) -> None:
    series = rig.task_api.knows(series_of())
    first, second = (closed(instance_of(series), 2) for _ in range(2))
    await rig.evaluation.on_task(first)
    await rig.evaluation.on_task(second)
    assert rig.task_api.asked == [series.series_id]


async def test_an_older_series_than_the_instance_knows_is_asked_for_again(rig: Rig) -> None:
    series = series_of()
    await rig.evaluation.on_series(series)
    edited = rig.task_api.knows(series.model_copy(update={"version": 2, "rrule": "FREQ=WEEKLY;BYDAY=TU"}))
    await rig.evaluation.on_task(closed(instance_of(edited), 2))
    assert rig.publisher.keys == ["2025-03-25T09:00:00"]
    assert rig.publisher.published[0].series_version == 2


async def test_a_newer_series_than_the_instance_knows_counts(rig: Rig) -> None:
    series = series_of()
    await rig.evaluation.on_series(series.model_copy(update={"version": 2, "rrule": "FREQ=WEEKLY;BYDAY=TU"}))
    await rig.evaluation.on_task(closed(instance_of(series), 2))
    assert rig.publisher.keys == ["2025-03-25T09:00:00"]
    assert rig.task_api.asked == []


async def test_a_series_that_is_gone_drops_the_event(rig: Rig) -> None:
    await rig.evaluation.on_task(closed(instance_of(series_of()), 2))
    assert rig.publisher.published == []


async def test_task_api_away_is_tried_again(rig: Rig) -> None:
    series = rig.task_api.knows(series_of())
    done = closed(instance_of(series), 2)
    rig.task_api.away = True
    with pytest.raises(TaskApiAway):
        await rig.evaluation.on_task(done)
    rig.task_api.away = False
    await rig.evaluation.on_task(done)
    assert rig.publisher.keys == [NEXT_MONDAY]


async def test_twice_is_the_same_proposal_twice(rig: Rig) -> None:
    series = rig.task_api.knows(series_of())
    done = closed(instance_of(series), 2)
    await rig.evaluation.on_task(done)
    rig.clock.advance(timedelta(days=30))
    await rig.evaluation.on_task(done)
    first, second = rig.publisher.published
    assert first.model_copy(update={"generated_at": second.generated_at}) == second
    assert await rig.index.depth() == 1


async def test_every_order_of_deliveries_ends_the_same(make_rig: Callable[[], Rig]) -> None:
    series = series_of()
    first = instance_of(series)
    done = closed(first, 2)
    history = [first, done, later(done, 3, title="Other")]
    for order in itertools.permutations([*history, first, done]):
        rig = make_rig()
        rig.task_api.knows(series)
        await rig.begin()
        for task in order:
            await rig.evaluation.on_task(task)
        assert set(rig.publisher.keys) == {NEXT_MONDAY}
        assert {one.predecessor_closed_version for one in rig.publisher.published} == {2}
        stored = await _stored(rig, first.task_id, series)
        assert stored == 3


async def _stored(rig: Rig, task_id: object, series: SeriesSnapshot) -> int:
    generation = await rig.documents.generation()
    assert generation is not None
    known = await rig.documents.read(
        generation.name,
        task_id=task_id,  # type: ignore[arg-type]
        series_id=series.series_id,
        user_id=USER,
    )
    assert known.task is not None
    return known.task.value.version


async def test_a_completion_that_was_taken_back_is_not_proposed_by_the_late_event(rig: Rig) -> None:
    series = rig.task_api.knows(series_of())
    first = instance_of(series)
    await rig.evaluation.on_task(later(first, 3))
    await rig.evaluation.on_task(closed(first, 2))
    assert rig.publisher.published == []


async def test_a_late_event_reasserts_what_the_stored_document_asks_for(rig: Rig) -> None:
    series = rig.task_api.knows(series_of())
    first = instance_of(series)
    rig.publisher.error = SidecarUnavailable("down")
    with pytest.raises(SidecarUnavailable):
        await rig.evaluation.on_task(closed(first, 2))
    await rig.evaluation.on_task(first)
    assert rig.publisher.keys == [NEXT_MONDAY]


async def test_completed_undone_and_completed_again_is_another_closing(rig: Rig) -> None:
    series = rig.task_api.knows(series_of())
    first = instance_of(series)
    await rig.evaluation.on_task(closed(first, 2))
    await rig.evaluation.on_task(later(first, 3))
    await rig.evaluation.on_task(closed(first, 4, at=NOW + timedelta(days=14)))
    assert [(one.occurrence_key, one.predecessor_closed_version) for one in rig.publisher.published] == [
        (NEXT_MONDAY, 2),
        ("2025-04-14T09:00:00", 4),
    ]


async def test_resuming_an_edit_and_an_end_taken_back_count_at_once(rig: Rig) -> None:
    done = closed(instance_of(series_of()), 2)
    series = series_of(series_id=done.series_id, paused=True, tip=tip_of(done))
    assert await rig.evaluation.on_series(series) is Outcome.NOTHING
    resumed = series.model_copy(update={"version": 2, "paused": False, "resumed_at": NOW + timedelta(days=8)})
    assert await rig.evaluation.on_series(resumed) is Outcome.PROPOSED
    edited = resumed.model_copy(update={"version": 3, "rrule": "FREQ=WEEKLY;BYDAY=WE"})
    assert await rig.evaluation.on_series(edited) is Outcome.PROPOSED
    ended = edited.model_copy(update={"version": 4, "ended": True})
    assert await rig.evaluation.on_series(ended) is Outcome.NOTHING
    assert (
        await rig.evaluation.on_series(ended.model_copy(update={"version": 5, "ended": False}))
        is Outcome.PROPOSED
    )
    assert rig.publisher.keys == ["2025-04-07T09:00:00", "2025-04-02T09:00:00", "2025-04-02T09:00:00"]
    assert [one.series_version for one in rig.publisher.published] == [2, 3, 5]


async def test_a_series_with_an_open_tip_is_kept_and_nothing_more(rig: Rig) -> None:
    series = series_of()
    task = instance_of(series)
    assert await rig.evaluation.on_series(series.model_copy(update={"tip": tip_of(task)})) is Outcome.NOTHING
    assert rig.publisher.published == []
    await rig.evaluation.on_task(closed(task, 2))
    assert rig.publisher.keys == [NEXT_MONDAY]
    assert rig.task_api.asked == []


async def test_a_late_series_event_does_not_bring_back_the_old_rule(rig: Rig) -> None:
    series = series_of()
    done = closed(instance_of(series), 2)
    new = series.model_copy(update={"version": 2, "rrule": "FREQ=WEEKLY;BYDAY=WE", "tip": tip_of(done)})
    await rig.evaluation.on_series(new)
    await rig.evaluation.on_series(series.model_copy(update={"tip": tip_of(instance_of(series))}))
    assert {(one.series_version, one.occurrence_key) for one in rig.publisher.published} == {
        (2, "2025-03-26T09:00:00")
    }


async def test_the_tip_in_a_late_series_event_does_not_reopen_the_task(rig: Rig) -> None:
    series = rig.task_api.knows(series_of())
    task = instance_of(series)
    await rig.evaluation.on_task(closed(task, 2))
    await rig.evaluation.on_series(series.model_copy(update={"tip": tip_of(task)}))
    assert await _stored(rig, task.task_id, series) == 2
    assert rig.publisher.keys == [NEXT_MONDAY, NEXT_MONDAY]


async def test_a_rule_that_cannot_be_read_is_logged_and_left(rig: Rig) -> None:
    series = series_of().model_copy(update={"start": "2025-03-03", "rrule": "FREQ=HOURLY"})
    rig.task_api.knows(series)
    await rig.evaluation.on_task(closed(instance_of(series), 2))
    assert rig.publisher.published == []


async def test_without_a_marker_everything_waits(make_rig: Callable[[], Rig]) -> None:
    rig = make_rig()
    series = series_of()
    with pytest.raises(NotReady):
        await rig.evaluation.on_task(closed(instance_of(series), 2))
    with pytest.raises(NotReady):
        await rig.evaluation.on_series(series)
    with pytest.raises(NotReady):
        await rig.evaluation.on_user_deleted(USER)


async def test_a_past_epoch_says_nothing_and_a_new_one_waits_for_the_rebuild(rig: Rig) -> None:
    rig.task_api.current_epoch = 2
    await rig.keeper.step()
    old = rig.task_api.knows(series_of(epoch=1))
    await rig.evaluation.on_task(closed(instance_of(old), 2))
    assert await rig.evaluation.on_series(old) is Outcome.NOTHING
    assert rig.publisher.published == []
    new = rig.task_api.knows(series_of(epoch=3))
    with pytest.raises(NotReady):
        await rig.evaluation.on_task(closed(instance_of(new), 2))


async def test_a_series_of_another_epoch_than_the_documents_waits(rig: Rig) -> None:
    series = series_of()
    rig.task_api.knows(series.model_copy(update={"epoch": 2}))
    with pytest.raises(NotReady):
        await rig.evaluation.on_task(closed(instance_of(series), 2))


@pytest.mark.parametrize("landed", [False, True])
@pytest.mark.parametrize("error", [StateConflict("409"), StateUnavailable("500")])
@pytest.mark.parametrize("call", range(6))
async def test_whatever_call_of_the_store_fails_the_next_delivery_heals(
    make_rig: Callable[[], Rig], call: int, error: Exception, landed: bool
) -> None:
    rig = make_rig()
    series = rig.task_api.knows(series_of())
    await rig.begin()
    failing = _FailingStore(rig, call, error, landed=landed)
    done = closed(instance_of(series), 2)
    for _ in range(3):  # as often as it is delivered until a delivery succeeds
        try:
            await rig.evaluation.on_task(done)
        except (DocumentWriteFailed, StateUnavailable, StateConflict):
            assert failing.failed
        else:
            break
    failing.is_armed = False
    assert set(rig.publisher.keys) == {NEXT_MONDAY}
    assert await rig.index.depth() == 1
    assert await _stored(rig, done.task_id, series) == 2


async def test_a_write_whose_answer_was_a_conflict_is_tried_again_unless_a_newer_one_won(rig: Rig) -> None:
    """Redis away says 409 too: only a higher stored version lets a delivery count as stale."""
    series = rig.task_api.knows(series_of())
    put_task = rig.documents.put_task

    async def landed_all_the_same(*arguments: Any) -> None:
        await put_task(*arguments)
        raise DocumentWriteFailed("409")

    rig.documents.put_task = landed_all_the_same  # type: ignore[assignment, method-assign]
    with pytest.raises(DocumentWriteFailed):
        await rig.evaluation.on_task(closed(instance_of(series), 2))
    assert rig.publisher.published == []


class _FailingStore:
    """Lets the n-th call of the rig's store fail."""

    def __init__(self, rig: Rig, call: int, error: Exception, *, landed: bool) -> None:
        self.failed = False
        self.is_armed = True
        left = itertools.count(call, -1)
        store = rig.store
        for name in ("get", "get_many", "create", "replace"):
            setattr(store, name, self._wrapped(getattr(store, name), left, error, landed=landed))

    def _wrapped(self, call: Any, left: Iterator[int], error: Exception, *, landed: bool) -> Any:
        async def run(*arguments: Any, **named: Any) -> Any:
            fails = self.is_armed and next(left) == 0
            if fails and not landed:
                self.failed = True
                raise error
            answer = await call(*arguments, **named)
            if fails:
                self.failed = True
                raise error
            return answer

        return run


async def test_a_write_that_lost_against_a_newer_one_acts_on_that(rig: Rig) -> None:
    series = rig.task_api.knows(series_of())
    first = instance_of(series)
    other = rig.another()
    await rig.evaluation.on_task(first)
    read = rig.documents.read

    async def read_then_lose(*arguments: Any, **named: Any) -> Any:
        rig.documents.read = read  # type: ignore[method-assign]
        found = await read(*arguments, **named)
        await other.evaluation.on_task(later(first, 3, title="Other"))
        return found

    rig.documents.read = read_then_lose  # type: ignore[method-assign]
    await rig.evaluation.on_task(closed(first, 2))
    assert rig.publisher.published == []
    assert await _stored(rig, first.task_id, series) == 3


async def test_erasing_takes_the_rule_and_late_events_do_not_bring_it_back(rig: Rig) -> None:
    series = rig.task_api.knows(series_of())
    task = instance_of(series)
    await rig.evaluation.on_series(series.model_copy(update={"tip": tip_of(task)}))
    gone = closed(task, 3, ClosedBy.ERASED, deleted_at=NOW)
    await rig.evaluation.on_task(gone)
    await rig.evaluation.on_task(closed(task, 2))
    assert (
        await rig.evaluation.on_series(series.model_copy(update={"tip": tip_of(closed(task, 2))}))
        is Outcome.NOTHING
    )
    assert rig.publisher.published == []
    everything = "".join([str(await rig.store.get(key)) for key in rig.store.keys])
    assert "BYDAY" not in everything
    assert "Berlin" not in everything


async def test_a_deletion_that_is_undone_brings_the_series_back(rig: Rig) -> None:
    """Task-api ends the series with its version 2 and takes it back with 3; those of the instance may be first."""
    series = rig.task_api.knows(series_of())
    task = instance_of(series)
    await rig.evaluation.on_series(series.model_copy(update={"tip": tip_of(task)}))
    await rig.evaluation.on_task(closed(task, 2, ClosedBy.ERASED, deleted_at=NOW, series_version=2))
    ended = series.model_copy(update={"version": 2, "ended": True})
    assert await rig.evaluation.on_series(ended) is Outcome.NOTHING
    back = rig.task_api.knows(series.model_copy(update={"version": 3}))
    done = closed(later(task, 3, series_version=3), 4)
    await rig.evaluation.on_task(done)
    assert rig.publisher.keys == [NEXT_MONDAY]
    await rig.evaluation.on_task(closed(task, 2, ClosedBy.ERASED, deleted_at=NOW, series_version=2))
    assert await rig.evaluation.on_series(back.model_copy(update={"tip": tip_of(done)})) is Outcome.PROPOSED


@pytest.mark.parametrize("user_first", [True, False])
async def test_nothing_of_a_deleted_user_stays_for_good(rig: Rig, *, user_first: bool) -> None:
    series = rig.task_api.knows(series_of())
    task = instance_of(series)
    await rig.evaluation.on_series(series.model_copy(update={"tip": tip_of(task)}))
    await rig.evaluation.on_task(task)
    gone = closed(task, 2, ClosedBy.ERASED, deleted_at=NOW)
    if user_first:
        await rig.evaluation.on_user_deleted(USER)
    await rig.evaluation.on_task(gone)
    if not user_first:
        await rig.evaluation.on_user_deleted(USER)
    kept = [key for key in rig.store.keys if key.startswith(("t:", "s:", "u:"))]
    assert len(kept) == 3
    assert [key for key in kept if rig.store.expires_at(key) is None] == []


async def test_a_series_that_is_written_while_it_is_erased_does_not_stay(rig: Rig) -> None:
    """The edit read that there is no document, then the erasure found none either."""
    series = rig.task_api.knows(series_of())
    task = instance_of(series)
    other, read = rig.another(), rig.documents.read

    async def read_then_pause(*arguments: Any, **named: Any) -> Any:
        rig.documents.read = read  # type: ignore[method-assign]
        found = await read(*arguments, **named)
        await other.evaluation.on_task(closed(task, 2, ClosedBy.ERASED, deleted_at=NOW))
        return found

    rig.documents.read = read_then_pause  # type: ignore[method-assign]
    edit = series.model_copy(update={"tip": tip_of(task)})
    with pytest.raises(DocumentWriteFailed):
        await rig.evaluation.on_series(edit)
    assert await rig.evaluation.on_series(edit) is Outcome.NOTHING
    (key,) = [key for key in rig.store.keys if key.startswith("s:")]
    assert rig.store.expires_at(key) is not None


async def test_a_deleted_user_is_not_taken_up_again(rig: Rig) -> None:
    series = rig.task_api.knows(series_of())
    await rig.evaluation.on_user_deleted(USER)
    await rig.evaluation.on_user_deleted(USER)
    done = closed(instance_of(series), 2)
    await rig.evaluation.on_task(done)
    assert await rig.evaluation.on_series(series.model_copy(update={"tip": tip_of(done)})) is Outcome.NOTHING
    assert rig.publisher.published == []
    assert not any(key.startswith(("t:", "s:")) for key in rig.store.keys)


async def test_what_is_open_stays_and_what_is_closed_goes_by_itself(rig: Rig) -> None:
    series = rig.task_api.knows(series_of())
    task = instance_of(series)
    await rig.evaluation.on_task(task)
    (key,) = [key for key in rig.store.keys if key.startswith("t:")]
    assert rig.store.expires_at(key) is None
    await rig.evaluation.on_task(closed(task, 2))
    expires = rig.store.expires_at(key)
    assert expires is not None
    await rig.evaluation.on_task(later(task, 3))
    assert rig.store.expires_at(key) is None


async def test_the_occurrence_key_of_a_closed_instance_decides_not_the_time_it_was_made(rig: Rig) -> None:
    series = rig.task_api.knows(series_of())
    await rig.evaluation.on_task(closed(instance_of(series, occurrence_key=NEXT_MONDAY), 2))
    assert rig.publisher.keys == ["2025-04-07T09:00:00"]
    assert MONDAY < NEXT_MONDAY
