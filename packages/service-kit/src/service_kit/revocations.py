"""Ended sessions, as the issuing service mirrors them in Redis, so that every service refuses their access tokens.

`session:revoked:<family>`   there for as long as an access token could outlive its logout
`session:revoked`            the run id of the Redis that holds all of them: missing after a wipe, until it is refilled
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from service_kit.auth import Principal
from service_kit.logs import get_logger
from service_kit.problems import Problem

MIRROR_KEY = "session:revoked"
_Values = list[bytes | str | None]
_log = get_logger(__name__)


def family_key(family_id: UUID) -> str:
    """Give the key whose presence says that the session was ended."""
    return f"{MIRROR_KEY}:{family_id}"


class MirrorIncomplete(Exception):
    """Redis does not hold all ended sessions: it was wiped, or begun anew, and is being refilled."""


class RevocationMirror:
    """Reads the mirror, and writes it where the sessions are kept. `seconds` is how long an entry has to live.

    Every request asks, so questions that come while an answer is awaited go together with the next one. None is
    answered by what was read before it came.
    """

    def __init__(self, redis: Redis, seconds: int = 0) -> None:
        self._redis = redis
        self._seconds = seconds
        self._gathered: list[str] | None = None
        self._asking: asyncio.Task[_Values] | None = None

    async def is_revoked(self, principal: Principal) -> bool:
        """Whether the session of a token was ended. Raises MirrorIncomplete, RedisError."""
        if principal.family_id is None:
            return False
        complete, revoked = await self._look_up(family_key(principal.family_id))
        if revoked is not None:
            return True
        if complete is None:
            raise MirrorIncomplete("the mirror of ended sessions is being refilled")
        return False

    async def _look_up(self, key: str) -> tuple[bytes | str | None, bytes | str | None]:
        if self._gathered is None or self._asking is None:
            self._gathered = []
            self._asking = asyncio.create_task(self._ask(self._gathered, self._asking))
        self._gathered.append(key)
        place = len(self._gathered)
        # Who is cancelled leaves the others their answer.
        found = await asyncio.shield(self._asking)
        return found[0], found[place]

    async def _ask(self, keys: list[str], before: asyncio.Task[_Values] | None) -> _Values:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._gathered = None
        found: _Values = await self._redis.mget(MIRROR_KEY, *keys)
        return found

    async def ended_among(self, family_ids: Sequence[UUID]) -> set[UUID]:
        """Those of these sessions that were ended, in one round trip. Raises MirrorIncomplete, RedisError."""
        complete, *ended = await self._redis.mget(MIRROR_KEY, *(family_key(one) for one in family_ids))
        if complete is None:
            raise MirrorIncomplete("the mirror of ended sessions is being refilled")
        return {one for one, mark in zip(family_ids, ended, strict=True) if mark is not None}

    async def add(self, family_id: UUID) -> None:
        """Note that a session was ended. Raises RedisError."""
        await self._redis.set(family_key(family_id), 1, ex=self._seconds)

    async def is_complete(self) -> bool:
        """Whether this very Redis was filled. Raises RedisError."""
        return bool(await self._redis.get(MIRROR_KEY) == await self._run_id())

    async def fill(self, family_ids: Iterable[UUID]) -> None:
        """Write all ended sessions, and that they are all there: at one moment, for a wipe in between would leave that
        alone. Raises RedisError."""
        await self._write(family_ids, {MIRROR_KEY: await self._run_id()})

    async def add_all(self, family_ids: Iterable[UUID]) -> None:
        """Write some ended sessions, without a word on the others: they may have been wiped a moment ago. Raises
        RedisError."""
        await self._write(family_ids, {})

    async def _write(self, family_ids: Iterable[UUID], also: Mapping[str, str]) -> None:
        async with self._redis.pipeline(transaction=True) as pipe:
            for family_id in family_ids:
                pipe.set(family_key(family_id), 1, ex=self._seconds)
            for key, value in also.items():
                pipe.set(key, value)
            await pipe.execute()

    async def _run_id(self) -> str:
        return str((await self._redis.info("server"))["run_id"])


class Revocations:
    """For services that keep no sessions: whether one was ended; while that cannot be known nobody gets in."""

    def __init__(self, redis: Redis) -> None:
        self._mirror = RevocationMirror(redis)

    async def is_revoked(self, principal: Principal) -> bool:
        """Whether the session of a token was ended. Raises Problem 503."""
        try:
            return await self._mirror.is_revoked(principal)
        except (MirrorIncomplete, RedisError) as error:
            _log.warning("revocations_unknown", error=str(error))
            raise Problem(
                503, "sessions_unknown", "Sessions cannot be checked right now.", headers={"Retry-After": "1"}
            ) from None
