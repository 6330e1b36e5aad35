"""What an administrator may change of an account, and what that ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from task_api.application.account_ports import RevokedSessions
from task_api.application.ports import Now, Position
from task_api.domain.account import Account
from task_api.domain.errors import AccountUnknown


@dataclass(frozen=True, slots=True)
class Managed:
    """An account, and since when nobody gets into it."""

    account: Account
    disabled_at: datetime | None


class ManagedAccounts(Protocol):
    """Accounts as administrators reach them."""

    async def accounts(self, email: str | None, after: Position | None, limit: int) -> Sequence[Managed]:
        """Read accounts whose address holds `email`, the newest first."""

    async def managed(self, user_id: UUID) -> Managed | None:
        """Read one account."""

    async def manage(
        self, user_id: UUID, role: str | None, disabled: bool | None, at: datetime
    ) -> tuple[Managed, Sequence[UUID]] | None:
        """Write what is not None and revoke the account's sessions: it as it is now, and the families that ended."""


@dataclass(frozen=True)
class Administration:
    """The use cases of administrators."""

    store: ManagedAccounts
    revoked: RevokedSessions
    now: Now

    async def change(self, user_id: UUID, *, role: str | None, disabled: bool | None) -> Managed:
        """Change the role, disable or enable; its sessions end either way. Raises AccountUnknown."""
        changed = await self.store.manage(user_id, role, disabled, await self.now())
        if changed is None:
            raise AccountUnknown("there is no such account")
        managed, families = changed
        for family_id in families:
            await self.revoked.add(family_id)
        return managed
