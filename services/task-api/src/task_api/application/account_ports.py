"""What accounts and sessions ask of the outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from task_api.application.audit import AuditLine
from task_api.domain.account import Account


@dataclass(frozen=True, slots=True)
class NewSession:
    """A login: its family, and the hash of the first refresh token, which is all that is kept of it."""

    family_id: UUID
    token_hash: bytes
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Rotated:
    """Whose session a refresh token continued."""

    account: Account
    family_id: UUID


class AccountStore(Protocol):
    """Accounts and their sessions; every method is one transaction.

    Where a line is handed over the change is made at its time, and it is written along with the change or not at all.
    """

    async def register(
        self, account: Account, email_key: str, password_hash: str, session: NewSession, line: AuditLine
    ) -> bool:
        """Insert account, family and token; False when the e-mail key is taken."""

    async def credentials(self, email_key: str) -> tuple[Account, str] | None:
        """Read an account and its password hash."""

    async def open_session(self, user_id: UUID, session: NewSession, line: AuditLine) -> Account | None:
        """Insert a family and its first token, and read the account as it is now; None when it is shut or gone."""

    async def rotate(
        self, old_hash: bytes, new_hash: bytes, expires_at: datetime, line: AuditLine
    ) -> Rotated | None:
        """Use up a token and insert its follower; None when it is unknown, used, expired or revoked.

        The line is written for the owner of the token.
        """

    async def revoke_reused(self, token_hash: bytes, line: AuditLine) -> UUID | None:
        """Revoke the family of a token that was used before, and give it; None when it was not used, or is revoked.

        The line is written for the owner of the token.
        """

    async def revoke(self, user_id: UUID, family_id: UUID, line: AuditLine) -> None:
        """Revoke a family of this user; one that is revoked stays so, and the line is written all the same."""

    async def is_revoked(self, family_id: UUID) -> bool:
        """Whether a family is revoked, or gone."""

    async def revoked_since(self, since: datetime) -> Sequence[UUID]:
        """Read the families that were revoked since then."""

    async def keep_password(self, user_id: UUID, old_hash: str, new_hash: str) -> None:
        """Put a stronger hash of the same password in the place of the old one."""

    async def account(self, user_id: UUID) -> Account | None:
        """Read an account."""


class Passwords(Protocol):
    """Hashes and checks passwords, off the event loop."""

    async def hash(self, password: str) -> str:
        """Give the hash to keep."""

    def is_outdated(self, kept: str) -> bool:
        """Whether a hash was made with weaker settings than today's."""

    async def matches(self, password: str, kept: str | None) -> bool:
        """Whether the password is the one behind the hash; for None it takes as long and says no."""


class TokenIssuer(Protocol):
    """Signs access tokens."""

    @property
    def lifetime_seconds(self) -> int: ...

    def issue(self, account: Account, family_id: UUID, at: datetime) -> str:
        """Give a signed access token."""


class RevokedSessions(Protocol):
    """The mirror of revoked families that every service can ask."""

    async def add(self, family_id: UUID) -> None:
        """Remember a revoked family for as long as its access tokens live."""
