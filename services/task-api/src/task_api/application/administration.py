"""What an administrator may change of an account, and what that ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from task_api.application.account_ports import RevokedSessions
from task_api.application.audit import Audit, AuditLine, Origin, count_action
from task_api.application.ports import Position
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
        self, user_id: UUID, role: str | None, disabled: bool | None, line: AuditLine
    ) -> tuple[Managed, Sequence[UUID]] | None:
        """Write what is not None, revoke the account's sessions and note it, all at once, at the time of the line.

        Gives the account as it is now, and the families that ended; None, and no line, when there is none. Raises
        AccountErased when one is to be enabled whose erasure was asked for, and writes nothing.
        """


@dataclass(frozen=True)
class Administration:
    """The use cases of administrators."""

    store: ManagedAccounts
    revoked: RevokedSessions
    audit: Audit

    async def change(
        self, user_id: UUID, *, role: str | None, disabled: bool | None, admin_id: UUID, origin: Origin
    ) -> Managed:
        """Change the role, disable or enable; its sessions end either way. Raises AccountUnknown, AccountErased."""
        asked: dict[str, Any] = {"role": role, "disabled": disabled}
        detail = {"admin": str(admin_id)} | {
            name: value for name, value in asked.items() if value is not None
        }
        line = await self.audit.line("account_changed_by_admin", origin, user_id=user_id, detail=detail)
        changed = await self.store.manage(user_id, role, disabled, line)
        if changed is None:
            raise AccountUnknown("there is no such account")
        count_action(line)
        managed, families = changed
        for family_id in families:
            await self.revoked.add(family_id)
        return managed
