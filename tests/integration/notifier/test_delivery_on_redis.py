"""The delivery suites on a real Redis, and what only Redis can show: what is left in it."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis
from tests.unit.notifier.delivery_behaviour import CrashBehaviour, DeliveryBehaviour
from tests.unit.notifier.inbox_behaviour import InboxBehaviour, IndexBehaviour
from tests.unit.notifier.samples import USER, completed, snapshot
from tests.unit.notifier.world import World

from event_contracts.topics import TOPICS
from notifier.adapters.redis_deliveries import DEDUPE_TTL


class TestDeliveryOnRedis(DeliveryBehaviour):
    pass


class TestCrashesOnRedis(CrashBehaviour):
    pass


class TestInboxOnRedis(InboxBehaviour):
    pass


class TestIndexOnRedis(IndexBehaviour):
    pass


async def keys(redis: Redis) -> list[str]:
    """What is in Redis, the test's own clock aside."""
    return [str(key) for key in await redis.keys("*") if not str(key).startswith("test:")]


async def test_dedupe_keys_outlive_the_news(world: World, redis: Redis) -> None:
    await world.replica().hear_due(world.commit(snapshot()))
    announced = await redis.keys("announced:*")
    assert len(announced) == 2
    for key in announced:
        assert await redis.ttl(key) > TOPICS["reminder-due"].retention.total_seconds() * 2
    assert TOPICS["reminder-due"].retention < DEDUPE_TTL


async def test_a_finished_delivery_leaves_only_its_dedupe_keys(world: World, redis: Redis) -> None:
    task = world.commit(snapshot())
    await world.replica().hear_due(task)
    await world.settle()
    await world.replica().hear_task(world.commit(completed(task)))
    left = {key.partition(":")[0] for key in await keys(redis)}
    assert left == {"announced", "inbox", "notifications-of"}


async def test_nothing_of_an_erased_person_is_left(world: World, redis: Redis) -> None:
    task = world.commit(snapshot())
    replica = world.replica()
    await replica.hear_due(task)
    await world.settle()
    await world.inbox.mark_all_read(USER, await world.clock.now())
    # Our clock may be a millisecond ahead of that of Redis.
    await asyncio.sleep(0.01)
    marks = await world.inbox.claim(10)
    assert marks
    await world.inbox.finish([token for *_, token in marks])
    await replica.hear_user_deleted(USER)
    left = await keys(redis)
    assert left == [f"erased:{USER}"]
    assert 0 < await redis.ttl(left[0]) <= 30 * 24 * 3600


async def test_two_replicas_at_once_make_one_of_each(world: World) -> None:
    tasks = [world.commit(snapshot()) for _ in range(40)]
    replicas = [world.replica(), world.replica()]
    await asyncio.gather(*(replica.hear_due(task) for task in tasks for replica in replicas))
    while any(await asyncio.gather(*(replica.work(limit=4) for replica in replicas))):
        pass
    entries = await world.entries(USER)
    assert sorted(entry.task_id for entry in entries) == sorted(task.task_id for task in tasks)
    assert sorted(mail.task_id for mail in world.mailer.sent) == sorted(task.task_id for task in tasks)
    assert len(world.sidecar.events("notification-delivered")) == 2 * len(tasks)


async def test_a_task_being_done_while_it_is_announced_leaves_nothing_unread(world: World) -> None:
    """No gate here: the two really run at once, a hundred times."""
    for _ in range(100):
        task = world.commit(snapshot())
        announcing, closing = world.replica(), world.replica()
        await announcing.hear_due(task)

        async def close() -> None:
            done = world.commit(completed(task))  # noqa: B023
            await closing.hear_task(done)  # noqa: B023

        await asyncio.gather(announcing.work(), close())
        assert await world.unread(USER) == 0
