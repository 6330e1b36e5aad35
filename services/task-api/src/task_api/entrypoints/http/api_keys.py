"""API keys of the caller."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field, StringConstraints

from service_kit.auth import Principal
from task_api.application.api_keys import ApiKeys, Scope
from task_api.domain.errors import InvalidTask
from task_api.entrypoints.http.callers import Callers
from task_api.entrypoints.http.documented import problems
from task_api.entrypoints.http.fields import STORABLE, Answer, Body, Instant, at_most
from task_api.entrypoints.http.origins import origin_of
from task_api.entrypoints.http.task_answers import json_answer

_ROOT = "/api/v1/api-keys"
_EXAMPLE = {"name": "backup script", "scopes": ["tasks:read"]}


class ApiKeyBody(Body, json_schema_extra={"examples": [_EXAMPLE]}):
    """A key to be made: for what, and what it may do."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), STORABLE]
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=len(Scope)), at_most(len(Scope))]
    expires_at: Instant | None = None


class ApiKeyAnswer(Answer):
    """A key, but for the key itself."""

    id: UUID
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class NewApiKeyAnswer(ApiKeyAnswer):
    """A key as it was made: `key` is shown this once, and sent as `Authorization: Bearer`."""

    key: str


class ApiKeysAnswer(Answer):
    """The caller's keys, the newest first."""

    items: tuple[ApiKeyAnswer, ...]


def api_key_routes(callers: Callers, keys: ApiKeys, forget: Callable[[], None]) -> APIRouter:
    """Give the routes under /api/v1/api-keys. They take a session's token: a key makes no keys."""
    router = APIRouter(tags=["api keys"])
    Session = Annotated[Principal, Depends(callers.session)]  # noqa: N806 - a type

    @router.get(_ROOT, response_model=ApiKeysAnswer, responses=problems(401, 403))
    async def listed(principal: Session) -> Response:
        """The caller's API keys."""
        found = await keys.of(principal.user_id)
        return json_answer(ApiKeysAnswer(items=tuple(ApiKeyAnswer.model_validate(key) for key in found)))

    @router.post(
        _ROOT, status_code=201, response_model=NewApiKeyAnswer, responses=problems(400, 401, 403, 409, 422)
    )
    async def make(body: ApiKeyBody, principal: Session, request: Request) -> Response:
        """Make an API key. The key itself is in this answer alone."""
        if body.expires_at is not None and body.expires_at <= await keys.now():
            raise InvalidTask("expires_at", "in_past", "is not in the future")
        made, secret = await keys.make(
            principal.user_id, body.name, body.scopes, body.expires_at, origin_of(request)
        )
        answer = NewApiKeyAnswer(key=secret, **ApiKeyAnswer.model_validate(made).model_dump())
        return json_answer(answer, 201, {"Cache-Control": "no-store"})

    @router.delete(f"{_ROOT}/{{key_id}}", status_code=204, responses=problems(401, 403, 404, 422))
    async def remove(key_id: UUID, principal: Session, request: Request) -> Response:
        """Revoke an API key."""
        await keys.remove(principal.user_id, key_id, origin_of(request))
        forget()
        return Response(status_code=204)

    return router
