"""Snapshots that arrive beside each other: together where they can be, each with its own outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from tests.unit.reminders.conftest import START, Rig, later, reminder, snapshot

from event_contracts.origin import Origin
from event_contracts.tasks import TaskSnapshot
from reminders.application.apply_snapshot import NOBODYS, SnapshotApplier
from reminders.application.apply_together import TogetherApplier
from reminders.application.ports import StoredDocument
from service_kit.telemetry import bind_correlation_id, correlation_id

SOON = START + timedelta(minutes=1)


class Watched(SnapshotApplier):
    """Notes what it is asked to apply together, and cannot apply `broken`."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.batches: list[list[TaskSnapshot]] = []
        self.broken: UUID | None = None
        self.correlations: list[str | None] = []

    async def apply_many(
        self,
        tasks: Sequence[TaskSnapshot],
        origins: Mapping[UUID, Origin] = NOBODYS,
        *,
        just_asked: bool = False,
    ) -> list[TaskSnapshot]:
        self.batches.append(list(tasks))
        self.correlations.append(correlation_id())
        await asyncio.sleep(0)
        if self.broken in [task.task_id for task in tasks]:
            raise ValueError("cannot be read")
        return await self.rig.applier().apply_many(tasks, origins, just_asked=just_asked)


@pytest.fixture
def watched(rig: Rig) -> Watched:
    return Watched(rig)


def reminded() -> TaskSnapshot:
    return snapshot(reminders=(reminder(at=SOON),))


async def test_one_alone_waits_for_nobody(watched: Watched) -> None:
    assert await TogetherApplier(watched).apply(task := reminded(), None)
    assert watched.batches == [[task]]


async def test_what_came_meanwhile_goes_together(rig: Rig, watched: Watched) -> None:
    tasks = [reminded() for _ in range(20)]
    applier = TogetherApplier(watched)
    assert all(await asyncio.gather(*(applier.apply(task, None) for task in tasks)))
    assert watched.batches == [tasks[:1], tasks[1:]]
    assert len(rig.scheduled()) == 20


async def test_versions_of_one_task_keep_their_order(watched: Watched) -> None:
    first = reminded()
    task = reminded()
    versions = [later(task, version) for version in (1, 2, 3)]
    applier = TogetherApplier(watched)
    assert all(await asyncio.gather(*(applier.apply(one, None) for one in (first, *versions))))
    assert watched.batches == [[first], *([version] for version in versions)]


async def test_one_that_cannot_be_applied_takes_none_along(rig: Rig, watched: Watched) -> None:
    tasks = [reminded() for _ in range(5)]
    watched.broken = tasks[3].task_id
    applier = TogetherApplier(watched)
    outcomes = await asyncio.gather(*(applier.apply(task, None) for task in tasks), return_exceptions=True)
    assert [outcome is True for outcome in outcomes] == [True, True, True, False, True]
    assert isinstance(outcomes[3], ValueError)
    assert await rig.index.depth() == 4
    assert await applier.apply(reminded(), None), "and it goes on"


async def test_a_conflict_over_one_sends_none_of_the_others_back(rig: Rig, watched: Watched) -> None:
    """Another replica writes one of the tasks between the look at it and the write."""
    tasks = [reminded() for _ in range(5)]
    write_many, raced = rig.documents.write_many, 0

    async def racing(generation: str, documents: Sequence[StoredDocument]) -> None:
        nonlocal raced
        if len(documents) > 1 and not raced:
            raced = len(documents)
            await rig.applier().apply(tasks[2])
        await write_many(generation, documents)

    rig.documents.write_many = racing  # type: ignore[method-assign]
    applier = TogetherApplier(watched)
    assert all(await asyncio.gather(*(applier.apply(task, None) for task in tasks)))
    assert raced == 4
    assert len(rig.scheduled()) == await rig.index.depth() == 5


async def test_without_a_marker_each_comes_again(watched: Watched, rig: Rig) -> None:
    marker = await rig.state.get("marker")
    assert marker is not None
    await rig.state.delete("marker", marker.etag)
    applier = TogetherApplier(watched)
    assert not any(await asyncio.gather(*(applier.apply(reminded(), None) for _ in range(3))))


async def test_who_asked_and_left_is_not_waited_for(watched: Watched) -> None:
    applier = TogetherApplier(watched)
    tasks = [reminded() for _ in range(3)]
    asked = [asyncio.ensure_future(applier.apply(task, None)) for task in tasks]
    await asyncio.sleep(0)
    asked[1].cancel()
    assert await asked[0]
    assert await asked[2]
    assert watched.batches == [tasks[:1], tasks[2:]]


async def test_each_carries_on_its_own_origin(rig: Rig) -> None:
    tasks = [reminded() for _ in range(3)]
    parents = [f"00-{number:032x}-{number:016x}-01" for number in (1, 2, 3)]
    applier = TogetherApplier(rig.applier())
    await asyncio.gather(
        *(
            applier.apply(task, Origin(parent, f"call-{task.task_id}"))
            for task, parent in zip(tasks, parents, strict=True)
        )
    )
    rig.clock.advance(timedelta(minutes=2))
    await rig.firer().fire_all()
    for topic in ("reminder-scheduled", "reminder-due"):
        events = {event["subject"]: event for event in rig.sidecar.events(topic)}
        for task, parent in zip(tasks, parents, strict=True):
            event = events[str(task.task_id)]
            assert event["correlationid"] == f"call-{task.task_id}"
            assert event["traceparent"].split("-")[1] == parent.split("-")[1]
            assert event["traceparent"] != parent, "a span of its own"


async def test_a_batch_works_in_the_context_of_its_first(watched: Watched) -> None:
    applier = TogetherApplier(watched)

    async def ask(name: str) -> bool:
        with bind_correlation_id(name):
            return await applier.apply(reminded(), None)

    assert all(await asyncio.gather(ask("a"), ask("b"), ask("c")))
    assert watched.correlations == ["a", "b"]


async def test_an_origin_outlives_what_nobody_called_for(rig: Rig) -> None:
    """A slow pass or a rebuild knows of no call: what the document knows stays."""
    task = reminded()
    origin = Origin("00-" + "1" * 32 + "-" + "2" * 16 + "-01", "call")
    await rig.applier().apply(task, origin)
    await rig.applier().apply(task)
    stored = await rig.documents.get(rig.generation, task.task_id)
    assert stored is not None
    assert stored.document.origin == origin


async def test_a_document_without_an_origin_is_read(rig: Rig) -> None:
    task = reminded()
    await rig.applier().apply(task)
    stored = await rig.documents.get(rig.generation, task.task_id)
    assert stored is not None
    assert stored.document.origin is None
    assert "o" not in stored.document.dump()
