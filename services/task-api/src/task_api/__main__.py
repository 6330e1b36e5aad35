"""`python -m task_api` serves; `python -m task_api migrate` brings the database's tables up to date first.

`grant-admin EMAIL` makes an account an administrator's, `renew-encryption` encrypts everything with the first key.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from service_kit.settings import load_settings
from task_api.settings import DatabaseSettings, EncryptionSettings, Settings

_USAGE = "usage: python -m task_api [migrate | grant-admin EMAIL | renew-encryption]"

ResultT = TypeVar("ResultT")


def main() -> None:
    """Serve, or do what the arguments say. Raises SystemExit with one sentence when it cannot."""
    match sys.argv[1:]:
        case []:
            _serve()
        case ["migrate"]:
            _migrate()
        case ["grant-admin", email]:
            _grant_admin(email)
        case ["renew-encryption"]:
            _renew_encryption()
        case _:
            raise SystemExit(_USAGE)


def _serve() -> None:
    settings = load_settings(Settings)
    # Imported where they are needed: a bad start is told at once, and a migration loads no server.
    from service_kit.http_app import serve
    from task_api.app import build

    serve(lambda: build(settings), settings)


def _migrate() -> None:
    settings = load_settings(DatabaseSettings)
    from task_api.migrations.runner import MigrationFailed, migrate

    try:
        before, after = asyncio.run(
            migrate(settings.database_url.get_secret_value(), authority=settings.database_ca)
        )
    except MigrationFailed as failure:
        raise SystemExit(
            f"The database cannot be migrated: {failure}. Check DATABASE_URL and the server."
        ) from None
    if before == after:
        sys.stdout.write(f"The database is up to date at revision {after}.\n")
    else:
        sys.stdout.write(f"The database went from revision {before or 'nothing'} to {after}.\n")


def _grant_admin(email: str) -> None:
    settings = load_settings(DatabaseSettings)
    from task_api.operators import grant_admin

    if not _done(grant_admin(settings.database_url.get_secret_value(), email, settings.database_ca)):
        raise SystemExit(f"There is no account with the address {email}: register it first.")
    sys.stdout.write(
        f"{email} is an administrator from the next login on; sessions that were open have ended.\n"
    )


def _renew_encryption() -> None:
    settings = load_settings(EncryptionSettings)
    from task_api.domain.errors import ChannelsUnreadable
    from task_api.operators import renew_encryption

    url, keys = settings.database_url.get_secret_value(), settings.encryption_keys.get_secret_value()
    try:
        count = _done(renew_encryption(url, keys, settings.database_ca))
    except ChannelsUnreadable:
        raise SystemExit("Nothing was changed: ENCRYPTION_KEYS lacks a key that is still in use.") from None
    sys.stdout.write(f"{count} notification channels are encrypted with the first key.\n")


def _done(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    from task_api.domain.errors import StorageUnavailable

    try:
        return asyncio.run(work)
    except StorageUnavailable as error:
        raise SystemExit(
            f"The database does not answer ({error}). Check DATABASE_URL and the server."
        ) from None


if __name__ == "__main__":
    main()
