"""The due index: one behaviour, in memory and on Redis. Time is moved by the offset, in steps far above delays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from service_kit.clock import CLOCK_OFFSET_KEY
from service_kit.due_index import Claim, DueIndex, Lease, shard_by_first_part, to_instant, to_score
from service_kit.testing.fakes import InMemoryDueIndex, ManualClock

LEASE = timedelta(seconds=30)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


class Rig(Protocol):
    """An index whose time the test moves; `start` is close to its present time."""

    start: datetime

    def index(self, **options: Any) -> Any: ...

    async def advance(self, step: timedelta) -> None: ...


class MemoryRig:
    def __init__(self) -> None:
        self._clock = ManualClock()
        self.start = self._clock.instant

    def index(self, **options: Any) -> InMemoryDueIndex:
        return InMemoryDueIndex(self._clock, lease=LEASE, **options)

    async def advance(self, step: timedelta) -> None:
        self._clock.advance(step)


class RedisRig:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._offset = timedelta()
        # A moment ago: scores are rounded up to the millisecond, and Redis may not be there yet.
        self.start = datetime.now(UTC) - timedelta(milliseconds=2)

    def index(self, **options: Any) -> DueIndex:
        return DueIndex(self._redis, "reminders", lease=LEASE, clock_offset=True, **options)

    async def advance(self, step: timedelta) -> None:
        self._offset += step
        await self._redis.set(CLOCK_OFFSET_KEY, self._offset // timedelta(milliseconds=1))


@pytest.fixture(params=["memory", "redis"])
def rig(request: pytest.FixtureRequest) -> Rig:
    if request.param == "memory":
        return MemoryRig()
    return RedisRig(request.getfixturevalue("redis"))


def members(claim: Claim) -> list[str]:
    return sorted(lease.member for lease in claim.leases)


async def test_what_is_due_is_claimed_and_nothing_else(rig: Rig) -> None:
    index = rig.index()
    past, future = rig.start - SECOND, rig.start + MINUTE
    assert await index.add({"a:1": past, "b:1": past, "c:1": future}) == 3
    claim = await index.claim()
    assert members(claim) == ["a:1", "b:1"]
    assert abs(claim.now - rig.start) < 5 * SECOND
    await rig.advance(2 * MINUTE)
    assert "c:1" in members(await index.claim())


async def test_what_is_not_there_is_named(rig: Rig) -> None:
    index = rig.index()
    await index.add({f"{number}:x": rig.start - SECOND for number in range(20)})
    assert await index.missing([]) == set()
    assert await index.missing([f"{number}:x" for number in range(22)]) == {"20:x", "21:x"}
    claim = await index.claim()
    assert await index.missing(members(claim)) == set(), "leased is there"
    await index.ack_many(claim.leases)
    assert await index.missing(["3:x"]) == {"3:x"}


async def test_nothing_is_due_before_its_time(rig: Rig) -> None:
    index = rig.index()
    due = rig.start + MINUTE + timedelta(microseconds=1)
    await index.add({"a": due})
    assert (await index.next_due()) >= due
    claim = await index.claim()
    while not claim.leases:
        await rig.advance(20 * SECOND)
        claim = await index.claim()
    assert claim.now >= due


async def test_a_claimed_member_is_hidden_until_its_lease_runs_out(rig: Rig) -> None:
    index = rig.index()
    await index.add({"a": rig.start})
    first = await index.claim()
    assert (await index.claim()).leases == []
    assert first.leases[0].score_ms == to_score(first.now + LEASE)
    await rig.advance(LEASE + SECOND)
    second = await index.claim()
    assert members(second) == ["a"]
    assert second.leases[0].score_ms > first.leases[0].score_ms


async def test_an_acknowledged_member_is_gone(rig: Rig) -> None:
    index = rig.index()
    await index.add({"a": rig.start})
    (lease,) = (await index.claim()).leases
    assert await index.ack(lease)
    assert not await index.ack(lease)
    assert await index.depth() == 0


async def test_one_who_was_too_slow_changes_nothing(rig: Rig) -> None:
    index = rig.index()
    await index.add({"a": rig.start})
    (slow,) = (await index.claim()).leases
    await rig.advance(LEASE + SECOND)
    (quick,) = (await index.claim()).leases
    assert not await index.ack(slow)
    assert not await index.release(slow, rig.start)
    assert await index.depth() == 1
    assert await index.ack(quick)


async def test_an_expired_lease_nobody_took_still_counts(rig: Rig) -> None:
    index = rig.index()
    await index.add({"a": rig.start})
    (lease,) = (await index.claim()).leases
    await rig.advance(LEASE + SECOND)
    assert await index.ack(lease)


async def test_a_lease_of_a_member_that_came_back_is_worth_nothing(rig: Rig) -> None:
    index = rig.index()
    await index.add({"a": rig.start})
    (lease,) = (await index.claim()).leases
    assert await index.ack(lease)
    await index.add({"a": rig.start})
    assert not await index.ack(lease)
    assert await index.depth() == 1


async def test_adding_again_changes_nothing(rig: Rig) -> None:
    index = rig.index()
    assert await index.add({"a": rig.start + MINUTE}) == 1
    assert await index.add({"a": rig.start}) == 0
    assert (await index.claim()).leases == []
    assert await index.next_due() == to_instant(to_score(rig.start + MINUTE))


async def test_adding_again_does_not_take_a_lease_away(rig: Rig) -> None:
    index = rig.index()
    await index.add({"a": rig.start})
    (lease,) = (await index.claim()).leases
    assert await index.add({"a": rig.start}) == 0
    assert (await index.claim()).leases == []
    assert await index.ack(lease)


async def test_a_released_member_is_due_when_it_was_said(rig: Rig) -> None:
    index = rig.index()
    await index.add({"a": rig.start})
    (lease,) = (await index.claim()).leases
    assert await index.release(lease, rig.start + MINUTE)
    assert not await index.ack(lease)
    assert await index.next_due() == to_instant(to_score(rig.start + MINUTE))
    await rig.advance(LEASE + 5 * SECOND)
    assert (await index.claim()).leases == []
    await rig.advance(MINUTE)
    assert members(await index.claim()) == ["a"]


async def test_many_are_acknowledged_each_by_its_own_lease(rig: Rig) -> None:
    index = rig.index()
    await index.add({f"m{number}:x": rig.start for number in range(40)})
    leases = (await index.claim()).leases
    lost = Lease("nobody:x", 0, 1)
    assert await index.ack(leases[3])
    assert await index.ack_many([*leases, lost]) == [number != 3 for number in range(40)] + [False]
    assert await index.ack_many([]) == []
    assert await index.depth() == 0


async def test_the_limit_holds(rig: Rig) -> None:
    index = rig.index()
    await index.add({f"m{number}:x": rig.start for number in range(50)})
    claims = [await index.claim(limit=20) for _ in range(4)]
    assert [len(claim.leases) for claim in claims] == [20, 20, 10, 0]
    assert max(Counter(lease.member for claim in claims for lease in claim.leases).values()) == 1


async def test_one_full_shard_may_take_the_whole_limit(rig: Rig) -> None:
    index = rig.index()
    await index.add({f"same:{number}": rig.start for number in range(50)})
    assert len((await index.claim(limit=30)).leases) == 30


async def test_what_belongs_together_lives_together(rig: Rig) -> None:
    index = rig.index(shards=8)
    await index.add({f"task-7:{number}": rig.start for number in range(10)})
    assert {lease.shard for lease in (await index.claim()).leases} == {shard_by_first_part("task-7", 8)}


async def test_the_shard_may_be_chosen(rig: Rig) -> None:
    index = rig.index()
    await index.add({"a": rig.start, "b": rig.start}, shard_of=lambda member: 2 if member == "a" else 7)
    leases = (await index.claim()).leases
    assert {lease.member: lease.shard for lease in leases} == {"a": 2, "b": 3}
    assert await index.ack_many(leases) == [True, True]


async def test_the_next_due_is_the_earliest_of_all_shards(rig: Rig) -> None:
    index = rig.index()
    assert await index.next_due() is None
    await index.add({f"m{number}": rig.start + number * MINUTE for number in range(1, 9)})
    assert await index.next_due() == to_instant(to_score(rig.start + MINUTE))


async def test_a_sweep_takes_all_that_is_due(rig: Rig) -> None:
    index = rig.index()
    await index.add({f"m{number}:x": rig.start for number in range(130)} | {"later": rig.start + MINUTE})
    sizes: list[int] = []

    async def handle(claim: Claim) -> None:
        sizes.append(len(claim.leases))
        assert all(await index.ack_many(claim.leases))

    assert await index.sweep(handle, limit=50) == 130
    assert max(sizes) <= 50
    assert await index.depth() == 1


async def test_a_sweep_ends_when_members_are_given_back_at_once(rig: Rig) -> None:
    index = rig.index()
    await index.add({"a": rig.start, "b": rig.start})

    async def give_back(claim: Claim) -> None:
        for lease in claim.leases:
            await index.release(lease, rig.start)

    assert await index.sweep(give_back, limit=2) == 4


async def test_a_sweep_leaves_to_their_leases_what_a_handler_did_not_do(rig: Rig) -> None:
    index = rig.index()
    await index.add({"a": rig.start, "b": rig.start})

    async def fail(claim: Claim) -> None:
        raise ValueError("gone")

    with pytest.raises(ValueError, match="gone"):
        await index.sweep(fail)
    assert (await index.claim()).leases == []
    await rig.advance(LEASE + SECOND)
    assert members(await index.claim()) == ["a", "b"]


@pytest.mark.parametrize("offset", [timedelta(0), timedelta(hours=5, minutes=30)])
def test_scores_are_rounded_up(offset: timedelta) -> None:
    base = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
    assert to_score(base) == 1_772_366_400_000
    assert to_score(base + timedelta(microseconds=1)) == 1_772_366_400_001
    assert to_score(base + timedelta(microseconds=1000)) == 1_772_366_400_001
    assert to_instant(to_score(base + offset)) == base + offset


def test_an_instant_has_an_offset() -> None:
    with pytest.raises(ValueError, match="offset"):
        to_score(datetime(2026, 3, 1))


# Redis alone


async def test_without_the_setting_the_offset_is_not_honoured(redis: Redis) -> None:
    index = DueIndex(redis, "reminders", lease=LEASE)
    await redis.set(CLOCK_OFFSET_KEY, 3_600_000)
    await index.add({"a": datetime.now(UTC) + MINUTE})
    claim = await index.claim()
    assert claim.leases == []
    assert abs(claim.now - datetime.now(UTC)) < 5 * SECOND


async def test_keys_carry_their_shard_in_a_hash_tag(redis: Redis) -> None:
    await DueIndex(redis, "deliveries", shards=2).add({"a": datetime.now(UTC) - SECOND}, shard_of=lambda _: 1)
    assert await redis.keys("*") == ["{due:deliveries:1}"]


async def test_small_limits_serve_every_shard_in_turn(redis: Redis) -> None:
    index = DueIndex(redis, "x", shards=4)
    past = datetime.now(UTC) - SECOND
    mixed = {f"{shard}-{number}": past for shard in range(4) for number in range(3)}
    await index.add(mixed, shard_of=lambda member: int(member[0]))
    seen = [lease.shard for _ in range(8) for lease in (await index.claim(limit=1)).leases]
    assert Counter(seen) == {0: 2, 1: 2, 2: 2, 3: 2}


async def test_two_indexes_do_not_see_each_other(redis: Redis) -> None:
    await DueIndex(redis, "one").add({"a": datetime.now(UTC) - SECOND})
    assert (await DueIndex(redis, "two").claim()).leases == []


async def test_a_large_add_is_cut_in_parts(redis: Redis) -> None:
    index = DueIndex(redis, "big")
    far = datetime.now(UTC) + timedelta(days=1)
    assert await index.add({f"{uuid4()}:{number}": far for number in range(3_000)}) == 3_000
    assert await index.depth() == 3_000


async def test_it_outlives_a_restart_that_forgets_the_scripts(connection: Redis, own_redis: Any) -> None:
    index = DueIndex(connection, "reminders", shards=4)
    await index.add({f"m{number}": datetime.now(UTC) - SECOND for number in range(20)})
    (first, *others) = (await index.claim()).leases
    assert await index.ack(first)
    own_redis.kill()
    await own_redis.start()
    assert await connection.script_exists(index._ack_script.sha) == [False]
    assert await index.ack_many(others) == [True] * 19
    await index.add({"again": datetime.now(UTC) - SECOND})
    (lease,) = (await index.claim()).leases
    assert await index.release(lease, datetime.now(UTC) + MINUTE)


@pytest.mark.parametrize("forget", ["claim", "ack", "release"])
async def test_each_script_is_loaded_again_when_it_was_forgotten(connection: Redis, forget: str) -> None:
    index = DueIndex(connection, "x")
    await index.add({"a": datetime.now(UTC) - SECOND})
    if forget == "claim":
        await connection.script_flush()
    (lease,) = (await index.claim()).leases
    await connection.script_flush()
    call: Callable[[], Any] = (
        (lambda: index.ack(lease)) if forget == "ack" else (lambda: index.release(lease, datetime.now(UTC)))
    )
    assert await call()
