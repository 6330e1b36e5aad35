"""The public half of our key towards push services: without it a browser cannot subscribe (RFC 8292, section 4.1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from service_kit.auth import Principal
from service_kit.problems import Problem


class PushKeyBody(BaseModel):
    """For `applicationServerKey` of the browser's `pushManager.subscribe`."""

    public_key: str = Field(
        description="the uncompressed P-256 point, 65 bytes in base64url",
        examples=["BEl62iUYgUivxIkv69yViEuiBIa-Ib9-SkvMeAtA3LFgDzkrxZJjSgSnfckjBJuBkr3qBUYIHBQFLXYp5Nksh8U"],
    )


def push_key_router(public_key: str | None, principal: Callable[..., Awaitable[Principal]]) -> APIRouter:
    """GET /api/v1/notifications/push-key; `public_key` is None where nothing is pushed."""
    routes = APIRouter(
        prefix="/api/v1/notifications", tags=["Notifications"], dependencies=[Depends(principal)]
    )

    async def push_key() -> PushKeyBody:
        """The key with which a browser subscribes; it changes only when the operator changes it."""
        if public_key is None:
            detail = "Web push is not set up here: its operator has given no VAPID_PRIVATE_KEY."
            raise Problem(404, "web_push_not_set_up", detail)
        return PushKeyBody(public_key=public_key)

    routes.add_api_route("/push-key", push_key, methods=["GET"])
    return routes
