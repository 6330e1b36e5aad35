"""Register, log in, refresh, log out. A session is a family of refresh tokens, each good for one use."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from task_api.application.account_ports import (
    AccountStore,
    NewSession,
    Passwords,
    RevokedSessions,
    TokenIssuer,
)
from task_api.application.audit import Audit, Origin, count_action
from task_api.domain.account import Account, check_password, email_key
from task_api.domain.errors import EmailTaken, InvalidCredentials, InvalidRefreshToken, RefreshTokenReused
from task_api.domain.ids import new_id

REFRESH_LIFETIME = timedelta(days=7)
_NOT_TOGETHER = "e-mail address and password do not belong together"
_PREFIX = "tsr_"


@dataclass(frozen=True, slots=True)
class Registration:
    """What a person gives to register; the e-mail address is valid, the zone exists."""

    email: str
    password: str = field(repr=False)
    timezone: str = "UTC"
    first_name: str | None = None
    last_name: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it is handed out; `expires_in` is the access token's lifetime in seconds."""

    account: Account
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int


@dataclass(frozen=True)
class Sessions:
    """The use cases around sessions."""

    store: AccountStore
    passwords: Passwords
    issuer: TokenIssuer
    revoked: RevokedSessions
    audit: Audit

    async def register(self, request: Registration, origin: Origin) -> Session:
        """Make an account and its first session. Raises WeakPassword, EmailTaken."""
        check_password(request.password, request.email)
        password_hash = await self.passwords.hash(request.password)
        user_id = new_id()
        line = await self.audit.line("register", origin, user_id=user_id)
        account = Account(
            id=user_id,
            email=request.email,
            timezone=request.timezone,
            created_at=line.at,
            updated_at=line.at,
            first_name=request.first_name,
            last_name=request.last_name,
        )
        token = _new_token()
        session = _new_session(token, line.at)
        if not await self.store.register(account, email_key(request.email), password_hash, session, line):
            raise EmailTaken("there is an account with this e-mail address")
        count_action(line)
        return self._handed_out(account, session.family_id, line.at, token)

    async def login(self, email: str, password: str, origin: Origin) -> Session:
        """Open a session. Raises InvalidCredentials, after the same work whether or not the account exists."""
        found = await self.store.credentials(email_key(email))
        account, kept = found if found is not None else (None, None)
        matches = await self.passwords.matches(password, kept)
        if account is None or not matches:
            raise InvalidCredentials(_NOT_TOGETHER, None if account is None else account.id)
        if kept is not None and self.passwords.is_outdated(kept):
            await self.store.keep_password(account.id, kept, await self.passwords.hash(password))
        line = await self.audit.line("login", origin, user_id=account.id)
        token = _new_token()
        session = _new_session(token, line.at)
        # While the password was checked the account may have been disabled, or its role changed: what it is now counts.
        current = await self.store.open_session(account.id, session, line)
        if current is None:
            raise InvalidCredentials(_NOT_TOGETHER, account.id)
        count_action(line)
        return self._handed_out(current, session.family_id, line.at, token)

    async def refresh(self, token: str, origin: Origin) -> Session:
        """Continue a session with a new pair.

        Raises InvalidRefreshToken, RefreshTokenReused. A token that comes a second time was copied by somebody: the
        family is revoked.
        """
        line = await self.audit.line("refresh", origin)
        fresh = _new_token()
        rotated = await self.store.rotate(_hash(token), _hash(fresh), line.at + REFRESH_LIFETIME, line)
        if rotated is None:
            await self._end_reused(token, origin)
            raise InvalidRefreshToken("the refresh token is not valid, or was used before")
        count_action(line)
        return self._handed_out(rotated.account, rotated.family_id, line.at, fresh)

    async def _end_reused(self, token: str, origin: Origin) -> None:
        line = await self.audit.line("refresh_token_reused", origin, succeeded=False)
        family_id = await self.store.revoke_reused(_hash(token), line)
        if family_id is None:
            return
        count_action(line)
        await self.revoked.add(family_id)
        raise RefreshTokenReused("the refresh token is not valid, or was used before")

    async def logout(self, user_id: UUID, family_id: UUID, origin: Origin) -> None:
        """End a session: its refresh tokens and its access tokens are of no more use."""
        line = await self.audit.line("logout", origin, user_id=user_id)
        await self.store.revoke(user_id, family_id, line)
        count_action(line)
        await self.revoked.add(family_id)

    def _handed_out(self, account: Account, family_id: UUID, at: datetime, token: str) -> Session:
        access = self.issuer.issue(account, family_id, at)
        return Session(account, access, token, self.issuer.lifetime_seconds)


def _new_session(token: str, at: datetime) -> NewSession:
    return NewSession(new_id(), _hash(token), at + REFRESH_LIFETIME)


def _new_token() -> str:
    return _PREFIX + secrets.token_urlsafe(32)


def _hash(token: str) -> bytes:
    # 256 random bits need no slow hash: they cannot be guessed one by one.
    return hashlib.sha256(token.encode()).digest()
