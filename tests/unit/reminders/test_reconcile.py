"""The slow pass: what differs from task-api is mended and counted, and nothing else is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from tests.unit.reminders.conftest import START, FreeLock, Rig, completed, later, reminder, snapshot

from event_contracts.tasks import TaskSnapshot
from reminders.application.reconcile import Reconciler
from reminders.domain.document import Document
from service_kit.rebuild import IN_PROGRESS

HOUR = timedelta(hours=1)


@pytest.fixture
def reconciler(rig: Rig) -> Reconciler:
    rig.clock.advance(HOUR)
    return Reconciler(
        rig.markers, rig.documents, rig.index, rig.task_api, FreeLock(), rig.applier(), rig.clock
    )


def reminded(rig: Rig, **fields: Any) -> TaskSnapshot:
    return rig.task_api.commit(snapshot(reminders=(reminder(at=START + 9 * HOUR),), **fields))


async def mended(reconciler: Reconciler, steps: int = 4) -> dict[str, int]:
    """What was mended in so many steps, by what was wrong."""

    def counted(what: str) -> int:
        return int(REGISTRY.get_sample_value("reminder_mended_total", {"what": what}) or 0)

    kinds = ("document", "index", "announcement")
    before = {what: counted(what) for what in kinds}
    for _ in range(steps):
        await reconciler.step()
    return {what: more for what in kinds if (more := counted(what) - before[what])}


async def test_what_is_as_it_should_be_is_left_alone(rig: Rig, reconciler: Reconciler) -> None:
    for _ in range(5):
        await rig.applier().apply(reminded(rig))
    writes = rig.state.writes
    assert await mended(reconciler) == {}
    assert rig.state.writes == writes


async def test_a_lost_document_comes_back(rig: Rig, reconciler: Reconciler) -> None:
    tasks = [reminded(rig) for _ in range(5)]
    assert await mended(reconciler) == {"document": 5}
    for task in tasks:
        assert await rig.documents.get(rig.generation, task.task_id) is not None
    assert await rig.index.depth() == 5
    assert await mended(reconciler) == {}


async def test_a_document_that_is_behind_catches_up(rig: Rig, reconciler: Reconciler) -> None:
    task = reminded(rig)
    await rig.applier().apply(task)
    rig.task_api.commit(later(task, 4, reminders=(reminder(at=START + 8 * HOUR),)))
    assert await mended(reconciler) == {"document": 1}


async def test_a_lost_place_in_the_index_comes_back(rig: Rig, reconciler: Reconciler) -> None:
    task = reminded(rig)
    await rig.applier().apply(task)
    rig.index._shards = [{} for _ in rig.index._shards]
    assert await mended(reconciler) == {"index": 1}
    assert await rig.index.depth() == 1


async def test_what_was_not_told_is_told(rig: Rig, reconciler: Reconciler, monkeypatch: Any) -> None:
    monkeypatch.setattr(Document, "unannounced", lambda _: iter(()))
    await rig.applier().apply(reminded(rig))
    monkeypatch.undo()
    assert rig.scheduled() == []
    assert await mended(reconciler) == {"announcement": 1}
    assert len(rig.scheduled()) == 1


async def test_a_lost_closing_is_found_among_what_changed(rig: Rig, reconciler: Reconciler) -> None:
    """The open tasks alone would not show it: task-api lists it no more."""
    task = reminded(rig)
    await rig.applier().apply(task)
    await mended(reconciler)
    rig.clock.advance(HOUR)
    rig.task_api.commit(completed(later(task, 2, updated_at=rig.clock.instant), 2))
    rig.clock.advance(HOUR)
    assert await mended(reconciler) == {"document": 1}
    stored = await rig.documents.get(rig.generation, task.task_id)
    assert stored is not None
    assert not stored.document.is_open


async def test_a_closed_task_without_a_document_is_no_loss(rig: Rig, reconciler: Reconciler) -> None:
    """As after each rebuild, which brings back the open ones."""
    lately = rig.clock.instant - timedelta(minutes=5)
    for gone in ({}, {"deleted_at": lately}):
        closed = completed(reminded(rig), 2)
        rig.task_api.commit(closed.model_copy(update={"updated_at": lately} | gone))
    assert await mended(reconciler) == {}


async def test_what_changed_a_moment_ago_is_left_to_its_event(rig: Rig, reconciler: Reconciler) -> None:
    reminded(rig, updated_at=rig.clock.instant - timedelta(seconds=20))
    assert await mended(reconciler) == {}
    rig.clock.advance(HOUR)
    assert await mended(reconciler) == {"document": 1}


async def test_a_fired_reminder_is_not_taken_for_a_lost_one(rig: Rig, reconciler: Reconciler) -> None:
    await rig.applier().apply(reminded(rig))
    rig.clock.advance(10 * HOUR)
    await rig.firer().fire_all()
    assert await rig.index.depth() == 0
    assert await mended(reconciler) == {}


@pytest.mark.parametrize("present", [True, False])
async def test_a_rebuild_is_not_disturbed(rig: Rig, reconciler: Reconciler, present: bool) -> None:
    rig.state.flush()
    if present:
        await rig.markers.create(1, IN_PROGRESS)
    reminded(rig)
    assert await mended(reconciler) == {}


async def test_one_replica_at_a_time_and_none_while_task_api_is_away(
    rig: Rig, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    reminded(rig)
    with monkeypatch.context() as patched:
        patched.setattr(FreeLock, "taken", True)
        assert await mended(reconciler) == {}
    rig.task_api.away = True
    assert await mended(reconciler) == {}
    rig.task_api.away = False
    assert await mended(reconciler) == {"document": 1}
