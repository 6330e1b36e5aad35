"""Register, log in, refresh, log out; and the keys that verify access tokens. Each attempt is in the audit log."""

import hashlib
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request, Response

from service_kit.auth import JWKS_PATH, KEYS_KEPT_SECONDS, Principal
from service_kit.problems import Problem
from task_api.application.audit import Audit
from task_api.application.sessions import Registration, Session, Sessions
from task_api.domain.errors import EmailTaken, InvalidCredentials, InvalidRefreshToken, RefreshTokenReused
from task_api.entrypoints.http.account_models import LoginBody, RefreshBody, RegisterBody, SessionAnswer
from task_api.entrypoints.http.callers import Caller
from task_api.entrypoints.http.conditional import IfChanged
from task_api.entrypoints.http.documented import NOT_MODIFIED, problems
from task_api.entrypoints.http.fields import Answer
from task_api.entrypoints.http.origins import origin_of
from task_api.entrypoints.http.task_answers import json_answer


class KeySetAnswer(Answer):
    """A key set (RFC 7517, 5)."""

    keys: tuple[dict[str, str], ...]


def auth_routes(
    sessions: Sessions, caller: Caller, jwks: dict[str, Any], audit: Audit, *, registration_open: bool
) -> APIRouter:
    """Give the routes under /api/v1/auth, and the key set."""
    router = APIRouter(tags=["auth"])

    @router.post(
        "/api/v1/auth/register",
        status_code=201,
        response_model=SessionAnswer,
        responses=problems(400, 403, 409, 422),
    )
    async def register(body: RegisterBody, request: Request) -> Response:
        """Make an account and log in to it."""
        if not registration_open:
            raise Problem(403, "registration_closed", "Accounts are made by the administrators here.")
        registration = Registration(
            email=body.email,
            password=body.password,
            timezone=body.timezone,
            first_name=body.first_name,
            last_name=body.last_name,
        )
        try:
            session = await sessions.register(registration, origin_of(request))
        except EmailTaken:
            await audit.note("register", origin_of(request), succeeded=False)
            raise
        return _session(session, 201)

    @router.post("/api/v1/auth/login", response_model=SessionAnswer, responses=problems(400, 401, 422))
    async def login(body: LoginBody, request: Request) -> Response:
        """Log in with e-mail address and password."""
        try:
            session = await sessions.login(body.email, body.password, origin_of(request))
        except InvalidCredentials as refused:
            await audit.note("login", origin_of(request), user_id=refused.user_id, succeeded=False)
            raise
        return _session(session)

    @router.post("/api/v1/auth/refresh", response_model=SessionAnswer, responses=problems(400, 401, 422))
    async def refresh(body: RefreshBody, request: Request) -> Response:
        """Get a new pair of tokens for a refresh token. One that is used a second time ends its session."""
        try:
            session = await sessions.refresh(body.refresh_token, origin_of(request))
        except RefreshTokenReused:
            raise  # noted along with the end of its session
        except InvalidRefreshToken:
            await audit.note("refresh", origin_of(request), succeeded=False)
            raise
        return _session(session)

    @router.post("/api/v1/auth/logout", status_code=204, responses=problems(401, 403))
    async def logout(principal: Annotated[Principal, Depends(caller)], request: Request) -> Response:
        """End the session of the access token, at every service."""
        if principal.family_id is None:
            await audit.note("logout", origin_of(request), user_id=principal.user_id)
        else:
            await sessions.logout(principal.user_id, principal.family_id, origin_of(request))
        return Response(status_code=204)

    document = orjson.dumps(jwks)
    known = f'"{hashlib.blake2b(document, digest_size=16).hexdigest()}"'
    kept = {"ETag": known, "Cache-Control": f"public, max-age={KEYS_KEPT_SECONDS}"}

    @router.get(JWKS_PATH, response_model=KeySetAnswer, responses=NOT_MODIFIED)
    async def keys(seen: IfChanged) -> Response:
        """The public keys of access tokens (RFC 7517)."""
        # If-None-Match compares weakly (RFC 9110, 13.1.2).
        if {known, f"W/{known}", "*"} & seen.tags:
            return Response(status_code=304, headers=kept)
        return Response(document, media_type="application/json", headers=kept)

    return router


def _session(session: Session, status: int = 200) -> Response:
    return json_answer(SessionAnswer.of(session), status, {"Cache-Control": "no-store"})
