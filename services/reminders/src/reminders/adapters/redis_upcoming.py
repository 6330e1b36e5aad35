"""What reminds each person next: a sorted set in Redis, score = fire time, which goes by itself after the last one.

Like the due index it is only added to; what is past is cut off at the next addition. What still stands is for the
documents to say. A small set is kept packed: about 80 bytes a reminder.

A mark stands for each person who was erased. Nothing is added beside it, by one script that looks and adds, or an event
that is applied at the same moment would leave a set behind. It is of one generation, like the documents: who comes back
with a restored database begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from redis.asyncio import Redis

from reminders.adapters.dapr_documents import TOMBSTONE_TTL
from service_kit.due_index import to_score

_KEPT_AFTER_THE_LAST = timedelta(hours=1)

# KEYS: for each person their set, then the mark that they were erased
# ARGV: now, then for each person the set's ttl in ms, how many, and score and member of each
# ->    which of them were erased, counted from 1
# A ttl is never shortened: without an end a key counts as endless, which GT alone would leave as it is.
_NOTE = """
local erased, at = {}, 2
for person = 1, #KEYS / 2 do
  local upcoming, count = KEYS[2 * person - 1], tonumber(ARGV[at + 1])
  if redis.call('EXISTS', KEYS[2 * person]) == 1 then
    erased[#erased + 1] = person
  elseif count > 0 then
    redis.call('ZREMRANGEBYSCORE', upcoming, '-inf', ARGV[1])
    for one = 1, count do
      redis.call('ZADD', upcoming, ARGV[at + 2 * one], ARGV[at + 2 * one + 1])
    end
    redis.call('PEXPIRE', upcoming, ARGV[at], 'NX')
    redis.call('PEXPIRE', upcoming, ARGV[at], 'GT')
  end
  at = at + 2 + 2 * count
end
return erased
"""


class RedisUpcoming:
    """`Upcoming` in Redis. Every method raises RedisError when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._note = redis.register_script(_NOTE)

    async def note(
        self, generation: str, members: Mapping[UUID, Mapping[str, datetime]], now: datetime
    ) -> set[UUID]:
        people = list(members)
        now_ms = to_score(now)
        keys, args = list[str](), list[str | int]([now_ms])
        for user_id in people:
            ahead = {member: to_score(at) for member, at in members[user_id].items() if at > now}
            ends = (
                max(ahead.values(), default=now_ms)
                - now_ms
                + _KEPT_AFTER_THE_LAST // timedelta(milliseconds=1)
            )
            keys += [_key(user_id), _erased_key(generation, user_id)]
            args += [ends, len(ahead)]
            for member, score in ahead.items():
                args += [score, member]
        return {people[int(number) - 1] for number in await self._note(keys=keys, args=args)}

    async def following(self, user_id: UUID, from_ms: int, skip: int, limit: int) -> list[str]:
        found = await self._redis.zrange(_key(user_id), from_ms, "+inf", byscore=True, offset=skip, num=limit)
        return [str(member) for member in found]

    async def forget(self, generation: str, user_id: UUID) -> None:
        async with self._redis.pipeline(transaction=True) as both:
            # Longer than any event of theirs can come, replayed dead letters among them.
            both.set(_erased_key(generation, user_id), "1", ex=TOMBSTONE_TTL)
            both.unlink(_key(user_id))
            await both.execute()


def _key(user_id: UUID) -> str:
    return f"reminders:upcoming:{user_id.hex}"


def _erased_key(generation: str, user_id: UUID) -> str:
    return f"reminders:erased:{generation}:{user_id.hex}"
