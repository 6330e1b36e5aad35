"""Each handler on a real state store and a real Redis: copies, reordering, a crash at every point, two at once."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest
from tests.integration.reminders.conftest import LEASE, MINUTE, Place, reminded
from tests.integration.reminders.fault_points import Died, FaultPoints
from tests.unit.reminders.conftest import completed, later

from event_contracts.tasks import TaskSnapshot
from reminders.domain.document import State, to_ms

PAST_LEASE = LEASE + timedelta(seconds=1)


async def _dying(work: Callable[[FaultPoints], Awaitable[object]]) -> AsyncIterator[FaultPoints]:
    """Run `work` again and again, each time dying one point later, until it gets through alive."""
    for number in itertools.count():
        faults = FaultPoints(die_at=number)
        try:
            await work(faults)
        except Died:
            yield faults
        else:
            return


async def _state(place: Place, task: TaskSnapshot) -> list[tuple[int, State, int | None]]:
    stored = await place.documents.get(place.generation, task.task_id)
    assert stored is not None
    return [(entry.fire_ms, entry.state, entry.announced_ms) for entry in stored.document.entries]


def _moved(task: TaskSnapshot, version: int, by: timedelta) -> TaskSnapshot:
    (one,) = task.reminders
    assert one.at is not None
    return later(task, version, reminders=(one.model_copy(update={"at": one.at + by}),))


async def test_copies_in_any_order_end_the_same(fresh: Place) -> None:
    for order in sorted(set(itertools.permutations([1, 1, 2, 3, 3]))):
        task = reminded()
        versions = {1: task, 2: _moved(task, 2, MINUTE), 3: _moved(task, 3, 2 * MINUTE)}
        for version in order:
            assert await fresh.applier().apply(versions[version])
        (at,) = (one.at for one in versions[3].reminders)
        assert at is not None
        fire_ms = to_ms(at)
        assert await _state(fresh, task) == [(fire_ms, State.PENDING, fire_ms)], order


async def test_a_delivery_that_died_anywhere_is_healed_by_the_next(fresh: Place) -> None:
    tasks: list[TaskSnapshot] = []
    points: list[str] = []

    async def deliver(faults: FaultPoints) -> None:
        tasks.append(reminded())
        await fresh.applier(faults).apply(tasks[-1])

    async for faults in _dying(deliver):
        points.append(faults.passed[-1])
        assert await fresh.applier().apply(tasks[-1])
        ((fire_ms, state, announced),) = await _state(fresh, tasks[-1])
        assert (state, announced) == (State.PENDING, fire_ms), faults.passed
    assert [point for point in points if point.startswith("after")] == [
        "after read",
        "after get_many",
        "after note",
        "after write_many",
        "after add",
        "after scheduled",
        "after get_many",
        "after write_many",
    ]
    assert await fresh.index.depth() == len(tasks)
    assert len(fresh.scheduled()) == len(tasks)
    await fresh.advance(2 * MINUTE)
    await fresh.firer().fire_all()
    assert len(fresh.fired()) == len(set(fresh.fired())) == len(tasks)


async def test_an_older_delivery_heals_what_died_in_a_newer_one(fresh: Place) -> None:
    tasks: list[TaskSnapshot] = []

    async def deliver(faults: FaultPoints) -> None:
        tasks.append(reminded())
        await fresh.applier(faults).apply(_moved(tasks[-1], 2, MINUTE))

    async for faults in _dying(deliver):
        written = "after write_many" in faults.passed
        assert await fresh.applier().apply(tasks[-1])
        if not written:
            continue
        ((fire_ms, _, announced),) = await _state(fresh, tasks[-1])
        assert announced == fire_ms
        (at,) = (one.at for one in tasks[-1].reminders)
        assert at is not None
        assert fire_ms == to_ms(at + MINUTE), faults.passed


async def test_a_firing_that_died_anywhere_is_done_after_its_lease_under_the_same_id(fresh: Place) -> None:
    points: list[str] = []
    rounds = 0

    async def fire(faults: FaultPoints) -> None:
        nonlocal rounds
        rounds += 1
        await fresh.applier().apply(reminded(timedelta(seconds=1)))
        await fresh.advance(timedelta(seconds=1))
        await fresh.firer(faults).fire_all()

    async for faults in _dying(fire):
        points.append(faults.passed[-1])
        await fresh.firer().fire_all()
        await fresh.advance(PAST_LEASE)
        await fresh.firer().fire_all()
        assert len(set(fresh.fired())) == rounds, faults.passed
        assert len(fresh.fired()) <= rounds + len(points)
        assert await fresh.index.depth() == 0, faults.passed
    done = [
        f"after {step}" for step in ("read", "claim", "read", "get_many", "due", "write_many", "ack_many")
    ]
    assert [point for point in points if point.startswith("after")][: len(done)] == done


async def test_two_replicas_tick_at_once_and_nothing_goes_out_twice(fresh: Place) -> None:
    tasks = [reminded() for _ in range(200)]
    for start in range(0, len(tasks), 4):
        await asyncio.gather(*(fresh.applier().apply(task) for task in tasks[start : start + 4]))
    await fresh.advance(2 * MINUTE)
    await asyncio.gather(*(fresh.firer(batch=20).fire_all() for _ in range(2)))
    assert len(fresh.fired()) == len(set(fresh.fired())) == len(tasks)
    assert await fresh.index.depth() == 0


async def test_two_replicas_get_versions_of_one_task_at_once(fresh: Place) -> None:
    for _ in range(20):
        task = reminded()
        versions = [task, _moved(task, 2, MINUTE), _moved(task, 3, 2 * MINUTE)] * 2
        answers = await asyncio.gather(*(fresh.applier().apply(version) for version in versions))
        for version, accepted in zip(versions, answers, strict=True):
            # What was refused comes again, as the broker would bring it.
            assert accepted or await fresh.applier().apply(version)
        stored = await fresh.documents.get(fresh.generation, task.task_id)
        assert stored is not None
        assert stored.document.version == 3
        assert not list(stored.document.unannounced())


@pytest.mark.parametrize("where", ["claim", "get_many", "due", "write_many"])
async def test_a_replica_that_overslept_its_lease_changes_nothing_more(fresh: Place, where: str) -> None:
    """A claims and is held up; its lease runs out; B claims, fires, marks, acknowledges; then A goes on."""
    task = reminded()
    await fresh.applier().apply(task)
    await fresh.advance(2 * MINUTE)
    steps = ["the marker", "claim", "read", "get_many", "due", "write_many"]
    faults = FaultPoints(wait_at=2 * steps.index(where) + 1)
    held_up = asyncio.create_task(fresh.firer(faults).fire_all())
    await faults.reached.wait()
    assert faults.passed[-1] == f"after {where}"
    await fresh.advance(PAST_LEASE)
    await fresh.firer().fire_all()
    faults.go_on.set()
    await held_up
    assert len(set(fresh.fired())) == 1
    ((_, state, _),) = await _state(fresh, task)
    assert state is State.FIRED
    assert await fresh.index.depth() == 0


async def test_a_completion_that_arrives_between_claim_and_publish_is_in_time(fresh: Place) -> None:
    """Claimed, then completed, then the document is read: it does not fire."""
    task = reminded()
    await fresh.applier().apply(task)
    await fresh.advance(2 * MINUTE)
    faults = FaultPoints(wait_at=3)
    firing = asyncio.create_task(fresh.firer(faults).fire_all())
    await faults.reached.wait()
    assert faults.passed[-1] == "after claim"
    assert await fresh.applier().apply(completed(task, 2))
    faults.go_on.set()
    await firing
    assert fresh.fired() == []
    assert await fresh.index.depth() == 0


@pytest.mark.parametrize("at", [7, 9])
async def test_a_task_that_is_reopened_while_its_member_is_dropped_still_reminds(
    fresh: Place, at: int
) -> None:
    """Claimed and read while completed; reopened, its member still there; then the member is removed."""
    task = reminded()
    await fresh.applier().apply(completed(task, 2))
    await fresh.applier().apply(later(task, 3))
    await fresh.applier().apply(completed(task, 4))
    await fresh.advance(2 * MINUTE)
    faults = FaultPoints(wait_at=at)
    firing = asyncio.create_task(fresh.firer(faults).fire_all())
    await faults.reached.wait()
    assert faults.passed[-1] == {7: "after get_many", 9: "after ack_many"}[at]
    assert await fresh.applier().apply(later(task, 5))
    faults.go_on.set()
    await firing
    await fresh.advance(PAST_LEASE)
    await fresh.firer().fire_all()
    assert len(fresh.fired()) == 1
    assert await fresh.index.depth() == 0


async def test_an_edit_between_publish_and_mark_is_kept(fresh: Place) -> None:
    """Published, then moved by the user, then the mark: the new time stands and fires too."""
    task = reminded()
    await fresh.applier().apply(task)
    await fresh.advance(2 * MINUTE)
    faults = FaultPoints(wait_at=9)
    firing = asyncio.create_task(fresh.firer(faults).fire_all())
    await faults.reached.wait()
    assert faults.passed[-1] == "after due"
    assert await fresh.applier().apply(_moved(task, 2, 5 * MINUTE))
    faults.go_on.set()
    await firing
    await fresh.advance(10 * MINUTE)
    await fresh.firer().fire_all()
    assert len(fresh.fired()) == len(set(fresh.fired())) == 2
    assert await fresh.index.depth() == 0


async def test_a_deletion_that_died_anywhere_erases_and_late_events_do_not_bring_it_back(
    fresh: Place,
) -> None:
    tasks: list[TaskSnapshot] = []

    async def delete(faults: FaultPoints) -> None:
        task = reminded()
        tasks.append(task)
        await fresh.applier().apply(task)
        gone = later(completed(task, 3), 3, deleted_at=task.created_at)
        await fresh.applier(faults).apply(gone)

    async for faults in _dying(delete):
        task = tasks[-1]
        gone = later(completed(task, 3), 3, deleted_at=task.created_at)
        assert await fresh.applier().apply(gone), faults.passed
        for late in (_moved(task, 2, MINUTE), task, gone):
            assert await fresh.applier().apply(late)
        stored = await fresh.documents.get(fresh.generation, task.task_id)
        assert stored is not None
        assert stored.document.is_deleted
        assert stored.document.entries == ()
        (key,) = await fresh.redis.keys(f"*{task.task_id.hex}")
        assert await fresh.redis.pttl(key) > 0
    await fresh.advance(10 * MINUTE)
    await fresh.firer().fire_all()
    assert fresh.fired() == []
    assert await fresh.index.depth() == 0
