"""The schema's history: from nothing to the tables that the code knows, and back."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from task_api.adapters.postgres.tables import metadata
from task_api.migrations import runner
from task_api.migrations.runner import migrate
from task_api.settings import asyncpg_url

_SHAPE = {
    "columns": """
        SELECT table_name, column_name, udt_name, is_nullable, column_default FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name <> 'alembic_version'
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
    """,
    "indexes": """
        SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    """,
    "options": """
        SELECT relname, reloptions FROM pg_class WHERE relnamespace = 'public'::regnamespace AND reloptions IS NOT NULL
    """,
}


async def shape(url: str) -> dict[str, list[tuple[Any, ...]]]:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        found = {
            what: sorted(tuple(map(str, row)) for row in await connection.execute(text(query)))
            for what, query in _SHAPE.items()
        }
    await engine.dispose()
    return found


def head() -> str:
    script = ScriptDirectory(Path(runner.__file__).parent)
    revision = script.get_current_head()
    assert revision is not None
    return revision


async def test_the_migrations_make_the_tables_that_the_code_knows(fresh_database: Any) -> None:
    by_migrations, by_metadata = asyncpg_url(await fresh_database()), asyncpg_url(await fresh_database())
    assert await migrate(by_migrations) == (None, head())
    engine = create_async_engine(by_metadata)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await engine.dispose()
    made, known = await shape(by_migrations), await shape(by_metadata)
    assert made == known
    assert len(made["columns"]) > 80


async def test_up_again_changes_nothing_and_down_leaves_nothing(fresh_database: Any) -> None:
    url = asyncpg_url(await fresh_database())
    await migrate(url)
    before = await shape(url)
    assert await migrate(url) == (head(), head())
    assert await shape(url) == before
    assert await migrate(url, "base") == (head(), None)
    assert not any((await shape(url)).values())
    assert await migrate(url) == (None, head())
    assert await shape(url) == before


async def test_several_at_once_migrate_one_after_the_other(fresh_database: Any) -> None:
    url = asyncpg_url(await fresh_database())
    done = await asyncio.gather(*(migrate(url) for _ in range(3)))
    assert sorted(done, key=str) == sorted([(None, head()), (head(), head()), (head(), head())], key=str)


async def test_a_busy_table_is_not_waited_for_long(
    fresh_database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = asyncpg_url(await fresh_database())
    await migrate(url)
    monkeypatch.setattr(runner, "_LOCK_TIMEOUT", "50ms")
    engine = create_async_engine(url)
    async with engine.begin() as holder:
        await holder.execute(text("SELECT 1 FROM tasks"))
        with pytest.raises(Exception, match="lock timeout"):
            await migrate(url, "base")
    await engine.dispose()
    assert await migrate(url) == (head(), head())


async def run(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": url}
    command = [sys.executable, "-m", "task_api", *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


async def test_the_command_says_one_line(fresh_database: Any) -> None:
    url = await fresh_database()
    first = await run(url, "migrate")
    assert (first.returncode, first.stdout, first.stderr) == (
        0,
        f"The database went from revision nothing to {head()}.\n",
        "",
    )
    again = await run(url, "migrate")
    assert again.stdout == f"The database is up to date at revision {head()}.\n"


async def test_the_command_says_what_is_wrong(fresh_database: Any) -> None:
    nowhere = await run("postgresql://nobody@127.0.0.1:1/none", "migrate")
    assert nowhere.returncode == 1
    assert nowhere.stderr.startswith("The database cannot be migrated: ")
    assert nowhere.stderr.count("\n") == 1
    assert (await run("mysql://x/y", "migrate")).stderr.startswith("DATABASE_URL is not valid")
    assert (await run("", "sing")).stderr == "usage: python -m task_api [migrate]\n"
