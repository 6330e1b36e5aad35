"""News of a task in any order: the newest counts, a copy repeats its effects, a lost race is read again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from itertools import permutations

import pytest
from tests.unit.notifier.samples import START, USER, completed, deleted, later, message, reopened, snapshot
from tests.unit.notifier.world import World, memory_world

from event_contracts.tasks import TaskSnapshot
from event_contracts.topics import TOPICS
from event_contracts.values import Channel
from notifier.adapters.dapr_records import TOMBSTONE_TTL, DaprTaskRecords
from notifier.domain.task_record import record_of
from service_kit.marker import MarkerStore
from service_kit.pubsub import Outcome
from service_kit.state_store import StateConflict, StateUnavailable, Stored


@pytest.fixture
async def world() -> World:
    return await memory_world()


def key(world: World, task: TaskSnapshot) -> str:
    return f"{world.generation}:{task.task_id.hex}"


async def stored(world: World, task: TaskSnapshot) -> object:
    records = DaprTaskRecords(world.state, MarkerStore(world.state))
    return (await records.load(task.task_id)).record


async def test_news_of_many_tasks_at_once_read_their_records_together(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, unknown = [snapshot() for _ in range(20)], snapshot()
    for task in known:
        await world.replica().hear_task(task)
    records, read, asked = DaprTaskRecords(world.state, MarkerStore(world.state)), world.state.get_many, []

    async def noted(keys: Iterable[str]) -> dict[str, Stored]:
        asked.append(wanted := list(keys))
        return await read(wanted)

    monkeypatch.setattr(world.state, "get_many", noted)
    found = await asyncio.gather(*(records.load(task.task_id) for task in (*known, unknown)))
    assert [one.record for one in found] == [*map(record_of, known), None]
    assert [len(keys) for keys in asked] == [21]


async def test_every_order_of_the_same_news_ends_the_same(world: World) -> None:
    for order in permutations(range(3)):
        task = snapshot()
        story = [task, completed(task), reopened(completed(task))]
        for position in (*order, *reversed(order)):
            assert await world.replica().hear_task(story[position]) is Outcome.SUCCESS
        assert await stored(world, task) == record_of(story[-1])


async def test_a_reopened_task_is_not_cleared_by_its_old_end(world: World) -> None:
    task = snapshot()
    done = completed(task)
    replica = world.replica()
    await replica.hear_task(reopened(done))
    await world.inbox.add(message(task), None, START)
    await replica.hear_task(done)
    assert await world.unread(USER) == 1


async def test_an_end_that_stalls_before_it_clears_leaves_what_came_since_unread(world: World) -> None:
    """Completed, opened again and snoozed: the person must hear of the snooze, however long the first process stood
    still."""
    task = snapshot()
    done = completed(task)
    world.commit(again := reopened(done))
    stands_still, goes_on = asyncio.Event(), asyncio.Event()

    async def gate(step: str) -> None:
        if step == "before inbox.clear":
            stands_still.set()
            await goes_on.wait()

    await world.replica().hear_task(task)
    slow = asyncio.create_task(world.replica(gate).hear_task(done))
    await stands_still.wait()
    replica = world.replica()
    await replica.hear_task(again)
    await replica.hear_due(again)
    await replica.work(Channel.INBOX)
    goes_on.set()
    assert await slow is Outcome.SUCCESS
    assert await world.unread(USER) == 1
    await replica.hear_task(completed(again))
    assert await world.unread(USER) == 0


async def test_the_same_news_again_does_what_a_dead_process_left(world: World) -> None:
    task = snapshot()
    done = completed(task)
    replica = world.replica()
    await replica.hear_task(done)
    await world.inbox.add(message(task), None, START)
    await replica.hear_task(task)
    assert await world.unread(USER) == 0, "older news re-assert the newest state"


async def test_a_higher_epoch_wins_over_a_higher_version(world: World) -> None:
    task = later(snapshot(), version=9)
    restored = snapshot(task_id=task.task_id, version=2, epoch=2)
    replica = world.replica()
    for news in (restored, task):
        await replica.hear_task(news)
    assert await stored(world, task) == record_of(restored)


async def test_news_below_the_markers_epoch_are_of_a_past_that_is_gone() -> None:
    world = await memory_world()
    await MarkerStore(world.state).create(2, "run")
    task = snapshot()
    assert await world.replica().hear_task(task) is Outcome.SUCCESS
    assert await stored(world, task) is None


async def test_without_a_marker_it_comes_again(world: World) -> None:
    world.state.flush()
    assert await world.replica().hear_task(snapshot()) is Outcome.RETRY
    assert world.state.keys == []


async def test_a_lost_race_against_newer_news_is_fine(world: World) -> None:
    task = snapshot()
    await world.replica().hear_task(task)
    done = completed(task)

    async def overtaken(step: str) -> None:
        if step == "before state.replace":
            await world.replica().hear_task(reopened(done))

    assert await world.replica(overtaken).hear_task(done) is Outcome.SUCCESS
    assert await stored(world, task) == record_of(reopened(done))


@pytest.mark.parametrize("failure", [StateConflict("by the test"), StateUnavailable("by the test")])
@pytest.mark.parametrize("landed", [True, False])
async def test_what_is_stored_decides_about_a_write_that_failed(
    world: World, failure: StateConflict | StateUnavailable, landed: bool
) -> None:
    """A copy of the same news may have written it, or the answer to our own write was lost."""
    task = snapshot()
    await world.inbox.add(message(task), None, START)
    done = completed(task)

    async def failing(step: str) -> None:
        if step == "before state.create":
            world.state.fail_next(failure, landed=landed)

    outcome = await world.replica(failing).hear_task(done)
    assert outcome is (Outcome.SUCCESS if landed else Outcome.RETRY)
    assert await world.unread(USER) == (not landed)
    assert await world.replica().hear_task(done) is Outcome.SUCCESS
    assert await world.unread(USER) == 0


async def test_a_state_store_that_cannot_be_read_is_a_retry(world: World) -> None:
    world.state.fail_next(StateUnavailable("by the test"))
    assert await world.replica().hear_task(snapshot()) is Outcome.RETRY


async def test_a_tombstone_outlives_the_topic_and_a_live_record_stays(world: World) -> None:
    task = snapshot()
    gone = deleted(task)
    replica = world.replica()
    await replica.hear_task(gone)
    expires = world.state.expires_at(key(world, task))
    assert expires is not None
    retention = max(topic.retention for topic in TOPICS.values())
    assert expires - await world.clock.now() == TOMBSTONE_TTL > retention
    await world.advance(timedelta(days=1))
    await replica.hear_task(gone)
    assert world.state.expires_at(key(world, task)) == expires + timedelta(days=1)
    await replica.hear_task(reopened(gone).model_copy(update={"deleted_at": None}))
    assert world.state.expires_at(key(world, task)) is None
