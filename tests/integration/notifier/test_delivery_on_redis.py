"""The delivery suites on a real Redis, and what only Redis can show: what is left in it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from redis.asyncio import Redis
from tests.unit.notifier.delivery_behaviour import CrashBehaviour, DeliveryBehaviour
from tests.unit.notifier.digest_behaviour import DigestBehaviour, DigestCrashBehaviour, asleep, fire
from tests.unit.notifier.inbox_behaviour import InboxBehaviour, IndexBehaviour
from tests.unit.notifier.lane_behaviour import LaneBehaviour, LaneWorld
from tests.unit.notifier.late_behaviour import LateBehaviour
from tests.unit.notifier.occurrence_behaviour import OccurrenceBehaviour
from tests.unit.notifier.samples import USER, completed, notification, snapshot
from tests.unit.notifier.world import LEASE, World

from event_contracts.topics import TOPICS
from event_contracts.values import Channel
from notifier.adapters.redis_deliveries import RedisDeliveries
from notifier.adapters.redis_entries import DEDUPE_TTL
from notifier.adapters.redis_lanes import RedisLanes
from notifier.domain.notifications import CHANNELS


@pytest.fixture
def laned(world: World, redis: Redis) -> LaneWorld:
    assert isinstance(world.deliveries, RedisDeliveries)
    lanes = RedisLanes(redis, world.deliveries, world.clock, lease=LEASE, clock_offset=True)
    return LaneWorld(lanes, world)


class TestDeliveryOnRedis(DeliveryBehaviour):
    pass


class TestCrashesOnRedis(CrashBehaviour):
    pass


class TestDigestsOnRedis(DigestBehaviour):
    async def test_nothing_of_them_is_left(self, world: World, redis: Redis) -> None:
        await asleep(world)
        await fire(world, "a", "b", "c")
        await world.advance(timedelta(hours=1))
        await world.settle()
        left = {key.partition(":")[0] for key in await keys(redis)}
        assert not left & {"delivery", "followers", "digests-of"}
        await asleep(world)
        await fire(world, "d", "e")
        await world.replica().hear_user_deleted(USER)
        assert await keys(redis) == [f"erased:{USER}"]


class TestDigestCrashesOnRedis(DigestCrashBehaviour):
    pass


class TestLatenessOnRedis(LateBehaviour):
    pass


class TestOccurrencesOnRedis(OccurrenceBehaviour):
    pass


class TestLanesOnRedis(LaneBehaviour):
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
    assert len(announced) == len(CHANNELS)
    for key in announced:
        assert await redis.ttl(key) > TOPICS["reminder-due"].retention.total_seconds() * 2
    assert TOPICS["reminder-due"].retention < DEDUPE_TTL


async def test_a_finished_delivery_leaves_only_its_dedupe_keys_and_attempts(
    world: World, redis: Redis
) -> None:
    task = world.commit(snapshot())
    await world.replica().hear_due(task)
    await world.settle()
    await world.replica().hear_task(world.commit(completed(task)))
    left = {key.partition(":")[0] for key in await keys(redis)}
    assert left == {"announced", "attempts", "deliveries-of", "inbox"}


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
    assert sorted(str(entry.task_id) for entry in entries) == sorted(str(task.task_id) for task in tasks)
    assert sorted(str(mail.task_id) for mail in world.mailer.sent) == sorted(
        str(task.task_id) for task in tasks
    )
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


async def test_who_waits_for_nobody_outside_comes_again_soon(world: World, redis: Redis) -> None:
    """When whoever had claimed it is gone."""
    inside = timedelta(seconds=10)
    deliveries = RedisDeliveries(redis, world.clock, lease=LEASE, inside_lease=inside, clock_offset=True)
    for channel in CHANNELS:
        await deliveries.enqueue(notification(snapshot()), channel)
        assert len(await deliveries.claim(channel, 1)) == 1
    await world.advance(inside)
    again = {channel for channel in CHANNELS if await deliveries.claim(channel, 1)}
    assert again == set(CHANNELS) - {Channel.EMAIL}
    await world.advance(LEASE)
    assert len(await deliveries.claim(Channel.EMAIL, 1)) == 1
