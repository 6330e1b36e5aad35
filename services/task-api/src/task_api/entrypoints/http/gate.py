"""Who gets in: a session's token or an API key becomes a caller, within their scopes and limits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic

from fastapi import Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from fastapi.security.utils import get_authorization_scheme_param

from service_kit.auth import Principal, TokenVerifier, invalid_token, missing_token
from service_kit.problems import Problem
from service_kit.rate_limits import Limit, RateLimiter
from task_api.application.api_keys import AUDITED_AS, PREFIX, ApiKeys, Scope
from task_api.application.audit import Audit
from task_api.application.usage_metrics import KEY_LOOKUPS
from task_api.entrypoints.http.aliases import OWNER_KEY, is_owner
from task_api.entrypoints.http.callers import Caller, Callers
from task_api.entrypoints.http.limits import tell_allowance
from task_api.entrypoints.http.origins import origin_of

ADMIN = "admin"
_KEPT_SECONDS = 5.0
_KEPT_MAX = 1_000
_DESCRIPTION = "Access token of POST /api/v1/auth/login, or an API key (tsk_…)"


@dataclass(frozen=True, slots=True)
class _Known:
    """An API key that was good a moment ago."""

    principal: Principal
    scopes: frozenset[Scope]
    until: float


class _Door(SecurityBase):
    """The dependency of a route: shows its scheme in the OpenAPI document, and lets in by what the header says.

    One step rather than FastAPI's bearer scheme and a dependency of it: each step is looked through anew by every
    request.
    """

    def __init__(self, admit: Callable[[Request, str], Awaitable[Principal]]) -> None:
        self.model = HTTPBearer(description=_DESCRIPTION)
        self.scheme_name = "HTTPBearer"
        self._admit = admit

    async def __call__(self, request: Request) -> Principal:
        scheme, secret = get_authorization_scheme_param(request.headers.get("Authorization"))
        if scheme.lower() != "bearer" or not secret:
            raise missing_token()
        return await self._admit(request, secret)


class Gate:
    """Makes the callers' dependencies. A revoked key is refused at once here, within 5 s in other replicas."""

    def __init__(
        self,
        verifier: TokenVerifier,
        keys: ApiKeys,
        limiter: RateLimiter | None,
        per_minute: int,
        audit: Audit,
    ) -> None:
        self._verifier = verifier
        self._keys = keys
        self._limiter = limiter
        self._per_minute = per_minute
        self._audit = audit
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._forgotten = 0

    def callers(self) -> Callers:
        """Give the dependencies."""
        return Callers(
            read=self._scoped(Scope.READ),
            write=self._scoped(Scope.WRITE),
            session=self._session(),
            admin=self._session(ADMIN),
        )

    def forget_keys(self) -> None:
        """Ask for every key anew: one was revoked, or its account disabled."""
        self._forgotten += 1
        self._known.clear()

    def _scoped(self, scope: Scope) -> Caller:
        async def admit(request: Request, secret: str) -> Principal:
            if not secret.startswith(PREFIX):
                principal = await self._verifier.verify(secret)
                return await self._limited(request, _of_this_path(request, principal))
            known = await self._key(request, secret)
            if scope not in known.scopes:
                raise Problem(403, "scope_missing", f"This API key has no scope {scope}.")
            return await self._limited(request, _of_this_path(request, known.principal))

        return _Door(admit)

    def _session(self, role: str | None = None) -> Caller:
        async def admit(request: Request, secret: str) -> Principal:
            if secret.startswith(PREFIX):
                await self._key(request, secret)
                raise Problem(403, "session_required", "An API key does not reach this: log in.")
            principal = await self._verifier.verify(secret)
            if role is not None and role not in principal.roles:
                raise Problem(403, "role_missing", f"This needs the role {role}.")
            return await self._limited(request, principal)

        return _Door(admit)

    async def _key(self, request: Request, secret: str) -> _Known:
        known = self._known.get(secret)
        if known is None or known.until < monotonic():
            before = self._forgotten
            found = await self._keys.find(secret, origin_of(request))
            KEY_LOOKUPS.labels("nowhere" if found is None else "stored").inc()
            if found is None:
                self._known.pop(secret, None)
                await self._audit.note(AUDITED_AS, origin_of(request), succeeded=False)
                raise invalid_token("The API key is not valid, has expired or was revoked.")
            principal = Principal(found.user_id, frozenset(), None, str(found.id), key_id=found.id)
            known = _Known(principal, frozenset(found.scopes), monotonic() + _KEPT_SECONDS)
            if before == self._forgotten:  # else it may have been read just before it was revoked
                self._known[secret] = known
            while len(self._known) > _KEPT_MAX:
                self._known.popitem(last=False)
        else:
            KEY_LOOKUPS.labels("kept").inc()
        return known

    async def _limited(self, request: Request, principal: Principal) -> Principal:
        if self._limiter is not None:
            limit = Limit("user", str(principal.user_id), self._per_minute)
            tell_allowance(request.scope, await self._limiter.take([limit]))
        return principal


def _of_this_path(request: Request, principal: Principal) -> Principal:
    named = request.scope.get(OWNER_KEY)
    if named is not None and not is_owner(named, principal.user_id):
        raise Problem(403, "not_yours", "These tasks are another user's.")
    return principal
