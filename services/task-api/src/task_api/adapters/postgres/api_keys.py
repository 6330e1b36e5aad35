"""API keys on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, delete, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from task_api.adapters.postgres.audit_log import LINE_PARAMETERS, append_line, line_of, line_values
from task_api.adapters.postgres.database import PostgresDatabase, storage_errors
from task_api.adapters.postgres.tables import api_keys, users
from task_api.application.api_keys import ApiKey, Scope, Used
from task_api.application.audit import AuditLine

_COLUMNS = ("id", "user_id", "name", "scopes", "created_at", "expires_at", "last_used_at")

_ADD = text(
    """
    INSERT INTO api_keys (id, user_id, name, scopes, hash, created_at, expires_at)
    SELECT :id, :user_id, :name, :scopes, :hash, :created_at, :expires_at
    WHERE (SELECT count(*) FROM api_keys WHERE user_id = :user_id) < :limit
    RETURNING id
    """
).bindparams(
    *(
        bindparam(name, type_=api_keys.c[name].type)
        for name in ("id", "user_id", "name", "scopes", "hash", "created_at", "expires_at")
    )
)
# One round trip: the key, at most once a minute the note that it was used, and a line of the audit log for the first
# use of each day in UTC. Who waited for another's note looks at the row anew, and notes nothing.
_USE = text(
    f"""
    WITH found AS (
        SELECT api_keys.* FROM api_keys JOIN users ON users.id = api_keys.user_id
        WHERE hash = :hash AND (expires_at IS NULL OR expires_at > :at) AND users.disabled_at IS NULL
    ), noted AS (
        UPDATE api_keys SET last_used_at = :at FROM found
        WHERE api_keys.id = found.id
            AND (api_keys.last_used_at IS NULL OR api_keys.last_used_at < :at - interval '1 minute')
        RETURNING found.id, found.user_id, found.last_used_at
    ), line AS (
        {line_of("noted", "user_id", "jsonb_build_object('key', id)")}
        WHERE last_used_at IS NULL OR date_trunc('day', last_used_at, 'UTC') < date_trunc('day', :at, 'UTC')
        RETURNING 1
    )
    SELECT id, user_id, name, scopes, created_at, expires_at, last_used_at,
        EXISTS (SELECT FROM line) AS has_line FROM found
    """  # noqa: S608 - names of our own columns
).bindparams(bindparam("hash", type_=api_keys.c.hash.type), *LINE_PARAMETERS)


class PostgresApiKeys:
    """The port ApiKeyStore; what only reads, and `use`, is a statement that commits by itself."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._database = PostgresDatabase(engine)
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def add(self, key: ApiKey, key_hash: bytes, limit: int, line: AuditLine) -> bool:
        """Insert a key unless the user has `limit` of them."""
        values = {
            "id": key.id,
            "user_id": key.user_id,
            "name": key.name,
            "scopes": [scope.value for scope in key.scopes],
            "hash": key_hash,
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "limit": limit,
        }
        async with self._database.begin() as work:
            # The account's row first: a statement that counted before it waited would not see the other's key.
            owner = select(users.c.id).where(users.c.id == key.user_id).with_for_update(key_share=True)
            await work.connection.execute(owner)
            if (await work.connection.execute(_ADD, values)).one_or_none() is None:
                return False
            await work.connection.execute(append_line(line))
            return True

    async def of(self, user_id: UUID) -> Sequence[ApiKey]:
        """Read a user's keys, the newest first."""
        listed = select(*(api_keys.c[name] for name in _COLUMNS)).where(api_keys.c.user_id == user_id)
        return [_key(row) for row in await self._rows(listed.order_by(api_keys.c.id.desc()))]

    async def remove(self, user_id: UUID, key_id: UUID, line: AuditLine) -> bool:
        """Delete a key of this user."""
        gone = delete(api_keys).where(api_keys.c.id == key_id, api_keys.c.user_id == user_id)
        async with self._database.begin() as work:
            if (await work.connection.execute(gone.returning(api_keys.c.id))).one_or_none() is None:
                return False
            await work.connection.execute(append_line(line))
            return True

    async def use(self, key_hash: bytes, line: AuditLine) -> Used | None:
        """Read a good key and note its use."""
        rows = await self._rows(_USE, {"hash": key_hash} | line_values(line))
        return Used(_key(rows[0]), rows[0]["has_line"]) if rows else None

    async def _rows(self, statement: Any, values: dict[str, Any] | None = None) -> Sequence[Any]:
        with storage_errors():
            async with self._engine.connect() as connection:
                return (await connection.execute(statement, values)).mappings().all()


def _key(row: Any) -> ApiKey:
    return ApiKey(
        id=row["id"],
        user_id=row["user_id"],
        name=row["name"],
        scopes=tuple(Scope(scope) for scope in row["scopes"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
    )
