"""API keys: for programs, with scopes. A key is 256 random bits, of which only the hash is kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from task_api.application.audit import Audit, AuditLine, Origin, count_action
from task_api.application.ports import Now
from task_api.domain.errors import ApiKeyNotFound, TooManyApiKeys
from task_api.domain.ids import new_id

PREFIX = "tsk_"
KEYS_MAX = 50
AUDITED_AS = "api_key"
"""How the audit log calls that somebody came in by a key, or was refused."""


class Scope(StrEnum):
    """What a key may do."""

    READ = "tasks:read"
    WRITE = "tasks:write"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as its owner sees it: everything but the key."""

    id: UUID
    user_id: UUID
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Used:
    """A key that was good, and whether this use of it got a line in the audit log."""

    key: ApiKey
    has_line: bool


class ApiKeyStore(Protocol):
    """Where keys are kept; every method is one transaction, a line that is handed over part of it."""

    async def add(self, key: ApiKey, key_hash: bytes, limit: int, line: AuditLine) -> bool:
        """Insert a key; False, and no line, when the user has `limit` already."""

    async def of(self, user_id: UUID) -> Sequence[ApiKey]:
        """Read a user's keys, the newest first."""

    async def remove(self, user_id: UUID, key_id: UUID, line: AuditLine) -> bool:
        """Delete a key of this user; False, and no line, when there is none."""

    async def use(self, key_hash: bytes, line: AuditLine) -> Used | None:
        """Read a key that has not expired, of an account that is not disabled, and note its use, minute by minute.

        With its first use of a day in UTC the line is written too, for its owner.
        """


@dataclass(frozen=True)
class ApiKeys:
    """The use cases around API keys."""

    store: ApiKeyStore
    now: Now
    audit: Audit

    async def make(
        self, user_id: UUID, name: str, scopes: Sequence[Scope], expires_at: datetime | None, origin: Origin
    ) -> tuple[ApiKey, str]:
        """Make a key: what is kept of it, and the key itself, which is shown this once. Raises TooManyApiKeys."""
        secret = PREFIX + secrets.token_urlsafe(32)
        wanted = tuple(dict.fromkeys(scopes))
        key = ApiKey(new_id(), user_id, name, wanted, await self.now(), expires_at)
        detail = {"api_key": str(key.id)}
        line = await self.audit.line("api_key_made", origin, user_id=user_id, detail=detail)
        if not await self.store.add(key, key_hash(secret), KEYS_MAX, line):
            raise TooManyApiKeys(f"an account has at most {KEYS_MAX} API keys")
        count_action(line)
        return key, secret

    async def of(self, user_id: UUID) -> Sequence[ApiKey]:
        """Read a user's keys."""
        return await self.store.of(user_id)

    async def remove(self, user_id: UUID, key_id: UUID, origin: Origin) -> None:
        """Revoke a key; it is of no use from now on. Raises ApiKeyNotFound."""
        detail = {"api_key": str(key_id)}
        line = await self.audit.line("api_key_revoked", origin, user_id=user_id, detail=detail)
        if not await self.store.remove(user_id, key_id, line):
            raise ApiKeyNotFound("there is no such API key")
        count_action(line)

    async def find(self, secret: str, origin: Origin) -> ApiKey | None:
        """Give the key that a secret is, if it is good. Its first use of a day is in the audit log."""
        line = await self.audit.line(AUDITED_AS, origin)
        used = await self.store.use(key_hash(secret), line)
        if used is None:
            return None
        if used.has_line:
            count_action(line)
        return used.key


def key_hash(secret: str) -> bytes:
    """Give what is kept of a key: 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).digest()
