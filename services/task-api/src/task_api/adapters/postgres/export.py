"""Everything that is kept of a person, row by row: nothing but a batch of rows is ever in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Select, Table, bindparam, select
from sqlalchemy.ext.asyncio import AsyncEngine

from task_api.adapters.fernet_seal import Seal
from task_api.adapters.postgres.database import storage_errors
from task_api.adapters.postgres.tables import (
    api_keys,
    audit_log,
    calendar_tokens,
    notification_channels,
    notification_preferences,
    notification_reads,
    series,
    series_history,
    session_families,
    task_activity,
    task_history,
    task_reminders,
    tasks,
    users,
)

_BATCH = 200
_DURATION = TypeAdapter(timedelta)


def _rows(
    table: Table, *order: str, owner: str = "user_id", leave_out: frozenset[str] = frozenset()
) -> Select[Any]:
    shown: list[ColumnElement[Any]] = [column for column in table.c if column.name not in leave_out]
    mine = select(*shown).where(table.c[owner] == bindparam("user_id"))
    return mine.order_by(*(table.c[name] for name in order))


_SERIES_HISTORY = (
    select(*series_history.c)
    .join(series, series.c.id == series_history.c.series_id)
    .where(series.c.user_id == bindparam("user_id"))
    .order_by(series_history.c.series_id, series_history.c.version)
)


def _of_tasks(ledger: Table, *order: str, leave_out: frozenset[str] = frozenset()) -> Select[Any]:
    """By the tasks, which an index has by person: a ledger has none of the kind."""
    shown: list[ColumnElement[Any]] = [column for column in ledger.c if column.name not in leave_out]
    mine = select(tasks.c.id).where(tasks.c.user_id == bindparam("user_id"))
    return select(*shown).where(ledger.c.task_id.in_(mine)).order_by(*(ledger.c[name] for name in order))


_DERIVED = frozenset({"search", "title_key", "priority_rank"})
_NOT_CARRIED = frozenset({"user_id", "number", "version", "updated_at", "closed_version"})
"""What an account that imports gives anew."""

_SECTIONS = {
    "profile": _rows(users, owner="id", leave_out=frozenset({"password_hash", "email_key"})),
    "series": _rows(series, "id"),
    "series_history": _SERIES_HISTORY,
    "tasks": _rows(tasks, "id", leave_out=_DERIVED),
    "reminders": _of_tasks(task_reminders, "task_id", "position"),
    "history": _of_tasks(task_history, "task_id", "version"),
    "activity": _of_tasks(task_activity, "task_id", "at", "id"),
    "notification_reads": _rows(notification_reads, "notification_id"),
    "notification_preferences": _rows(notification_preferences),
    "notification_channels": _rows(notification_channels, "position", "id"),
    "api_keys": _rows(api_keys, "id", leave_out=frozenset({"hash"})),
    "calendar_token": _rows(calendar_tokens, leave_out=frozenset({"hash"})),
    "sessions": _rows(session_families, "id"),
    "audit": _rows(audit_log, "at", "id"),
}
"""The sections of an export, each a statement that gives its rows in a steady order. No secret is among them."""

_FOR_IMPORT = {
    "series": _rows(series, "id", leave_out=_NOT_CARRIED | {"created_at"}),
    "tasks": _rows(tasks, "id", leave_out=_DERIVED | _NOT_CARRIED | {"due_instant", "purged_at"}),
    "reminders": _of_tasks(
        task_reminders,
        "task_id",
        "position",
        leave_out=_NOT_CARRIED | {"id", "position", "set_at", "fired_for", "scheduled_for"},
    ),
}
"""Of the sections those that an import reads, each row without what it passes over: the body of one is bounded."""


def _written(value: object) -> str:
    """What orjson does not write by itself: durations as the API has them, and the driver's own kind of UUID."""
    if isinstance(value, timedelta):
        if value.days >= 365:
            # A year has no fixed length: nothing of ours reads one in a duration.
            return f"P{value.days}DT{value.seconds}S"
        return str(_DURATION.dump_python(value, mode="json"))
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(type(value).__name__)


class PostgresExport:
    """Reads a person's rows as of one moment."""

    def __init__(self, engine: AsyncEngine, seal: Seal) -> None:
        self._engine = engine.execution_options(isolation_level="REPEATABLE READ")
        self._seal = seal

    async def rows(self, user_id: UUID, for_import: bool) -> AsyncGenerator[tuple[str, bytes], None]:
        """Give (section, JSON of one row), section by section; instants are RFC 3339 with Z.

        `for_import` gives what an import reads and no more, without the fields that are null.
        A connection and its snapshot are held until the last row is taken: take them without waiting for anybody.
        Raises StorageUnavailable.
        """
        with storage_errors():
            async with self._engine.connect() as connection:
                for section, statement in _statements(for_import).items():
                    stream = await connection.stream(
                        statement, {"user_id": user_id}, execution_options={"yield_per": _BATCH}
                    )
                    names = [str(name) for name in stream.keys()]  # noqa: SIM118 - a result is no mapping
                    async for row in stream:
                        one = dict(zip(names, row, strict=True))
                        if "sealed" in one:
                            one |= self._shown(one.pop("sealed"))
                        if for_import:
                            one = {name: value for name, value in one.items() if value is not None}
                        yield section, orjson.dumps(one, default=_written, option=orjson.OPT_UTC_Z)

    def _shown(self, sealed: bytes) -> dict[str, str]:
        """What the API shows of a channel again: where it leads, but no credentials. Raises ChannelsUnreadable."""
        content = self._seal.open(sealed)
        address: str = content.get("endpoint") or content["url"]
        scheme = address.partition(":")[0]
        return {"address": address} if scheme in ("http", "https") else {"service": scheme}

    def sections(self, for_import: bool) -> tuple[str, ...]:
        """The names of the sections, in their order."""
        return tuple(_statements(for_import))


def _statements(for_import: bool) -> dict[str, Select[Any]]:
    return _FOR_IMPORT if for_import else _SECTIONS
