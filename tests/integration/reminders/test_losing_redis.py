"""The whole service, twice, while its Redis is flushed or killed under it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest_asyncio
from fastapi import FastAPI
from tests.integration.reminders.conftest import MINUTE, Beside, Place, reminded
from tests.unit.reminders.conftest import completed, later

from event_contracts.tasks import TaskSnapshot
from reminders.app import build
from reminders.domain.member import Member
from service_kit.clock import CLOCK_OFFSET_KEY
from service_kit.redis_connection import connect_redis
from service_kit.redis_facts import RedisFacts
from service_kit.testing.waiting import eventually


@pytest_asyncio.fixture(loop_scope="session")
async def replicas(fresh: Place) -> AsyncIterator[list[FastAPI]]:
    """Two of the service, ready."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(2):
            app = build(
                fresh.settings,
                redis=connect_redis(fresh.settings),
                sidecar=Beside(fresh.settings, fresh.bus, fresh.task_api),
            )
            await stack.enter_async_context(app.router.lifespan_context(app))
            made.append(app)
        await eventually(lambda: _all_ready(made))
        yield made


async def _all_ready(replicas: list[FastAPI]) -> bool:
    answers = []
    for app in replicas:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://reminders") as client:
            answers.append((await client.get("/health/ready")).status_code)
    return answers == [200] * len(replicas)


def _known_as_fired(place: Place) -> None:
    """task-api has heard of what fired, as it does by reminder-due."""
    heard = {event["data"]["task_id"]: event["data"]["fire_at"] for event in place.bus.events("reminder-due")}
    for task in list(place.task_api.tasks.values()):
        if str(task.task_id) in heard:
            (one,) = task.reminders
            known = one.model_copy(update={"fired_for": one.at})
            place.task_api.commit(task.model_copy(update={"reminders": (known,)}))


async def test_a_flush_while_a_thousand_are_pending_loses_none_and_doubles_none(
    fresh: Place, replicas: list[FastAPI]
) -> None:
    early = [fresh.task_api.commit(reminded()) for _ in range(50)]
    late = [fresh.task_api.commit(reminded(10 * MINUTE)) for _ in range(1_000)]
    await fresh.redis.delete("reminders||marker")
    await eventually(lambda: _pending(fresh, len(early) + len(late)))
    await eventually(lambda: _all_ready(replicas))
    await fresh.advance(2 * MINUTE)
    await eventually(lambda: _fired(fresh, len(early)))
    _known_as_fired(fresh)
    offset = str(await fresh.redis.get(CLOCK_OFFSET_KEY))
    await fresh.redis.flushall()
    await fresh.redis.set(CLOCK_OFFSET_KEY, offset)
    await eventually(lambda: _pending(fresh, len(late)))
    await eventually(lambda: _all_ready(replicas))
    await fresh.advance(10 * MINUTE)
    await eventually(lambda: _fired(fresh, len(early) + len(late)))
    await eventually(lambda: _pending(fresh, 0))
    assert len(fresh.fired()) == len(set(fresh.fired())) == len(early) + len(late)


async def test_a_dead_letter_from_before_a_flush_brings_no_task_back(
    fresh: Place, replicas: list[FastAPI]
) -> None:
    """The flush took the tombstone, and task-api has removed the task for good."""
    gone, kept = reminded(10 * MINUTE), fresh.task_api.commit(reminded(10 * MINUTE))
    await fresh.redis.flushall()
    await eventually(lambda: _pending(fresh, 1))
    await eventually(lambda: _all_ready(replicas))
    assert await fresh.applier().apply(gone)
    assert await fresh.applier().apply(kept)
    assert not await fresh.redis.keys(f"*{gone.task_id.hex}")
    assert await _pending(fresh, 1)
    assert fresh.task_api.asked == [gone.task_id]


async def test_what_was_told_before_a_flush_is_not_told_again(fresh: Place, replicas: list[FastAPI]) -> None:
    """Of tasks that changed since: their announcement would have another id."""
    tasks = [fresh.task_api.commit(reminded(10 * MINUTE)) for _ in range(20)]
    for task in tasks:
        assert await fresh.applier().apply(task)
    told = fresh.scheduled()
    assert len(told) == len(tasks)
    for task in tasks:
        (one,) = task.reminders
        known = one.model_copy(update={"scheduled_for": one.at})
        fresh.task_api.commit(later(task, 2, title="Changed since", reminders=(known,)))
    await fresh.redis.flushall()
    await eventually(lambda: _pending(fresh, len(tasks)))
    await eventually(lambda: _all_ready(replicas))
    assert fresh.scheduled() == told


async def test_what_a_killed_redis_lost_is_asked_for_again(fresh: Place, replicas: list[FastAPI]) -> None:
    kept, lost = (fresh.task_api.commit(reminded(10 * MINUTE)) for _ in range(2))
    closed = fresh.task_api.commit(reminded(10 * MINUTE))
    for task in (kept, lost, closed):
        assert await fresh.applier().apply(task)
    before = await fresh.markers.read()
    # The last second is what an unsynced log takes: a document and its member, and the news of a completion.
    await _forget(fresh, lost)
    fresh.task_api.commit(completed(closed, 2))
    fresh.server.kill()
    await fresh.server.start()
    await eventually(lambda: _pending(fresh, 3))
    await eventually(lambda: _reconciled(fresh))
    await eventually(lambda: _all_ready(replicas))
    after = await fresh.markers.read()
    assert before is not None
    assert after is not None
    assert after.generation == before.generation
    assert after.run_id != before.run_id
    await fresh.advance(20 * MINUTE)
    await eventually(lambda: _pending(fresh, 0))
    due = fresh.bus.events("reminder-due")
    assert sorted(event["data"]["task_id"] for event in due) == sorted(
        str(task.task_id) for task in (kept, lost)
    )


async def test_the_slow_pass_mends_what_somebody_removed(fresh: Place) -> None:
    task = fresh.task_api.commit(reminded(20 * MINUTE))
    settings = fresh.settings.model_copy(update={"reconcile_seconds": 0.1})
    app = build(
        settings,
        redis=connect_redis(settings),
        sidecar=Beside(settings, fresh.bus, fresh.task_api),
    )
    async with app.router.lifespan_context(app):
        await eventually(lambda: _all_ready([app]))
        assert await fresh.applier().apply(task)
        await _forget(fresh, task)
        await fresh.advance(2 * MINUTE)
        await eventually(lambda: _pending(fresh, 1))


async def test_replaced_generations_are_cleared_away_and_nothing_else(fresh: Place) -> None:
    task = reminded()
    assert await fresh.applier().apply(task)
    replaced, fresh.generation = fresh.generation, (await fresh.markers.create(2, "run")).generation
    assert await fresh.applier().apply(task.model_copy(update={"epoch": 2}))
    assert len(await fresh.redis.keys(f"*{task.task_id.hex}")) == 2
    await RedisFacts(fresh.redis, "reminders").clear_other_generations(fresh.generation)
    assert await fresh.documents.get(fresh.generation, task.task_id) is not None
    assert await fresh.documents.get(replaced, task.task_id) is None
    assert await fresh.markers.read() is not None


async def _forget(place: Place, task: TaskSnapshot) -> None:
    """Lose a task's document and its members of the index."""
    await place.redis.delete(*await place.redis.keys(f"*{task.task_id.hex}"))
    for key in await place.redis.keys("{due:reminders:*"):
        members = [str(member) for member in await place.redis.zrange(key, 0, -1)]
        lost = [member for member in members if Member.parse(member).task_id == task.task_id]
        if lost:
            await place.redis.zrem(key, *lost)


async def _fired(place: Place, count: int) -> bool:
    return len(set(place.fired())) >= count


async def _pending(place: Place, count: int) -> bool:
    return await place.index.depth() == count


async def _reconciled(place: Place) -> bool:
    marker = await place.markers.read()
    return marker is not None and marker.run_id == (await place.redis.info("server"))["run_id"]
