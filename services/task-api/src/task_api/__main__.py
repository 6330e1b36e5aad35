"""`python -m task_api` serves; `python -m task_api migrate` brings the database's tables up to date first."""

from __future__ import annotations

import asyncio
import sys

import asyncpg  # type: ignore[import-untyped, unused-ignore]
from sqlalchemy.exc import SQLAlchemyError

from service_kit.http_app import serve
from service_kit.settings import load_settings
from task_api.app import build
from task_api.migrations.runner import migrate
from task_api.settings import MigrationSettings, Settings

_USAGE = "usage: python -m task_api [migrate]"


def main() -> None:
    """Serve, or migrate. Raises SystemExit with one sentence when it cannot."""
    match sys.argv[1:]:
        case []:
            settings = load_settings(Settings)
            serve(lambda: build(settings), settings)
        case ["migrate"]:
            _migrate(load_settings(MigrationSettings))
        case _:
            raise SystemExit(_USAGE)


def _migrate(settings: MigrationSettings) -> None:
    try:
        before, after = asyncio.run(migrate(settings.database_url.get_secret_value()))
    except (OSError, asyncpg.PostgresError, SQLAlchemyError) as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        raise SystemExit(
            f"The database cannot be migrated: {reason}. Check DATABASE_URL and the server."
        ) from None
    if before == after:
        sys.stdout.write(f"The database is up to date at revision {after}.\n")
    else:
        sys.stdout.write(f"The database went from revision {before or 'nothing'} to {after}.\n")


if __name__ == "__main__":
    main()
