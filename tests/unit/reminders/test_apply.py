"""Applying snapshots: twice, backwards, crashed half-way, from before a restore, with the store away."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import timedelta
from uuid import uuid4

import pytest
from tests.unit.reminders.conftest import LONG_AGO, START, USER, Rig, completed, later, reminder, snapshot

from event_contracts.origin import Origin
from event_contracts.tasks import TaskSnapshot
from event_contracts.topics import DEAD_LETTER_RETENTION
from reminders.adapters.dapr_documents import TOMBSTONE_TTL
from reminders.application.erase_person import PersonEraser
from reminders.application.take_up import take_up
from reminders.domain.document import Document
from reminders.domain.member import Member
from service_kit import marker
from service_kit.sidecar import SidecarUnavailable
from service_kit.state_store import Replacement, StateConflict, StateUnavailable

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
    original = rig.state.replace_many

    async def failing(*args: object, **kwargs: object) -> None:
        if landed:
            await original(*args, **kwargs)  # type: ignore[arg-type]
        raise error

    rig.state.replace_many = failing  # type: ignore[method-assign]
    assert not await rig.applier().apply(task)
    rig.state.replace_many = original  # type: ignore[method-assign]
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


@pytest.mark.parametrize("what", ["deleted", "moved", "removed"])
async def test_what_fired_untold_is_told_before_it_is_forgotten(rig: Rig, what: str) -> None:
    """Its time came while `reminder-scheduled` could not be published; then the task changes."""
    one = reminder(at=SOON)
    task = snapshot(reminders=(one,))
    rig.sidecar.fail_next(SidecarUnavailable("circuit breaker is open"))
    with pytest.raises(SidecarUnavailable):
        await rig.applier().apply(task)
    rig.clock.advance(SOON - START)
    await rig.firer().fire_all()
    assert len(rig.sidecar.events("reminder-due")) == 1
    newer = {
        "deleted": later(completed(task, 2), 2, deleted_at=SOON),
        "moved": later(task, 2, reminders=(one.model_copy(update={"at": SOON + LONG_AGO, "set_at": SOON}),)),
        "removed": later(task, 2, reminders=()),
    }[what]
    rig.sidecar.fail_next(SidecarUnavailable("circuit breaker is open"))
    with pytest.raises(SidecarUnavailable):
        await rig.applier().apply(newer)
    assert rig.scheduled() == [], "it has not been told yet"
    for _ in range(2):
        assert await rig.applier().apply(newer)
    told = [one for one in rig.sidecar.events("reminder-scheduled") if one["data"]["version"] == 1]
    assert len(told) == 1
    assert len(rig.sidecar.events("reminder-scheduled")) == (2 if what == "moved" else 1)


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


async def test_a_closed_task_is_kept_for_as_long_as_an_older_event_may_come(rig: Rig) -> None:
    """Those that lay in the dead-letter topic among them."""
    task = snapshot(reminders=(reminder(at=START + timedelta(days=90)),))
    assert await rig.applier().apply(task)
    assert await rig.applier().apply(completed(task, 2))
    rig.clock.advance(DEAD_LETTER_RETENTION + timedelta(days=6))
    assert await rig.applier().apply(task)
    stored = await rig.documents.get(rig.generation, task.task_id)
    assert stored is not None
    assert not stored.document.is_open
    rig.clock.advance(TOMBSTONE_TTL)
    assert await rig.documents.get(rig.generation, task.task_id) is None


async def test_a_task_reopened_after_its_document_went_reminds_of_what_has_not_fired(rig: Rig) -> None:
    heard, ahead = reminder(at=SOON), reminder(at=START + timedelta(days=90))
    task = snapshot(reminders=(heard, ahead))
    assert await rig.applier().apply(task)
    assert await rig.applier().apply(completed(task, 2))
    rig.clock.advance(TOMBSTONE_TTL + timedelta(days=1))
    await rig.firer().fire_all()
    known = heard.model_copy(update={"fired_for": SOON})
    assert await rig.applier().apply(later(task, 3, reminders=(known, ahead)))
    (key,) = [key for key in rig.state.keys if key != "marker"]
    assert rig.state.expires_at(key) is None, "an open task's stays"
    rig.clock.advance(timedelta(days=90))
    await rig.firer().fire_all()
    assert [one for _, one in rig.fired()] == [str(ahead.reminder_id)]


async def test_a_member_whose_closed_task_was_forgotten_is_dropped_at_its_time(rig: Rig) -> None:
    task = snapshot(reminders=(reminder(at=START + timedelta(days=90)),))
    assert await rig.applier().apply(task)
    assert await rig.applier().apply(rig.task_api.commit(completed(task, 2)))
    rig.clock.advance(timedelta(days=91))
    await rig.firer().fire_all()
    assert rig.fired() == []
    assert await rig.index.depth() == 0


async def _version_after_a_late_write(rig: Rig) -> int:
    """Version 2 is read and merged; then Redis is flushed, all is built again at version 3, and 2 is written."""
    first = snapshot(reminders=(reminder(at=SOON),))
    assert await rig.applier().apply(first)
    write = rig.state.replace_many

    async def late(documents: Sequence[Replacement]) -> None:
        rig.state.replace_many = write  # type: ignore[method-assign]
        rig.state.flush()
        await rig.begin()
        assert await rig.applier().apply(later(first, 3))
        await write(documents)

    rig.state.replace_many = late  # type: ignore[method-assign]
    await rig.applier().apply(later(first, 2))
    stored = await rig.documents.get(rig.generation, first.task_id)
    assert stored is not None
    return stored.document.version


async def test_who_read_before_a_flush_overwrites_nothing_after_it(rig: Rig) -> None:
    assert await _version_after_a_late_write(rig) == 3


async def test_it_is_the_generation_in_the_key_that_keeps_a_late_writer_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ETags count from 1 again after a flush: with the same keys the late write would fit."""
    monkeypatch.setattr(marker, "token_hex", lambda _: "always")
    rig = Rig()
    await rig.begin()
    assert await _version_after_a_late_write(rig) == 2


async def test_many_are_taken_up_together_and_one_that_changed_meanwhile_stays_newer(rig: Rig) -> None:
    tasks = [snapshot(reminders=(reminder(at=SOON),)) for _ in range(250)]
    moved = later(tasks[7], 2, reminders=(reminder(at=SOON + timedelta(hours=1)),))
    write, requests = rig.state.replace_many, list[int]()

    async def overtaken(documents: Sequence[Replacement]) -> None:
        requests.append(len(documents))
        if len(requests) == 1:
            assert await rig.applier().apply(moved)
        await write(documents)

    rig.state.replace_many = overtaken  # type: ignore[method-assign]
    assert await take_up(rig.applier(), tasks)
    assert max(requests) == 100, "many in one request"
    stored = await rig.documents.get_many(rig.generation, [task.task_id for task in tasks])
    assert len(stored) == 250
    assert stored[moved.task_id].document.version == 2
    assert not any(list(one.document.unannounced()) for one in stored.values())
    assert await rig.index.missing([str(next(_members(one.document))) for one in stored.values()]) == set()
    assert len(rig.scheduled()) == 250, "the older version of the one that changed was not announced"


def _members(document: Document) -> Iterator[Member]:
    return (Member(document.task_id, one.reminder_id, one.fire_ms) for one in document.pending())


async def _erase(rig: Rig) -> None:
    assert await PersonEraser(rig.markers, rig.upcoming).erase(USER)


async def test_nothing_of_an_erased_person_is_taken_up(rig: Rig) -> None:
    """Their events may still be on their way, or among the dead letters, when the person is gone."""
    await _erase(rig)
    task = snapshot(reminders=(reminder(at=SOON),))
    other = snapshot(user_id=uuid4(), reminders=(reminder(at=SOON),))
    assert await rig.applier().apply_many([task, other]) == []
    assert await rig.documents.get(rig.generation, task.task_id) is None
    assert list(rig.upcoming.members) == [other.user_id]
    assert await rig.index.depth() == len(rig.scheduled()) == 1


async def test_the_end_of_an_erased_persons_task_takes_its_document(rig: Rig) -> None:
    task = snapshot(reminders=(reminder(at=SOON),))
    assert await rig.applier().apply(task)
    await _erase(rig)
    told = rig.scheduled()
    assert await rig.applier().apply(later(task, 1)), (
        "an older one does not bring back what the person had ahead"
    )
    assert await rig.applier().apply(later(completed(task, 3), 3, deleted_at=START))
    assert await rig.applier().apply(later(task, 2))
    stored = await rig.documents.get(rig.generation, task.task_id)
    assert stored is not None
    assert stored.document.is_deleted
    assert rig.upcoming.members == {}
    assert rig.scheduled() == told


async def test_who_comes_back_with_a_restored_database_is_reminded_again(rig: Rig) -> None:
    await _erase(rig)
    await rig.begin(epoch=2)
    assert await rig.applier().apply(snapshot(epoch=2, reminders=(reminder(at=SOON),)))
    assert await rig.index.depth() == 1


async def test_without_a_marker_an_erasure_comes_again(rig: Rig) -> None:
    rig.state.flush()
    assert not await PersonEraser(rig.markers, rig.upcoming).erase(USER)


def _from_before() -> TaskSnapshot:
    """Said before the generation began."""
    long_before = START - 2 * LONG_AGO
    return snapshot(updated_at=long_before, created_at=long_before, reminders=(reminder(at=SOON),))


async def test_a_task_that_is_no_more_is_not_brought_back_after_a_flush(rig: Rig) -> None:
    """Its tombstone went with the flush, and a dead letter of it is replayed."""
    task = _from_before()
    assert await rig.applier().apply(task)
    assert await rig.documents.get(rig.generation, task.task_id) is None
    assert await rig.index.depth() == 0
    assert rig.task_api.asked == [task.task_id]


@pytest.mark.parametrize("is_open", [True, False])
async def test_an_event_from_before_the_generation_counts_as_its_task_stands_now(
    rig: Rig, is_open: bool
) -> None:
    task = _from_before()
    now = later(task, 4, title="Other") if is_open else completed(task, 4)
    rig.task_api.commit(now)
    origin = Origin("00-" + "1" * 32 + "-" + "2" * 16 + "-01", "call")
    assert await rig.applier().apply(task, origin)
    stored = await rig.documents.get(rig.generation, task.task_id)
    assert stored is not None
    assert (stored.document.version, stored.document.origin) == (4, origin)
    assert await rig.index.depth() == is_open


async def test_an_event_that_waits_for_task_api_comes_again(rig: Rig) -> None:
    task = rig.task_api.commit(_from_before())
    rig.task_api.away = True
    with pytest.raises(SidecarUnavailable):
        await rig.applier().apply(task)
    assert await rig.index.depth() == 0
    rig.task_api.away = False
    assert await rig.applier().apply(task)
    assert await rig.index.depth() == 1


async def test_task_api_is_asked_for_nothing_that_cannot_be_long_past(rig: Rig) -> None:
    """Not behind a backlog, not of what it has just given, of what is known, or of what has ended."""
    rig.clock.advance(timedelta(days=1))
    known = _from_before()
    assert await rig.applier().apply(known, just_asked=True)
    for task in (known, later(known, 2), snapshot(), completed(_from_before(), 2)):
        assert await rig.applier().apply(task)
    assert await take_up(rig.applier(), [_from_before()])
    assert rig.task_api.asked == []


async def test_where_nobody_noted_when_the_generation_began_all_that_is_not_of_now_is_asked_for(
    rig: Rig,
) -> None:
    rig.generation = (await rig.markers.create(1, "run")).generation
    task = snapshot()
    assert await rig.applier().apply(task)
    rig.clock.advance(timedelta(minutes=2))
    gone = snapshot()
    assert await rig.applier().apply(gone)
    assert rig.task_api.asked == [gone.task_id]
