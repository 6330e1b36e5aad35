"""Through real sidecars, Kafka and Redis: completion to proposal, copies, a flush, a killed process, the repair."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

from redis.asyncio import Redis
from tests.integration.recurrence.conftest import REPLICAS, Stage
from tests.unit.recurrence.conftest import NEXT_MONDAY, closed, instance_of, later, series_of, tip_of

from event_contracts.series import SeriesSnapshot
from event_contracts.tasks import TaskSnapshot
from event_contracts.topics import TOPICS
from service_kit.clock import CLOCK_OFFSET_KEY

HOUR_MS = int(timedelta(hours=1).total_seconds() * 1000)


async def _completed(stage: Stage) -> tuple[SeriesSnapshot, TaskSnapshot]:
    series = series_of()
    done = closed(instance_of(series), 2)
    series = series.model_copy(update={"tip": tip_of(done)})
    await stage.knows(series)
    return series, done


async def test_a_completion_is_answered_with_its_successor(stage: Stage) -> None:
    series, done = await _completed(stage)
    await stage.publish("task.completed.v1", done, done.task_id)
    (event,) = await stage.until_heard(series.series_id)
    proposal = TOPICS["recurring-task-generated"].event_model.model_validate(event).data
    assert proposal.occurrence_key == NEXT_MONDAY
    assert proposal.predecessor_closed_version == 2


async def test_copies_and_late_events_make_one_proposal(stage: Stage) -> None:
    series, done = await _completed(stage)
    opened = later(instance_of(series, task_id=done.task_id), 1)
    await stage.publish("task.updated.v1", later(done, 3, title="Other"), done.task_id)
    for _ in range(3):
        await stage.publish("task.completed.v1", done, done.task_id)
        await stage.publish("task.created.v1", opened, done.task_id)
    events = await stage.until_heard(series.series_id, 7)
    assert len({event["id"] for event in events}) == 1
    assert {event["data"]["occurrence_key"] for event in events} == {NEXT_MONDAY}


async def test_a_resumed_series_goes_on_at_once(stage: Stage) -> None:
    series, done = await _completed(stage)
    paused = series.model_copy(update={"paused": True})
    await stage.publish("series.updated.v1", paused, series.series_id)
    resumed_at = done.updated_at + timedelta(days=8)
    resumed = series.model_copy(update={"version": 2, "resumed_at": resumed_at})
    await stage.publish("series.updated.v1", resumed, series.series_id)
    (event,) = await stage.until_heard(series.series_id)
    assert event["data"]["occurrence_key"] == "2025-04-07T09:00:00"


async def test_a_killed_process_answers_after_it_is_back(stage: Stage) -> None:
    for replica in range(1, REPLICAS + 1):
        stage.instance.kill("recurrence" if replica == 1 else f"recurrence-{replica}")
    series, done = await _completed(stage)
    await stage.publish("task.completed.v1", done, done.task_id)
    for replica in range(1, REPLICAS + 1):
        await asyncio.to_thread(
            stage.instance.restart, "recurrence" if replica == 1 else f"recurrence-{replica}"
        )
    events = await stage.until_heard(series.series_id)
    assert {event["data"]["occurrence_key"] for event in events} == {NEXT_MONDAY}


async def test_the_hourly_tick_repairs_until_there_is_a_successor(stage: Stage) -> None:
    series, done = await _completed(stage)
    await stage.publish("task.completed.v1", done, done.task_id)
    await stage.until_heard(series.series_id)
    async with Redis.from_url(stage.instance.redis_url) as redis:
        await redis.set(CLOCK_OFFSET_KEY, HOUR_MS)
        await stage.tick(1)
        first, again = await stage.until_heard(series.series_id, 2)
        assert again["data"]["why"] == "repair"
        assert again["id"] == first["id"]
        successor = instance_of(series, occurrence_key=NEXT_MONDAY)
        await stage.knows(series.model_copy(update={"tip": tip_of(successor)}))
        await redis.set(CLOCK_OFFSET_KEY, 2 * HOUR_MS)
        for replica in range(1, REPLICAS + 1):
            await stage.tick(replica)
        await redis.set(CLOCK_OFFSET_KEY, 3 * HOUR_MS)
        await stage.tick(1)
        await redis.delete(CLOCK_OFFSET_KEY)
    assert len(await stage.heard(series.series_id)) == 2


async def test_a_flushed_redis_is_filled_again_and_nothing_is_lost(stage: Stage) -> None:
    kept = [await _completed(stage) for _ in range(3)]
    async with Redis.from_url(stage.instance.redis_url) as redis:
        await redis.flushall()
    wanted = {series.series_id for series, _ in kept}

    async def all_proposed() -> bool:
        return all([await stage.heard(series_id) for series_id in wanted])

    await stage.until(all_proposed)
    for replica in range(1, REPLICAS + 1):
        await stage.until(lambda replica=replica: stage.is_ready(replica))  # type: ignore[misc]
    series, done = await _completed(stage)
    await stage.publish("task.completed.v1", done, done.task_id)
    assert await stage.until_heard(series.series_id)


async def test_a_series_that_is_gone_is_no_poison(stage: Stage) -> None:
    orphan = series_of()
    lost = closed(instance_of(orphan), 2)
    series, done = await _completed(stage)
    await stage.publish("task.completed.v1", lost, UUID(int=1))
    await stage.publish("task.completed.v1", done, UUID(int=1))
    assert await stage.until_heard(series.series_id)
    assert await stage.heard(orphan.series_id) == []
