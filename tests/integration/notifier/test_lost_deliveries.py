"""What of an announced notification is missing in Redis, and what is not."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from tests.unit.notifier.samples import START, USER, message, notification, snapshot
from tests.unit.notifier.world import LEASE, World

from event_contracts.notifications import DeliveryOutcome
from event_contracts.values import Channel
from notifier.adapters.redis_deliveries import RedisDeliveries
from notifier.adapters.redis_entries import attempts_key, dedupe_key, entry_key, member_of
from notifier.adapters.redis_lanes import RedisLanes
from notifier.adapters.redis_lost import RedisLostDeliveries
from notifier.application.ports import Settled
from notifier.domain.announced import Announced, Told
from notifier.domain.lanes import Lane
from notifier.domain.notifications import CHANNELS, OUTSIDE


@pytest.fixture
def lost(redis: Redis, world: World) -> RedisLostDeliveries:
    return RedisLostDeliveries(redis, _deliveries(redis, world), world.clock)


@pytest.fixture
def lanes(redis: Redis, world: World) -> RedisLanes:
    return RedisLanes(redis, _deliveries(redis, world), world.clock, lease=LEASE, clock_offset=True)


def _deliveries(redis: Redis, world: World) -> RedisDeliveries:
    return RedisDeliveries(redis, world.clock, lease=LEASE, clock_offset=True)


def _announced(*told: tuple[Channel, DeliveryOutcome], at: UUID | None = None) -> Announced:
    ended = [Told(channel, outcome, 1, None, START, at) for channel, outcome in told]
    return Announced(notification(snapshot()), ended, None)


async def test_what_was_put_back_and_queued_is_not_missing(world: World, lost: RedisLostDeliveries) -> None:
    delivered = _announced(
        (Channel.INBOX, DeliveryOutcome.DELIVERED), (Channel.EMAIL, DeliveryOutcome.CANCELLED)
    )
    fresh = _announced()
    for one in (delivered, fresh):
        assert await lost.missing([delivered, fresh]) >= {one.notification.notification_id}
        if one.told:
            await lost.put_back([Settled(one, one.ended_on)])
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
    await lost.put_back([Settled(one, one.ended_on)])
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
    await lost.put_back([Settled(one, one.ended_on)])
    assert await lost.missing([one]) == set()


async def test_of_two_destinations_the_one_with_an_outcome_is_known_and_the_other_can_be_queued(
    world: World, lost: RedisLostDeliveries, lanes: RedisLanes
) -> None:
    done, open_ = Lane(Channel.WEBHOOK, uuid4()), Lane(Channel.WEBHOOK, uuid4())
    one = _announced((Channel.WEBHOOK, DeliveryOutcome.DELIVERED), at=done.destination)
    await lost.put_back([Settled(one, ())])
    for channel in CHANNELS:
        assert await world.deliveries.enqueue(one.notification, channel), "the channel is spread once more"
    assert await lost.missing([one]) == set()
    assert not await lanes.enqueue_in(done, one.notification)
    assert await lanes.enqueue_in(open_, one.notification)
    (attempt,) = await world.deliveries.attempts(USER, one.notification.notification_id)
    assert (attempt.destination, attempt.outcome) == (done.destination, DeliveryOutcome.DELIVERED)


@pytest.mark.parametrize("what", ["that it was queued", "that it ended"])
async def test_each_part_of_a_destination_that_is_gone_makes_it_missing(
    world: World, redis: Redis, lost: RedisLostDeliveries, lanes: RedisLanes, what: str
) -> None:
    lane = Lane(Channel.WEBHOOK, uuid4())
    one = _announced((Channel.WEBHOOK, DeliveryOutcome.DELIVERED), at=lane.destination)
    identity = one.notification.notification_id
    member = member_of(identity, lane.channel, lane.destination)
    for channel in CHANNELS:
        await world.deliveries.enqueue(one.notification, channel)
    await lanes.enqueue_in(lane, one.notification)
    await lost.put_back([Settled(one, one.ended_on)])
    assert await lost.missing([one]) == set()
    assert await lanes.depths() == dict.fromkeys(OUTSIDE, 0), "what is over is taken out of its lane"
    if what == "that it was queued":
        await redis.delete(dedupe_key(member))
    else:
        await redis.hset(entry_key(member), "attempts", "1")
    assert await lost.missing([one]) == {identity}
    await lost.put_back([Settled(one, one.ended_on)])
    assert await lost.missing([one]) == set()


async def test_a_destination_waits_for_its_task_in_its_own_lane(
    world: World, lost: RedisLostDeliveries, lanes: RedisLanes
) -> None:
    lane = Lane(Channel.CHAT, uuid4())
    one = _announced((Channel.CHAT, DeliveryOutcome.CANCELLED), at=lane.destination)
    await lost.put_back([Settled(one, one.ended_on, {(lane.channel, lane.destination)})])
    (waits,) = await world.deliveries.shelved(USER, one.notification.task_id)
    assert (waits.channel, waits.destination) == (lane.channel, lane.destination)
    assert await lanes.requeue_in(lane, one.notification)
    assert (await lanes.depths())[Channel.CHAT] == 1


async def test_an_inbox_says_what_is_not_in_it(world: World) -> None:
    told = message()
    await world.inbox.add(told, None, START)
    there = (told.user_id, told.notification_id)
    elsewhere = (told.user_id, notification(snapshot()).notification_id)
    assert await world.inbox.missing([there, elsewhere]) == {elsewhere[1]}
    assert await world.inbox.missing([]) == set()
