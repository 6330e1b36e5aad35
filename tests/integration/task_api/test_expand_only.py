"""A release runs on the schema of the next one: while it is rolled out, and after a roll-back of the code.

For each revision: what the code before it reads is still there, and what it writes, naming the columns that it knows,
is taken. So a migration may add, and may take away only what no release that still runs knows of.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from task_api.migrations import runner
from task_api.migrations.runner import migrate
from task_api.settings import asyncpg_url

_USER, _SERIES, _TASK, _FAMILY = (
    f"md5('{what} {{n}}')::uuid" for what in ("user", "series", "task", "family")
)

_ROWS: dict[str, dict[str, str]] = {
    "users": {
        "id": _USER,
        "email": "'{n}@example.org'",
        "email_key": "'{n}@example.org'",
        "password_hash": "'x'",
        "timezone": "'Europe/Berlin'",
    },
    "session_families": {"id": _FAMILY, "user_id": _USER, "created_at": "now()", "expires_at": "now()"},
    "calendar_tokens": {"user_id": _USER, "hash": "'{n}'::bytea", "created_at": "now()"},
    "notification_preferences": {
        "user_id": _USER,
        "version": "1",
        "email": "true",
        "late_policy": "'send'",
        "generated": "false",
        "updated_at": "now()",
    },
    "notification_channels": {
        "id": _FAMILY,
        "user_id": _USER,
        "kind": "'chat'",
        "position": "0",
        "name": "'family'",
        "enabled": "true",
        "sealed": "'{n}'::bytea",
    },
    "refresh_tokens": {
        "hash": "'{n}'::bytea",
        "family_id": _FAMILY,
        "issued_at": "now()",
        "expires_at": "now()",
    },
    "series": {
        "id": _SERIES,
        "user_id": _USER,
        "rrule": "'FREQ=DAILY'",
        "timezone": "'UTC'",
        "start_local": "'2026-01-06'",
        "created_at": "now()",
        "updated_at": "now()",
    },
    "series_history": {
        "series_id": _SERIES,
        "version": "2",
        "at": "now()",
        "actor": "'{{}}'",
        "changes": "'{{}}'",
        "change_id": _TASK,
    },
    "tasks": {
        "id": _TASK,
        "user_id": _USER,
        "number": "1",
        "title": "'Water the plants'",
        "tags": "ARRAY['home']",
        "due_date": "'2026-01-06'",
        "timezone": "'UTC'",
        "series_id": _SERIES,
        "occurrence_key": "'2026-01-06'",
        "created_at": "now()",
        "updated_at": "now()",
    },
    "task_reminders": {
        "id": _TASK,
        "task_id": _TASK,
        "user_id": _USER,
        "position": "0",
        "at": "now()",
        "set_at": "now()",
    },
    "task_history": {
        "id": _TASK,
        "task_id": _TASK,
        "user_id": _USER,
        "version": "1",
        "at": "now()",
        "actor": "'{{}}'",
        "changes": "'{{}}'",
    },
    "task_activity": {
        "id": _TASK,
        "task_id": _TASK,
        "user_id": _USER,
        "at": "now()",
        "kind": "'created'",
    },
    "outbox": {"id": _TASK, "topic": "'task-created'", "key": "'k'", "event": "'x'::bytea"},
    "notification_reads": {"user_id": _USER, "notification_id": _TASK, "read_at": "now()"},
    "api_keys": {
        "id": _USER,
        "user_id": _USER,
        "name": "'ci'",
        "scopes": "ARRAY['tasks:read']",
        "hash": "'{n}'::bytea",
        "created_at": "now()",
    },
    "audit_log": {"id": _USER, "at": "now()", "action": "'login'", "succeeded": "true", "user_id": _USER},
    "idempotency_keys": {
        "user_id": _USER,
        "key": "'k'",
        "fingerprint": "'x'::bytea",
        "created_at": "now()",
    },
}
"""A row of each table that a release writes to, by column, as SQL; {n} sets two of them apart."""

_NOT_WRITTEN = {"epoch", "lockdown", "user_changes", "alembic_version"}
"""Two with one row that a migration writes, one table that a trigger fills, and alembic's own."""


def _revisions() -> list[str]:
    script = ScriptDirectory(Path(runner.__file__).parent)
    return [revision.revision for revision in reversed(list(script.walk_revisions()))]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scratch(fresh_database: Any) -> AsyncIterator[tuple[str, AsyncEngine]]:
    """A database of these tests alone."""
    url = asyncpg_url(await fresh_database())
    engine = create_async_engine(url)
    yield url, engine
    await engine.dispose()


Columns = dict[str, dict[str, dict[str, Any]]]


async def _columns(connection: AsyncConnection) -> Columns:
    """What can be said of each column, by table and name."""
    found = await connection.execute(
        text(
            "SELECT table_name, column_name, udt_name, is_nullable = 'YES' AS nullable, "
            "column_default IS NOT NULL OR is_generated = 'ALWAYS' AS filled, is_generated = 'ALWAYS' AS generated "
            "FROM information_schema.columns WHERE table_schema = 'public'"
        )
    )
    columns: Columns = {}
    for row in found.mappings():
        columns.setdefault(row["table_name"], {})[row["column_name"]] = dict(row)
    return columns


async def _write(connection: AsyncConnection, known: Columns, n: int) -> None:
    """Insert a row into each table as a release does that knows these columns, and update it."""
    for table, row in _ROWS.items():
        if table not in known:
            continue
        values = {name: value.format(n=n) for name, value in row.items() if name in known[table]}
        names = ", ".join(f'"{name}"' for name in values)
        insert = f"INSERT INTO {table} ({names}) VALUES ({', '.join(values.values())})"
        await connection.exec_driver_sql(insert)
        plain = [name for name, column in known[table].items() if not column["generated"]]
        changed = ", ".join(f'"{name}" = "{name}"' for name in plain)
        await connection.exec_driver_sql(f"UPDATE {table} SET {changed}")


@pytest.mark.parametrize(("before", "after"), list(pairwise(_revisions())))
async def test_the_release_before_runs_on_the_schema_after(
    scratch: tuple[str, AsyncEngine], before: str, after: str
) -> None:
    url, engine = scratch
    await migrate(url, "base")
    await migrate(url, before)
    async with engine.begin() as connection:
        known = await _columns(connection)
        await _write(connection, known, 1)
    await migrate(url, after)
    async with engine.begin() as connection:
        now = await _columns(connection)
        for table, columns in known.items():
            lost = columns.keys() - now.get(table, {}).keys()
            assert not lost, f"{after} takes {lost} of {table} away from the release before it"
            for name, column in columns.items():
                assert now[table][name]["udt_name"] == column["udt_name"], f"{table}.{name} changes its type"
                assert now[table][name]["nullable"] >= column["nullable"], (
                    f"{table}.{name} may not be null now"
                )
            for name in now[table].keys() - columns.keys():
                added = now[table][name]
                assert added["nullable"] or added["filled"], f"{table}.{name} has to be named by every insert"
        await _write(connection, known, 2)
        for table in known.keys() & _ROWS.keys():
            rows = await connection.exec_driver_sql(f"SELECT count(*) FROM {table}")
            assert rows.scalar_one() == 2


async def test_the_rows_above_know_every_table(scratch: tuple[str, AsyncEngine]) -> None:
    url, engine = scratch
    await migrate(url)
    async with engine.connect() as connection:
        assert (await _columns(connection)).keys() == _ROWS.keys() | _NOT_WRITTEN
