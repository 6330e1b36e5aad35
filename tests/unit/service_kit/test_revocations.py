"""Questions about ended sessions are asked together, and none is answered by what was read before it came."""

from __future__ import annotations

import asyncio
from typing import cast
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisAway

from service_kit.auth import Principal
from service_kit.revocations import MIRROR_KEY, MirrorIncomplete, RevocationMirror, family_key


class SlowRedis:
    """Reads when it is asked, and answers when it is told to."""

    def __init__(self) -> None:
        self.values = {MIRROR_KEY: "run"}
        self.asked: list[tuple[str, ...]] = []
        self.away = False
        self.answers = asyncio.Event()

    async def mget(self, *keys: str) -> list[str | None]:
        self.asked.append(keys)
        found = [self.values.get(key) for key in keys]
        await self.answers.wait()
        if self.away:
            raise RedisAway("away")
        return found

    def ends(self, family_id: UUID) -> None:
        self.values[family_key(family_id)] = "1"


@pytest.fixture
def redis() -> SlowRedis:
    return SlowRedis()


@pytest.fixture
def mirror(redis: SlowRedis) -> RevocationMirror:
    return RevocationMirror(cast("Redis", redis))


def of(family_id: UUID | None = None) -> Principal:
    return Principal(uuid4(), frozenset({"user"}), family_id or uuid4(), "token")


async def begun(*questions: Principal, mirror: RevocationMirror) -> list[asyncio.Task[bool]]:
    tasks = [asyncio.create_task(mirror.is_revoked(one)) for one in questions]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_what_comes_while_an_answer_is_awaited_goes_together(
    redis: SlowRedis, mirror: RevocationMirror
) -> None:
    ended = uuid4()
    redis.ends(ended)
    first = await begun(of(), of(ended), mirror=mirror)
    second = await begun(*(of() for _ in range(20)), of(ended), mirror=mirror)
    redis.answers.set()
    assert await asyncio.gather(*first, *second) == [False, True, *[False] * 20, True]
    assert [len(keys) for keys in redis.asked] == [3, 22]


async def test_nobody_is_answered_by_what_was_read_before_the_question(
    redis: SlowRedis, mirror: RevocationMirror
) -> None:
    family = uuid4()
    (before,) = await begun(of(family), mirror=mirror)
    redis.ends(family)
    (after,) = await begun(of(family), mirror=mirror)
    redis.answers.set()
    assert (await before, await after) == (False, True)


async def test_who_gives_up_takes_nobody_along(redis: SlowRedis, mirror: RevocationMirror) -> None:
    (leaves, stays) = await begun(of(), of(), mirror=mirror)
    leaves.cancel()
    redis.answers.set()
    assert await stays is False
    with pytest.raises(asyncio.CancelledError):
        await leaves


async def test_a_redis_that_is_away_is_told_to_all_who_asked_and_asked_anew(
    redis: SlowRedis, mirror: RevocationMirror
) -> None:
    redis.away = True
    tasks = await begun(of(), of(), mirror=mirror)
    redis.answers.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [RedisAway, RedisAway]
    redis.away = False
    assert await mirror.is_revoked(of()) is False


async def test_a_mirror_that_was_wiped_answers_nobody(redis: SlowRedis, mirror: RevocationMirror) -> None:
    redis.values.clear()
    redis.answers.set()
    with pytest.raises(MirrorIncomplete):
        await mirror.is_revoked(of())
