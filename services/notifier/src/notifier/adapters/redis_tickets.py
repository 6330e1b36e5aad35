"""Tickets in Redis, by their digests: who reads them there gets in nowhere."""

from __future__ import annotations

import json
from hashlib import sha256
from secrets import token_urlsafe
from time import time
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from notifier.application.errors import LiveUnavailable
from service_kit.auth import Principal


class RedisTickets:
    """`Tickets` in Redis, good for `life` seconds. Every method raises LiveUnavailable when Redis is away."""

    def __init__(self, redis: Redis, *, life: int) -> None:
        self._redis = redis
        self._life = life

    async def issue(self, who: Principal) -> str:
        ticket = token_urlsafe(32)
        family = None if who.family_id is None else str(who.family_id)
        content = json.dumps([str(who.user_id), family, who.expires_at])
        try:
            await self._redis.set(_key(ticket), content, ex=self._life)
        except RedisError as error:
            raise LiveUnavailable(str(error)) from error
        return ticket

    async def redeem(self, ticket: str) -> Principal | None:
        try:
            content = await self._redis.getdel(_key(ticket))
        except RedisError as error:
            raise LiveUnavailable(str(error)) from error
        if content is None:
            return None
        user_id, family, expires_at = json.loads(content)
        if expires_at is not None and expires_at <= time():
            return None
        return Principal(UUID(user_id), frozenset(), None if family is None else UUID(family), "", expires_at)


def _key(ticket: str) -> str:
    return f"stream-ticket:{sha256(ticket.encode()).hexdigest()}"
