"""The caller's own profile."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from service_kit.auth import Principal
from task_api.application.audit import Origin
from task_api.domain.account import Account
from task_api.entrypoints.http.account_models import ProfileAnswer, ProfilePatch
from task_api.entrypoints.http.documented import problems
from task_api.entrypoints.http.origins import origin_of

ReadAccount = Callable[[UUID], Awaitable[Account]]
ChangeAccount = Callable[[UUID, Mapping[str, Any], Origin], Awaitable[Account]]


def user_routes(
    caller: Callable[..., Awaitable[Principal]], read: ReadAccount, change: ChangeAccount
) -> APIRouter:
    """Give the routes under /api/v1/users; `read` and `change` raise AccountNotFound."""
    router = APIRouter(tags=["users"])

    @router.get("/api/v1/users/me", response_model=ProfileAnswer, responses=problems(401, 403))
    async def me(principal: Annotated[Principal, Depends(caller)]) -> Response:
        """The caller's profile."""
        return _profile(await read(principal.user_id))

    @router.patch(
        "/api/v1/users/me", response_model=ProfileAnswer, responses=problems(400, 401, 403, 409, 422)
    )
    async def change_me(
        body: ProfilePatch, principal: Annotated[Principal, Depends(caller)], request: Request
    ) -> Response:
        """Change the profile. A new time zone or start of the day moves the open all-day tasks along."""
        return _profile(await change(principal.user_id, body.fields(), origin_of(request)))

    return router


def _profile(account: Account) -> Response:
    return Response(ProfileAnswer.of(account).model_dump_json(), media_type="application/json")
