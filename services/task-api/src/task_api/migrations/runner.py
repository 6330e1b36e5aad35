"""Brings a database to a revision: one at a time, bounded in time, and again without effect."""

from __future__ import annotations

from pathlib import Path

import asyncpg  # type: ignore[import-untyped, unused-ignore]
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from task_api.adapters.postgres.tls import tls

_ADVISORY_KEY = 7_402_118_903
_WAIT_FOR_OTHERS = "60s"
_LOCK_TIMEOUT = "5s"
_STATEMENT_TIMEOUT = "5min"


class MigrationFailed(Exception):
    """The database is not at the revision that was asked for; the text says why in a line."""


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _run(connection: Connection, target: str) -> tuple[str | None, str | None]:
    # Held for the session: two replicas that start at once migrate one after the other. The time-outs keep a
    # migration that meets a busy table from queueing every request behind itself.
    connection.execute(text(f"SET lock_timeout = '{_WAIT_FOR_OTHERS}'"))
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _ADVISORY_KEY})
    connection.execute(text(f"SET lock_timeout = '{_LOCK_TIMEOUT}'"))
    connection.execute(text(f"SET statement_timeout = '{_STATEMENT_TIMEOUT}'"))
    connection.commit()
    before = _revision(connection)
    connection.commit()
    if target == "base":
        command.downgrade(_config(connection), target)
    else:
        command.upgrade(_config(connection), target)
    connection.commit()
    after = _revision(connection)
    connection.commit()
    return before, after


async def migrate(
    database_url: str, target: str = "head", *, authority: str | None = None
) -> tuple[str | None, str | None]:
    """Bring the database to `target` ("head", "base" or a revision) and give the revisions before and after.

    `database_url` is `postgresql+asyncpg://…`. Raises MigrationFailed when the database cannot be reached, when
    another migration holds the lock for longer than a minute, or when a table stays locked for longer than 5 s.
    """
    engine = create_async_engine(
        database_url, poolclass=NullPool, connect_args={**tls(database_url, authority), "timeout": 10}
    )
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_run, target)
    except (OSError, asyncpg.PostgresError, SQLAlchemyError, CommandError) as error:
        reason = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
        raise MigrationFailed(reason.splitlines()[0].rpartition("'>: ")[2]) from error
    finally:
        await engine.dispose()
