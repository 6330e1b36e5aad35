"""What is due when: sorted sets in Redis, claimed with a lease by Redis's own clock.

One sorted set per shard, `{due:<name>:<shard>}`, score = epoch milliseconds. A claim raises the score of what is due
to now + lease, so nobody else sees it until the lease runs out; acknowledging removes a member only while its score
is still that lease. Who was too slow changes nothing: its lease has been claimed again, under a higher score.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from zlib import crc32

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError, ResponseError

from service_kit.clock import CLOCK_OFFSET_KEY

# KEYS: shard, [offset key]   ARGV: limit, lease in ms   ->   now, lease score, members
_CLAIM = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if KEYS[2] then now = now + (tonumber(redis.call('GET', KEYS[2])) or 0) end
local due = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])
local lease = now + ARGV[2]
for _, member in ipairs(due) do redis.call('ZADD', KEYS[1], 'XX', lease, member) end
return {now, lease, due}
"""

# KEYS: shard   ARGV: member, lease score, member, lease score …   ->   1 or 0 for each
_ACK = """
local done = {}
for i = 1, #ARGV, 2 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and tonumber(score) == tonumber(ARGV[i + 1]) then
    done[#done + 1] = redis.call('ZREM', KEYS[1], ARGV[i])
  else
    done[#done + 1] = 0
  end
end
return done
"""

# KEYS: shard   ARGV: member, lease score, new score   ->   1 or 0
_RELEASE = """
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) ~= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], 'XX', ARGV[3], ARGV[1])
return 1
"""

_ADD_BATCH = 500


@dataclass(frozen=True)
class Lease:
    """One claimed member: mine until `score_ms` (epoch milliseconds of Redis's clock), which also is its proof."""

    member: str
    shard: int
    score_ms: int


@dataclass(frozen=True)
class Claim:
    """What was due at `now`, the instant that Redis's clock showed; compare times with it, not with an own clock."""

    now: datetime
    leases: list[Lease]


ShardOf = Callable[[str], int]
Call = tuple[list[str], list[str | int]]
"""The keys and the arguments of one script call."""


def to_score(instant: datetime) -> int:
    """Epoch milliseconds, rounded up, so that nothing is due before its time. Raises ValueError when not aware."""
    if instant.tzinfo is None:
        raise ValueError("an instant needs its offset")
    microseconds = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return -(-microseconds // 1000)


def to_instant(score_ms: float) -> datetime:
    """The instant of a score."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(score_ms))


def shard_by_first_part(member: str, shards: int) -> int:
    """The default shard: everything with the same text before the first `:` lives together."""
    return crc32(member.partition(":")[0].encode()) % shards


ClaimHandler = Callable[[Claim], Awaitable[None]]


async def drain(claim_some: Callable[[int], Awaitable[Claim]], handler: ClaimHandler, limit: int) -> int:
    """Claim and hand over until nothing is due; how many were claimed. The loop of `DueIndex.sweep`."""
    seen: set[str] = set()
    total = 0
    while True:
        claim = await claim_some(limit)
        fresh = {lease.member for lease in claim.leases} - seen
        total += len(claim.leases)
        if claim.leases:
            await handler(claim)
        if not fresh:
            return total
        seen |= fresh


class DueIndex:
    """The due index `name`. Every method raises redis.exceptions.RedisError when Redis is away."""

    def __init__(
        self,
        redis: Redis,
        name: str,
        *,
        shards: int = 4,
        lease: timedelta = timedelta(seconds=30),
        clock_offset: bool = False,
    ) -> None:
        self._redis = redis
        self._shards = shards
        self._keys = [f"{{due:{name}:{shard}}}" for shard in range(shards)]
        self._lease_ms = lease // timedelta(milliseconds=1)
        self._offset_keys = [CLOCK_OFFSET_KEY] if clock_offset else []
        self._next_first = 0
        self._claim_script = redis.register_script(_CLAIM)
        self._ack_script = redis.register_script(_ACK)
        self._release_script = redis.register_script(_RELEASE)

    def key_of(self, member: str) -> str:
        """The sorted set in which `add` keeps this member, for a script that adds it together with something else."""
        return self._keys[shard_by_first_part(member, self._shards)]

    async def add(self, members: Mapping[str, datetime], shard_of: ShardOf | None = None) -> int:
        """Note when each member is due; how many were new. One that is there stays as it is, leased or not."""
        by_shard: dict[int, dict[str, int]] = defaultdict(dict)
        for member, due_at in members.items():
            shard = shard_by_first_part(member, self._shards) if shard_of is None else shard_of(member)
            by_shard[shard % self._shards][member] = to_score(due_at)
        if not by_shard:
            return 0
        async with self._redis.pipeline(transaction=False) as batch:
            for shard, scores in by_shard.items():
                for part in _parts(list(scores.items()), _ADD_BATCH):
                    batch.zadd(self._keys[shard], dict(part), nx=True)
            return sum(cast("list[int]", await batch.execute()))

    async def missing(self, members: Collection[str]) -> set[str]:
        """Those of `members` that `add` would find new, one round trip for all; for members in their default shard."""
        by_shard: dict[str, list[str]] = defaultdict(list)
        for member in members:
            by_shard[self.key_of(member)].append(member)
        absent: set[str] = set()
        async with self._redis.pipeline(transaction=False) as batch:
            for key, names in by_shard.items():
                batch.zmscore(key, names)
            for names, scores in zip(by_shard.values(), await batch.execute(), strict=True):
                absent.update(name for name, score in zip(names, scores, strict=True) if score is None)
        return absent

    async def claim(self, limit: int = 200) -> Claim:
        """Take at most `limit` (1 or more) of what is due, from all shards alike, each with its own lease.

        A shard gives more than its share when others have less. No lease at all means that nothing is due.
        """
        candidates = [(self._next_first + step) % self._shards for step in range(self._shards)]
        self._next_first = (self._next_first + 1) % self._shards
        now, leases = 0, list[Lease]()
        while candidates and len(leases) < limit:
            share, rest = divmod(limit - len(leases), len(candidates))
            quotas = {shard: share + (position < rest) for position, shard in enumerate(candidates)}
            latest, more = await self._claim_shards(quotas)
            now, leases = max(now, latest), leases + more
            taken = Counter(lease.shard for lease in more)
            # Asked again are those that gave all they were asked for, and those that were not asked yet.
            candidates = [shard for shard, quota in quotas.items() if taken[shard] == quota]
        return Claim(to_instant(now), leases)

    async def _claim_shards(self, quotas: Mapping[int, int]) -> tuple[int, list[Lease]]:
        """Claim from each shard up to its quota: the latest time that one showed, and the leases."""
        asked = {shard: quota for shard, quota in quotas.items() if quota > 0}
        calls: list[Call] = [
            ([self._keys[shard], *self._offset_keys], [quota, self._lease_ms])
            for shard, quota in asked.items()
        ]
        latest, leases = 0, []
        for shard, answer in zip(asked, await self._run(self._claim_script, calls), strict=True):
            now, score_ms, members = answer
            latest = max(latest, int(now))
            leases += [Lease(member, shard, int(score_ms)) for member in members]
        return latest, leases

    async def ack(self, lease: Lease) -> bool:
        """Remove what is done; False when the lease was lost meanwhile (it ran out and was claimed, or is gone)."""
        return (await self.ack_many([lease]))[0]

    async def ack_many(self, leases: Sequence[Lease]) -> list[bool]:
        """Remove what is done, in one round trip: for each lease, in order, what `ack` would say."""
        by_shard: dict[int, list[int]] = defaultdict(list)
        for position, lease in enumerate(leases):
            by_shard[lease.shard].append(position)
        calls: list[Call] = []
        for shard, positions in by_shard.items():
            pairs: list[str | int] = []
            for position in positions:
                pairs += [leases[position].member, leases[position].score_ms]
            calls.append(([self._keys[shard]], pairs))
        done = [False] * len(leases)
        for positions, flags in zip(by_shard.values(), await self._run(self._ack_script, calls), strict=True):
            for position, flag in zip(positions, flags, strict=True):
                done[position] = bool(flag)
        return done

    async def release(self, lease: Lease, until: datetime) -> bool:
        """Give the member back, due at `until` (a backoff); False, and nothing changed, when the lease was lost."""
        call: Call = ([self._keys[lease.shard]], [lease.member, lease.score_ms, to_score(until)])
        return bool((await self._run(self._release_script, [call]))[0])

    async def next_due(self) -> datetime | None:
        """When the earliest member is due, or a lease runs out; None when there is none."""
        async with self._redis.pipeline(transaction=False) as batch:
            for key in self._keys:
                batch.zrange(key, 0, 0, withscores=True)
            firsts = [row[0][1] for row in await batch.execute() if row]
        return to_instant(min(firsts)) if firsts else None

    async def depth(self) -> int:
        """How many members there are, due or not."""
        async with self._redis.pipeline(transaction=False) as batch:
            for key in self._keys:
                batch.zcard(key)
            return sum(cast("list[int]", await batch.execute()))

    async def sweep(self, handler: ClaimHandler, limit: int = 200) -> int:
        """Claim and hand over until nothing is due; how many were claimed. The handler acknowledges or releases.

        Ends as well when a claim holds nothing but members this sweep already handed over: they are given back
        faster than they are done, and the next tick is soon enough for them.
        """
        return await drain(self.claim, handler, limit)

    async def _run(self, script: AsyncScript, calls: Sequence[Call]) -> list[Any]:
        """Run the script once per call, all in one round trip; load it when Redis has forgotten it (a restart)."""
        if not calls:
            return []
        async with self._redis.pipeline(transaction=False) as batch:
            for keys, arguments in calls:
                batch.evalsha(script.sha, len(keys), *keys, *arguments)
            answers = await batch.execute(raise_on_error=False)
        for position, answer in enumerate(answers):
            if isinstance(answer, NoScriptError):
                keys, arguments = calls[position]
                answers[position] = await script(keys=keys, args=arguments)
            elif isinstance(answer, ResponseError):
                raise answer
        return answers


def _parts(items: Sequence[tuple[str, int]], size: int) -> Iterable[Sequence[tuple[str, int]]]:
    return (items[start : start + size] for start in range(0, len(items), size))
