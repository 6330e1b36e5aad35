"""What this service asks of Redis itself, on a real one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from redis.asyncio import Redis

from recurrence.adapters.redis_checks import INDEX_NAME, RedisChecks
from recurrence.adapters.redis_facts import LOCK_KEY, RedisServerFacts
from recurrence.domain.checks import Check
from service_kit.clock import CLOCK_OFFSET_KEY
from service_kit.due_index import DueIndex


async def test_the_lock_is_one_replicas_and_is_given_back(redis: Redis) -> None:
    first, second = RedisServerFacts(redis), RedisServerFacts(redis)
    async with first.rebuild_lock() as mine:
        assert mine
        assert await redis.pttl(LOCK_KEY) > 0
        async with second.rebuild_lock() as other:
            assert not other
        assert await redis.exists(LOCK_KEY)
    async with second.rebuild_lock() as other:
        assert other


async def test_a_lock_that_was_lost_is_not_taken_from_its_new_owner(redis: Redis) -> None:
    async with RedisServerFacts(redis).rebuild_lock() as mine:
        assert mine
        await redis.set(LOCK_KEY, "another")
    assert await redis.get(LOCK_KEY) == "another"


async def test_the_lock_is_given_back_by_a_rebuild_that_fails(redis: Redis) -> None:
    facts = RedisServerFacts(redis)
    try:
        async with facts.rebuild_lock():
            raise LookupError
    except LookupError:
        pass
    assert not await redis.exists(LOCK_KEY)


async def test_redis_says_which_start_of_it_this_is(redis: Redis) -> None:
    run_id = await RedisServerFacts(redis).run_id()
    assert len(run_id) == 40
    assert run_id == await RedisServerFacts(redis).run_id()


async def test_checks_are_shared_and_come_back_until_they_are_settled(redis: Redis) -> None:
    replicas = [RedisChecks(DueIndex(redis, INDEX_NAME, clock_offset=True)) for _ in range(2)]
    expected = {Check(uuid4(), uuid4(), number) for number in range(1, 40)}
    now = datetime.now(UTC)
    for check in expected:
        await replicas[0].expect(check, now)
        await replicas[1].expect(check, now + timedelta(days=9))
    seen: list[Check] = []
    answer = False

    async def look_at(check: Check, _: datetime) -> bool:
        seen.append(check)
        return answer

    for replica in replicas:
        await replica.sweep(look_at)
    assert len(seen) == len(expected)
    assert set(seen) == expected
    seen.clear()
    answer = True
    await redis.set(CLOCK_OFFSET_KEY, int(timedelta(hours=1).total_seconds() * 1000))
    for replica in replicas:
        await replica.sweep(look_at)
    assert len(seen) == len(expected)
    assert await DueIndex(redis, INDEX_NAME).depth() == 0
