"""Everything that is kept of a person, row by row: nothing but a row is ever in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from sqlalchemy import TextClause, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncEngine

from task_api.adapters.postgres.database import storage_errors

_BATCH = 200


def _rows(select: str) -> TextClause:
    return text(select).bindparams(bindparam("user_id", type_=Uuid()))


_SECTIONS = {
    "profile": _rows(
        "SELECT (to_jsonb(one) - 'password_hash' - 'email_key')::text FROM users AS one WHERE id = :user_id"
    ),
    "series": _rows("SELECT to_jsonb(one)::text FROM series AS one WHERE user_id = :user_id ORDER BY id"),
    "tasks": _rows(
        "SELECT (to_jsonb(one) - 'search' - 'title_key' - 'priority_rank')::text "
        "FROM tasks AS one WHERE user_id = :user_id ORDER BY id"
    ),
    "reminders": _rows(
        "SELECT to_jsonb(one)::text FROM task_reminders AS one WHERE user_id = :user_id ORDER BY task_id, position"
    ),
    "history": _rows(
        "SELECT to_jsonb(one)::text FROM task_history AS one WHERE user_id = :user_id ORDER BY task_id, version"
    ),
    "activity": _rows(
        "SELECT to_jsonb(one)::text FROM task_activity AS one WHERE user_id = :user_id ORDER BY task_id, at, id"
    ),
    "notification_reads": _rows(
        "SELECT to_jsonb(one)::text FROM notification_reads AS one WHERE user_id = :user_id "
        "ORDER BY notification_id"
    ),
    "api_keys": _rows(
        "SELECT (to_jsonb(one) - 'hash')::text FROM api_keys AS one WHERE user_id = :user_id ORDER BY id"
    ),
    "sessions": _rows(
        "SELECT to_jsonb(one)::text FROM session_families AS one WHERE user_id = :user_id ORDER BY id"
    ),
    "audit": _rows(
        "SELECT to_jsonb(one)::text FROM audit_log AS one WHERE user_id = :user_id ORDER BY at, id"
    ),
}
"""The sections of an export, each a statement that gives one JSON text a row. No secret is among them."""


class PostgresExport:
    """Reads a person's rows as of one moment."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="REPEATABLE READ")

    async def rows(self, user_id: UUID) -> AsyncIterator[tuple[str, str]]:
        """Give (section, JSON text of one row), section by section."""
        with storage_errors():
            async with self._engine.connect() as connection:
                for section, statement in _SECTIONS.items():
                    stream = await connection.stream(
                        statement, {"user_id": user_id}, execution_options={"yield_per": _BATCH}
                    )
                    async for row in stream:
                        yield section, row[0]

    @property
    def sections(self) -> tuple[str, ...]:
        """The names of the sections, in their order."""
        return tuple(_SECTIONS)
