"""What operators do to the database by `python -m task_api …`, each with an engine of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from task_api.adapters.fernet_seal import Seal, read_encryption_keys
from task_api.adapters.postgres.accounts import PostgresAccounts
from task_api.adapters.postgres.audit_log import PostgresAudit
from task_api.adapters.postgres.database import connect
from task_api.adapters.postgres.preferences import PostgresPreferences
from task_api.application.audit import Audit, Origin
from task_api.domain.account import email_key


async def grant_admin(database_url: str, email: str, authority: str | None = None) -> bool:
    """Make the account of this address an administrator's; its sessions end. False when there is no such account."""
    async with _engine(database_url, authority) as engine:
        accounts = PostgresAccounts(engine)
        found = await accounts.credentials(email_key(email))
        if found is None:
            return False
        account, _ = found
        await accounts.manage(account.id, "admin", None, datetime.now(UTC))
        audit = Audit(PostgresAudit(engine), _now)
        detail = {"role": "admin", "by": "operator"}
        await audit.note("account_changed_by_operator", Origin(None, None), user_id=account.id, detail=detail)
        return True


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


async def _now() -> datetime:
    return datetime.now(UTC)
