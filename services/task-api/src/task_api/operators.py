"""What operators do to the database by `python -m task_api …`, each with an engine of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from task_api.adapters.fernet_seal import Seal, read_encryption_keys
from task_api.adapters.postgres.accounts import PostgresAccounts
from task_api.adapters.postgres.database import connect
from task_api.adapters.postgres.preferences import PostgresPreferences
from task_api.application.audit import AuditLine, Origin
from task_api.domain.account import email_key
from task_api.domain.ids import new_id


async def grant_admin(database_url: str, email: str, authority: str | None = None) -> bool:
    """Make the account of this address an administrator's; its sessions end. False when there is no such account."""
    async with _engine(database_url, authority) as engine:
        accounts = PostgresAccounts(engine)
        found = await accounts.credentials(email_key(email))
        if found is None:
            return False
        account, _ = found
        line = AuditLine(
            new_id(),
            datetime.now(UTC),
            "account_changed_by_operator",
            True,
            account.id,
            Origin(None, None),
            {"role": "admin", "by": "operator"},
        )
        return await accounts.manage(account.id, "admin", None, line) is not None


async def renew_encryption(database_url: str, encryption_keys: str, authority: str | None = None) -> int:
    """Encrypt everything with the first key; gives how many channels there are. Raises ChannelsUnreadable."""
    async with _engine(database_url, authority) as engine:
        return await PostgresPreferences(engine, Seal(read_encryption_keys(encryption_keys))).renew()


@asynccontextmanager
async def _engine(database_url: str, authority: str | None) -> AsyncIterator[AsyncEngine]:
    engine = connect(database_url, pool_size=2, authority=authority)
    try:
        yield engine
    finally:
        await engine.dispose()
