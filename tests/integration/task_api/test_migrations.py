"""The schema's history: from nothing to the tables that the code knows, and back."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from task_api.__main__ import main
from task_api.adapters.postgres.tables import metadata
from task_api.migrations import runner
from task_api.migrations.runner import MigrationFailed, migrate
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
    "statistics": """
        SELECT stxname, pg_get_statisticsobjdef(oid) FROM pg_statistic_ext
    """,
    "functions": r"""
        SELECT proname, pg_get_function_identity_arguments(oid), regexp_replace(prosrc, '\s+', ' ', 'g') FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
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


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scratch(fresh_database: Any) -> str:
    """A database of these tests alone."""
    return asyncpg_url(await fresh_database())


@pytest_asyncio.fixture(loop_scope="session")
async def empty(scratch: str) -> str:
    """The same, without any table of ours."""
    await migrate(scratch, "base")
    return scratch


async def test_the_migrations_make_the_tables_that_the_code_knows(empty: str) -> None:
    engine = create_async_engine(empty)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    known = await shape(empty)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
    await engine.dispose()
    assert await migrate(empty) == (None, head())
    assert await shape(empty) == known
    assert len(known["columns"]) > 80


async def test_up_again_changes_nothing_and_down_leaves_nothing(empty: str) -> None:
    await migrate(empty)
    before = await shape(empty)
    assert await migrate(empty) == (head(), head())
    assert await shape(empty) == before
    assert await migrate(empty, "base") == (head(), None)
    assert not any((await shape(empty)).values())
    assert await migrate(empty) == (None, head())
    assert await shape(empty) == before


async def test_several_at_once_migrate_one_after_the_other(empty: str) -> None:
    done = await asyncio.gather(*(migrate(empty) for _ in range(3)))
    assert sorted(done, key=str) == sorted([(None, head()), (head(), head()), (head(), head())], key=str)


async def test_a_busy_table_is_not_waited_for_long(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await migrate(empty)
    monkeypatch.setattr(runner, "_LOCK_TIMEOUT", "50ms")
    engine = create_async_engine(empty)
    async with engine.begin() as holder:
        await holder.execute(text("SELECT 1 FROM tasks"))
        with pytest.raises(MigrationFailed, match="lock timeout"):
            await migrate(empty, "base")
    await engine.dispose()
    assert (await migrate(empty))[1] == head()


_BY_HAND = "CREATE INDEX CONCURRENTLY ix_tasks_series_id ON tasks (series_id) WHERE series_id IS NOT NULL"


@pytest.mark.parametrize("broken_off", [False, True])
async def test_an_index_that_was_made_by_hand_is_taken_over(empty: str, broken_off: bool) -> None:
    """One that broke off is there too, kept up to date by each write, and used by nothing: it is made anew."""
    await migrate(empty, "0012")
    engine = create_async_engine(empty)
    by_hand = engine.execution_options(isolation_level="AUTOCOMMIT")
    async with by_hand.connect() as connection, engine.begin() as writer:
        await connection.execute(text("SET lock_timeout = '50ms'"))
        if broken_off:
            await writer.execute(text("LOCK TABLE tasks IN ROW EXCLUSIVE MODE"))
        with pytest.raises(DBAPIError, match="lock timeout") if broken_off else nullcontext():
            await connection.execute(text(_BY_HAND))
        made = await connection.scalar(text("SELECT to_regclass('ix_tasks_series_id')::oid"))
    assert await migrate(empty) == ("0012", head())
    async with by_hand.connect() as connection:
        found = await connection.execute(
            text(
                "SELECT indexrelid, indisvalid FROM pg_index WHERE indexrelid = 'ix_tasks_series_id'::regclass"
            )
        )
        ((index, valid),) = found.all()
    await engine.dispose()
    assert (index != made, valid) == (broken_off, True)


async def test_a_revision_that_fails_keeps_those_before_it_and_frees_their_tables(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(empty, "0011")
    monkeypatch.setattr(runner, "_LOCK_TIMEOUT", "50ms")
    engine = create_async_engine(empty)
    async with engine.begin() as writer:
        # What writes tasks is in the way of an index on them, and of nothing else.
        await writer.execute(text("LOCK TABLE tasks IN ROW EXCLUSIVE MODE"))
        with pytest.raises(MigrationFailed, match="lock timeout"):
            await migrate(empty)
    await engine.dispose()
    assert await migrate(empty) == ("0012", head())


async def run(monkeypatch: pytest.MonkeyPatch, url: str, *arguments: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setattr("sys.argv", ["task_api", *arguments])
    await asyncio.to_thread(main)


async def test_the_command_says_one_line(
    empty: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await run(monkeypatch, empty.replace("+asyncpg", ""), "migrate")
    assert capsys.readouterr() == (f"The database went from revision nothing to {head()}.\n", "")
    await run(monkeypatch, empty.replace("+asyncpg", ""), "migrate")
    assert capsys.readouterr() == (f"The database is up to date at revision {head()}.\n", "")


@pytest.mark.parametrize(
    ("url", "arguments", "sentence"),
    [
        (
            "postgresql://nobody@127.0.0.1:1/none",
            ["migrate"],
            r"^The database cannot be migrated: .*Check DATABASE_URL",
        ),
        ("mysql://x/y", ["migrate"], r"^DATABASE_URL is not valid: it must start with postgresql://"),
        ("", ["sing"], r"^usage: python -m task_api \[migrate \| grant-admin EMAIL \| renew-encryption\]$"),
    ],
)
async def test_the_command_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, url: str, arguments: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit, match=sentence) as refused:
        await run(monkeypatch, url, *arguments)
    assert "\n" not in str(refused.value)
