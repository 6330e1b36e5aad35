"""The benchmark's own way into Redis: schedules as the service would have made them, many at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Self
from uuid import UUID, uuid4

import orjson
from bench.redis_memory import used_memory
from redis.asyncio import Redis

from event_contracts.reminders import ScheduleReason
from reminders.domain.document import Document, Entry, State, to_ms
from reminders.domain.member import Member
from service_kit.due_index import DueIndex

_CHUNK = 2_000
_REMINDERS_EACH = 100
"""How many pending reminders a person has."""


class Store:
    """Fills Redis. Documents have the three fields that Dapr's state store writes, and count from version 1."""

    def __init__(self, redis: Redis, generation: str) -> None:
        self._redis = redis
        self._generation = generation
        self.index = DueIndex(redis, "reminders")

    @classmethod
    async def of(cls, redis: Redis) -> Self:
        """Use the generation that the service began."""
        marker = orjson.loads(str(await redis.hget("reminders||marker", "data")))
        return cls(redis, marker["generation"])

    async def fill(self, moments: list[datetime]) -> set[str]:
        """Add a task with one reminder for each moment; the ids of the reminders."""
        made: set[str] = set()
        user = uuid4()
        for start in range(0, len(moments), _CHUNK):
            async with self._redis.pipeline(transaction=False) as batch:
                for number, at in enumerate(moments[start : start + _CHUNK]):
                    if number % _REMINDERS_EACH == 0:
                        user = uuid4()
                    task, one = uuid4(), uuid4()
                    member = str(Member(task, one, to_ms(at)))
                    batch.hset(
                        f"reminders||{self._generation}:{task.hex}",
                        mapping={"data": _document(task, user, one, at), "first-write": 0, "version": 1},
                    )
                    batch.zadd(self.index.key_of(member), {member: to_ms(at)})
                    batch.zadd(f"reminders:upcoming:{user.hex}", {member: to_ms(at)})
                    made.add(str(one))
                await batch.execute()
        return made

    async def fill_ahead(self, count: int) -> None:
        """Add so many that are pending for days, spread over a year."""
        begin = datetime.now(UTC) + timedelta(days=2)
        await self.fill([begin + timedelta(seconds=31 * number % 31_000_000) for number in range(count)])

    async def used_memory(self) -> int:
        """Give the bytes that Redis uses for data and overhead."""
        return await used_memory(self._redis)


def _document(task: UUID, user: UUID, one: UUID, at: datetime) -> bytes:
    entry = Entry(one, to_ms(at), State.PENDING, ScheduleReason.CREATED, to_ms(at))
    return orjson.dumps(Document(task, user, 1, 1, True, False, (entry,)).dump())
