"""`python -m task_api` serves; `python -m task_api migrate` brings the database's tables up to date first."""

from __future__ import annotations

import asyncio
import sys

from service_kit.settings import load_settings
from task_api.settings import MigrationSettings, Settings

_USAGE = "usage: python -m task_api [migrate]"


def main() -> None:
    """Serve, or migrate. Raises SystemExit with one sentence when it cannot."""
    match sys.argv[1:]:
        case []:
            _serve()
        case ["migrate"]:
            _migrate()
        case _:
            raise SystemExit(_USAGE)


def _serve() -> None:
    settings = load_settings(Settings)
    # Imported where they are needed: a bad start is told at once, and a migration loads no server.
    from service_kit.http_app import serve
    from task_api.app import build

    serve(lambda: build(settings), settings)


def _migrate() -> None:
    settings = load_settings(MigrationSettings)
    from task_api.migrations.runner import MigrationFailed, migrate

    try:
        before, after = asyncio.run(migrate(settings.database_url.get_secret_value()))
    except MigrationFailed as failure:
        raise SystemExit(
            f"The database cannot be migrated: {failure}. Check DATABASE_URL and the server."
        ) from None
    if before == after:
        sys.stdout.write(f"The database is up to date at revision {after}.\n")
    else:
        sys.stdout.write(f"The database went from revision {before or 'nothing'} to {after}.\n")


if __name__ == "__main__":
    main()
