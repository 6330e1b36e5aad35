"""What of an announced notification is missing in Redis, and what is not."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis
from tests.unit.notifier.samples import START, USER, message, notification, snapshot
from tests.unit.notifier.world import LEASE, World

from event_contracts.notifications import DeliveryOutcome
from event_contracts.values import Channel
from notifier.adapters.redis_deliveries import RedisDeliveries
from notifier.adapters.redis_entries import attempts_key, dedupe_key, entry_key, member_of
from notifier.adapters.redis_lost import RedisLostDeliveries
from notifier.domain.announced import Announced, Told
from notifier.domain.notifications import CHANNELS


@pytest.fixture
def lost(redis: Redis, world: World) -> RedisLostDeliveries:
    deliveries = RedisDeliveries(redis, world.clock, lease=LEASE, clock_offset=True)
    return RedisLostDeliveries(redis, deliveries, world.clock)


def _announced(*told: tuple[Channel, DeliveryOutcome]) -> Announced:
    return Announced(
        notification(snapshot()), [Told(channel, outcome, 1, None, START) for channel, outcome in told], None
    )


async def test_what_was_put_back_and_queued_is_not_missing(world: World, lost: RedisLostDeliveries) -> None:
    delivered = _announced(
        (Channel.INBOX, DeliveryOutcome.DELIVERED), (Channel.EMAIL, DeliveryOutcome.CANCELLED)
    )
    fresh = _announced()
    for one in (delivered, fresh):
        assert await lost.missing([delivered, fresh]) >= {one.notification.notification_id}
        if one.told:
            await lost.put_back(one, (), ())
        for channel in CHANNELS:
            await world.deliveries.enqueue(one.notification, channel)
    assert await lost.missing([delivered, fresh]) == set()
    assert await lost.missing([]) == set()


@pytest.mark.parametrize("what", ["that it was queued", "that it ended", "how it ended"])
async def test_each_part_that_is_gone_makes_it_missing(
    world: World, redis: Redis, lost: RedisLostDeliveries, what: str
) -> None:
    one = _announced((Channel.EMAIL, DeliveryOutcome.DELIVERED))
    identity = one.notification.notification_id
    await lost.put_back(one, (), ())
    for channel in CHANNELS:
        await world.deliveries.enqueue(one.notification, channel)
    assert await lost.missing([one]) == set()
    member = member_of(identity, Channel.EMAIL)
    if what == "that it was queued":
        await redis.delete(dedupe_key(member))
    elif what == "that it ended":
        await redis.hset(entry_key(member), "attempts", "1")
    else:
        await redis.delete(attempts_key(USER, identity))
    assert await lost.missing([one]) == {identity}
    await lost.put_back(one, (), ())
    assert await lost.missing([one]) == set()


async def test_an_inbox_says_what_is_not_in_it(world: World) -> None:
    told = message()
    await world.inbox.add(told, START)
    there = (told.user_id, told.notification_id)
    elsewhere = (told.user_id, notification(snapshot()).notification_id)
    assert await world.inbox.missing([there, elsewhere]) == {elsewhere[1]}
    assert await world.inbox.missing([]) == set()
