"""Revoked sessions, mirrored in Redis for as long as an access token could outlive its logout."""

from __future__ import annotations

from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from service_kit.auth import LEEWAY_SECONDS, Principal
from service_kit.logs import get_logger
from task_api.application.account_ports import AccountStore

_KEY = "session:revoked:"
_log = get_logger(__name__)


class RedisRevokedSessions:
    """The port RevokedSessions; PostgreSQL, which knows for sure, answers while Redis is away."""

    def __init__(self, redis: Redis, store: AccountStore, lifetime_seconds: int) -> None:
        self._redis = redis
        self._store = store
        self._seconds = lifetime_seconds + 2 * LEEWAY_SECONDS

    async def add(self, family_id: UUID) -> None:
        """Remember a revoked family. While Redis is away its access tokens live on elsewhere, 15 min at most."""
        try:
            await self._redis.set(f"{_KEY}{family_id}", 1, ex=self._seconds)
        except RedisError as error:
            _log.warning("revocation_not_mirrored", family_id=str(family_id), error=str(error))

    async def is_revoked(self, principal: Principal) -> bool:
        """Whether the session of a token was ended."""
        if principal.family_id is None:
            return False
        try:
            return bool(await self._redis.exists(f"{_KEY}{principal.family_id}"))
        except RedisError:
            return await self._store.is_revoked(principal.family_id)
