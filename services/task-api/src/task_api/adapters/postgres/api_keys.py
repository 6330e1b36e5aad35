"""API keys on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, bindparam, delete, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from task_api.adapters.postgres.database import PostgresDatabase, storage_errors
from task_api.adapters.postgres.tables import api_keys, users
from task_api.application.api_keys import ApiKey, Scope, Used
from task_api.application.audit import AuditLine

_COLUMNS = ("id", "user_id", "name", "scopes", "created_at", "expires_at", "last_used_at")


def _statement(sql: str, **columns: str) -> TextClause:
    return text(sql).bindparams(
        *(bindparam(name, type_=api_keys.c[column].type) for name, column in columns.items())
    )


_ADD = _statement(
    """
    INSERT INTO api_keys (id, user_id, name, scopes, hash, created_at, expires_at)
    SELECT :id, :user_id, :name, :scopes, :hash, :created_at, :expires_at
    WHERE (SELECT count(*) FROM api_keys WHERE user_id = :user_id) < :limit
    RETURNING id
    """,
    **{name: name for name in ("id", "user_id", "name", "scopes", "hash", "created_at", "expires_at")},
)
# One round trip: the key, at most once a minute the note that it was used, and a line of the audit log for the first
# use of each day in UTC. Who waited for another's note looks at the row anew, and notes nothing.
_USE = _statement(
    """
    WITH found AS (
        SELECT api_keys.* FROM api_keys JOIN users ON users.id = api_keys.user_id
        WHERE hash = :hash AND (expires_at IS NULL OR expires_at > :at) AND users.disabled_at IS NULL
    ), noted AS (
        UPDATE api_keys SET last_used_at = :at FROM found
        WHERE api_keys.id = found.id
            AND (api_keys.last_used_at IS NULL OR api_keys.last_used_at < :at - interval '1 minute')
        RETURNING found.id, found.user_id, found.last_used_at
    ), line AS (
        INSERT INTO audit_log (id, at, action, succeeded, user_id, address, request_id, detail)
        SELECT :line_id, :at, :action, true, user_id, :address, :request_id, jsonb_build_object('key', id)
        FROM noted
        WHERE last_used_at IS NULL OR date_trunc('day', last_used_at, 'UTC') < date_trunc('day', :at, 'UTC')
        RETURNING 1
    )
    SELECT id, user_id, name, scopes, created_at, expires_at, last_used_at,
        EXISTS (SELECT FROM line) AS has_line FROM found
    """,
    hash="hash",
    at="created_at",
    line_id="id",
    action="name",
    address="name",
    request_id="name",
)


class PostgresApiKeys:
    """The port ApiKeyStore; each call but `add` is a statement that commits by itself."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._database = PostgresDatabase(engine)
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def add(self, key: ApiKey, key_hash: bytes, limit: int) -> bool:
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
            return (await work.connection.execute(_ADD, values)).one_or_none() is not None

    async def of(self, user_id: UUID) -> Sequence[ApiKey]:
        """Read a user's keys, the newest first."""
        listed = select(*(api_keys.c[name] for name in _COLUMNS)).where(api_keys.c.user_id == user_id)
        return [_key(row) for row in await self._rows(listed.order_by(api_keys.c.id.desc()))]

    async def remove(self, user_id: UUID, key_id: UUID) -> bool:
        """Delete a key of this user."""
        gone = delete(api_keys).where(api_keys.c.id == key_id, api_keys.c.user_id == user_id)
        return bool(await self._rows(gone.returning(api_keys.c.id)))

    async def use(self, key_hash: bytes, line: AuditLine) -> Used | None:
        """Read a good key and note its use."""
        values = {
            "hash": key_hash,
            "at": line.at,
            "line_id": line.id,
            "action": line.action,
            "address": line.origin.address,
            "request_id": line.origin.request_id,
        }
        rows = await self._rows(_USE, values)
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
