"""Random interleavings of several claimers on a real Redis, held against a model of one sorted set."""

from __future__ import annotations

from asyncio import gather
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from service_kit.clock import CLOCK_OFFSET_KEY
from service_kit.due_index import DueIndex, Lease, to_score

LEASE = timedelta(seconds=30)
STEP = timedelta(seconds=20)
MEMBERS = ("a", "b", "c")
CLAIMERS = (0, 1)

Move = tuple[str, int, int]
moves = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 2), st.integers(-1, 3)),
    st.tuples(st.just("claim"), st.sampled_from(CLAIMERS), st.integers(1, 3)),
    st.tuples(st.just("ack"), st.sampled_from(CLAIMERS), st.integers(0, 5)),
    st.tuples(st.just("release"), st.sampled_from(CLAIMERS), st.integers(0, 5)),
    st.tuples(st.just("advance"), st.integers(1, 2), st.just(0)),
    st.tuples(st.just("forget scripts"), st.just(0), st.just(0)),
)


@dataclass
class Model:
    """What the sorted set must hold, and which leases each claimer was ever given (it may use each again)."""

    scores: dict[str, int] = field(default_factory=dict)
    given: dict[int, list[Lease]] = field(default_factory=lambda: {claimer: [] for claimer in CLAIMERS})
    acknowledged: int = 0

    def holds(self, lease: Lease) -> bool:
        return self.scores.get(lease.member) == lease.score_ms


class Play:
    """Plays moves on the index and on the model, and compares after each."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._index = DueIndex(redis, f"play-{uuid4().hex}", shards=1, lease=LEASE, clock_offset=True)
        self._model = Model()
        self._offset = timedelta()

    async def run(self, chosen: list[Move]) -> None:
        await self._redis.delete(CLOCK_OFFSET_KEY)
        for kind, first, second in chosen:
            match kind:
                case "add":
                    await self._add(MEMBERS[first], second)
                case "claim":
                    await self._claim(first, second)
                case "ack" | "release":
                    await self._finish(kind, first, second)
                case "advance":
                    await self._advance(first)
                case _:
                    await self._redis.script_flush()
            assert await self._index.depth() == len(self._model.scores)
        await self._everything_left_can_still_be_done()

    def _now(self) -> datetime:
        return datetime.now(UTC) + self._offset

    async def _advance(self, steps: int) -> None:
        self._offset += steps * STEP
        await self._redis.set(CLOCK_OFFSET_KEY, self._offset // timedelta(milliseconds=1))

    async def _add(self, member: str, steps: int) -> None:
        due = self._now() + steps * STEP
        added = await self._index.add({member: due})
        assert added == (member not in self._model.scores)
        self._model.scores.setdefault(member, to_score(due))

    async def _claim(self, claimer: int, limit: int) -> None:
        claim = await self._index.claim(limit)
        now = to_score(claim.now)
        due = [member for member, score in self._model.scores.items() if score <= now]
        taken = [lease.member for lease in claim.leases]
        assert set(taken) <= set(due)
        assert len(taken) == min(limit, len(due))
        for lease in claim.leases:
            assert lease.score_ms == now + LEASE // timedelta(milliseconds=1)
            self._model.scores[lease.member] = lease.score_ms
        self._model.given[claimer] += claim.leases

    async def _finish(self, kind: str, claimer: int, which: int) -> None:
        leases = self._model.given[claimer]
        if not leases:
            return
        lease = leases[which % len(leases)]
        mine = self._model.holds(lease)
        if kind == "ack":
            assert await self._index.ack(lease) == mine
            if mine:
                del self._model.scores[lease.member]
        else:
            until = self._now() + STEP
            assert await self._index.release(lease, until) == mine
            if mine:
                self._model.scores[lease.member] = to_score(until)

    async def _everything_left_can_still_be_done(self) -> None:
        await self._advance(10)
        claim = await self._index.claim()
        assert {lease.member for lease in claim.leases} == self._model.scores.keys()
        assert all(await self._index.ack_many(claim.leases))
        assert await self._index.depth() == 0


@given(chosen=st.lists(moves, max_size=25))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# A claimer that overslept its lease acknowledges after the other one claimed, then the other does.
@example(
    chosen=[("add", 0, -1), ("claim", 0, 1), ("advance", 2, 0), ("claim", 1, 1), ("ack", 0, 0), ("ack", 1, 0)]
)
# The same lease is acknowledged twice, with the member added again in between.
@example(
    chosen=[("add", 0, -1), ("claim", 0, 1), ("ack", 0, 0), ("add", 0, -1), ("ack", 0, 0), ("claim", 1, 1)]
)
# A replayed add comes while the member is leased.
@example(chosen=[("add", 0, -1), ("claim", 0, 1), ("add", 0, -1), ("claim", 1, 1), ("ack", 0, 0)])
async def test_no_interleaving_loses_or_doubles_a_member(redis: Redis, chosen: list[Move]) -> None:
    await Play(redis).run(chosen)


@pytest.mark.nightly
@given(chosen=st.lists(moves, max_size=60))
@settings(
    max_examples=3_000,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_no_longer_interleaving_does_either(redis: Redis, chosen: list[Move]) -> None:
    await Play(redis).run(chosen)


async def test_claimers_at_the_same_time_share_without_overlap(redis: Redis) -> None:
    name = f"race-{uuid4().hex}"
    indexes = [DueIndex(redis, name, lease=LEASE) for _ in range(6)]
    due = datetime.now(UTC) - timedelta(seconds=1)
    wanted = {f"{number}:x": due for number in range(1_000)}
    await indexes[0].add(wanted)
    done: list[str] = []

    async def work(index: DueIndex) -> None:
        while leases := (await index.claim(40)).leases:
            flags = await index.ack_many(leases)
            done.extend(lease.member for lease, mine in zip(leases, flags, strict=True) if mine)

    await gather(*(work(index) for index in indexes))
    assert sorted(done) == sorted(wanted)
    assert await indexes[0].depth() == 0
