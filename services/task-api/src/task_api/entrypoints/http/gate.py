"""Who gets in: a session's token or an API key becomes a caller, within their scopes and limits."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service_kit.auth import Principal, TokenVerifier, invalid_token, missing_token
from service_kit.problems import Problem
from service_kit.rate_limits import Limit, RateLimiter
from task_api.application.api_keys import PREFIX, ApiKeys, Scope
from task_api.entrypoints.http.aliases import OWNER_KEY, is_owner
from task_api.entrypoints.http.callers import Caller, Callers

ADMIN = "admin"
_KEPT_SECONDS = 5.0
_KEPT_MAX = 1_000
_scheme = HTTPBearer(
    auto_error=False, description="Access token of POST /api/v1/auth/login, or an API key (tsk_…)"
)
_Credentials = HTTPAuthorizationCredentials | None


@dataclass(frozen=True, slots=True)
class _Known:
    """An API key that was good a moment ago."""

    principal: Principal
    scopes: frozenset[Scope]
    until: float


class Gate:
    """Makes the callers' dependencies. A revoked key is refused at once here, within 5 s in other replicas."""

    def __init__(
        self,
        verifier: TokenVerifier,
        keys: ApiKeys,
        limiter: RateLimiter | None,
        per_minute: int,
    ) -> None:
        self._verifier = verifier
        self._keys = keys
        self._limiter = limiter
        self._per_minute = per_minute
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def callers(self) -> Callers:
        """Give the dependencies."""
        return Callers(
            read=self._scoped(Scope.READ),
            write=self._scoped(Scope.WRITE),
            session=self._session(),
            admin=self._session(ADMIN),
        )

    def forget_keys(self) -> None:
        """Ask for every key anew: one was revoked."""
        self._known.clear()

    def _scoped(self, scope: Scope) -> Caller:
        async def caller(request: Request, credentials: _Credentials = Depends(_scheme)) -> Principal:
            if credentials is None:
                raise missing_token()
            if not credentials.credentials.startswith(PREFIX):
                principal = await self._verifier.verify(credentials.credentials)
                return await self._limited(_of_this_path(request, principal))
            known = await self._key(credentials.credentials)
            if scope not in known.scopes:
                raise Problem(403, "scope_missing", f"This API key has no scope {scope}.")
            return await self._limited(_of_this_path(request, known.principal))

        return caller

    def _session(self, role: str | None = None) -> Caller:
        async def caller(credentials: _Credentials = Depends(_scheme)) -> Principal:
            if credentials is None:
                raise missing_token()
            if credentials.credentials.startswith(PREFIX):
                await self._key(credentials.credentials)
                raise Problem(403, "session_required", "An API key does not reach this: log in.")
            principal = await self._verifier.verify(credentials.credentials)
            if role is not None and role not in principal.roles:
                raise Problem(403, "role_missing", f"This needs the role {role}.")
            return await self._limited(principal)

        return caller

    async def _key(self, secret: str) -> _Known:
        known = self._known.get(secret)
        if known is None or known.until < monotonic():
            found = await self._keys.find(secret)
            if found is None:
                self._known.pop(secret, None)
                raise invalid_token("The API key is not valid, has expired or was revoked.")
            principal = Principal(found.user_id, frozenset(), None, str(found.id))
            known = _Known(principal, frozenset(found.scopes), monotonic() + _KEPT_SECONDS)
            self._known[secret] = known
            while len(self._known) > _KEPT_MAX:
                self._known.popitem(last=False)
        return known

    async def _limited(self, principal: Principal) -> Principal:
        if self._limiter is not None:
            await self._limiter.take([Limit("user", str(principal.user_id), self._per_minute)])
        return principal


def _of_this_path(request: Request, principal: Principal) -> Principal:
    named = request.scope.get(OWNER_KEY)
    if named is not None and not is_owner(named, principal.user_id):
        raise Problem(403, "not_yours", "These tasks are another user's.")
    return principal
