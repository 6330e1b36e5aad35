"""Register, log in, refresh, log out; and the keys that verify access tokens."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from service_kit.auth import JWKS_PATH, Principal
from task_api.application.sessions import Registration, Session, Sessions
from task_api.entrypoints.http.account_models import LoginBody, RefreshBody, RegisterBody, SessionAnswer
from task_api.entrypoints.http.documented import problems

Caller = Callable[..., Awaitable[Principal]]


def auth_routes(sessions: Sessions, caller: Caller, jwks: dict[str, Any]) -> APIRouter:
    """Give the routes under /api/v1/auth, and the key set."""
    router = APIRouter(tags=["auth"])

    @router.post(
        "/api/v1/auth/register", status_code=201, response_model=SessionAnswer, responses=problems(409, 422)
    )
    async def register(body: RegisterBody) -> Response:
        """Make an account and log in to it."""
        registration = Registration(
            email=body.email,
            password=body.password,
            timezone=body.timezone,
            first_name=body.first_name,
            last_name=body.last_name,
        )
        return _session(await sessions.register(registration), 201)

    @router.post("/api/v1/auth/login", response_model=SessionAnswer, responses=problems(401, 422))
    async def login(body: LoginBody) -> Response:
        """Log in with e-mail address and password."""
        return _session(await sessions.login(body.email, body.password))

    @router.post("/api/v1/auth/refresh", response_model=SessionAnswer, responses=problems(401, 422))
    async def refresh(body: RefreshBody) -> Response:
        """Get a new pair of tokens for a refresh token. One that is used a second time ends its session."""
        return _session(await sessions.refresh(body.refresh_token))

    @router.post("/api/v1/auth/logout", status_code=204, responses=problems(401))
    async def logout(principal: Annotated[Principal, Depends(caller)]) -> Response:
        """End the session of the access token."""
        if principal.family_id is not None:
            await sessions.logout(principal.user_id, principal.family_id)
        return Response(status_code=204)

    @router.get(JWKS_PATH)
    async def keys() -> dict[str, Any]:
        """The public keys of access tokens (RFC 7517)."""
        return jwks

    return router


def _session(session: Session, status: int = 200) -> Response:
    return Response(
        SessionAnswer.of(session).model_dump_json(),
        status_code=status,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
