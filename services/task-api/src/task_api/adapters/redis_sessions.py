"""Ended sessions, mirrored in Redis for as long as an access token could outlive its logout."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from service_kit.auth import LEEWAY_SECONDS, Principal
from service_kit.logs import get_logger
from service_kit.revocations import MirrorIncomplete, RevocationMirror
from task_api.application.account_ports import AccountStore

_OVERLAP = timedelta(minutes=1)
"""How far each look reaches behind the last one: more than a statement lasts, and than replicas' clocks differ."""
_log = get_logger(__name__)


class RedisRevokedSessions:
    """The port RevokedSessions; PostgreSQL, which knows for sure, answers while Redis is away or not filled."""

    def __init__(self, redis: Redis, store: AccountStore, lifetime_seconds: int) -> None:
        self._seconds = lifetime_seconds + 2 * LEEWAY_SECONDS
        self._mirror = RevocationMirror(redis, self._seconds)
        self._store = store
        self._looked: datetime | None = None

    async def add(self, family_id: UUID) -> None:
        """Remember a revoked family at once; what Redis could not be told `refill` tells it."""
        try:
            await self._mirror.add(family_id)
        except RedisError as error:
            _log.warning("revocation_not_mirrored", family_id=str(family_id), error=str(error))

    async def is_revoked(self, principal: Principal) -> bool:
        """Whether the session of a token was ended."""
        if principal.family_id is None:
            return False
        try:
            return await self._mirror.is_revoked(principal)
        except (RedisError, MirrorIncomplete):
            return await self._store.is_revoked(principal.family_id)

    async def refill(self) -> None:
        """Mirror what was revoked since the last look; everything when Redis was wiped or begun anew, or this is the
        first look. PostgreSQL is what is gone by: who revoked may have died before Redis was told. Raises what the
        stores raise."""
        began = datetime.now(UTC)
        complete = await self._mirror.is_complete()
        oldest = began - timedelta(seconds=self._seconds)
        if complete and self._looked is not None:
            families = await self._store.revoked_since(max(oldest, self._looked - _OVERLAP))
            if families:
                await self._mirror.add_all(families)
        else:
            families = await self._store.revoked_since(oldest)
            await self._mirror.fill(families)
        self._looked = began
        if not complete:
            _log.info("revocations_refilled", families=len(families))
