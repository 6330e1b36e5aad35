"""Rate limits by address, around all routes; those by user are taken where the user becomes known."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service_kit.problems import Problem, problem_response
from service_kit.rate_limits import Limit, RateLimiter

_AUTH = "/api/v1/auth/"
_FREE = ("/health", "/metrics", "/events/", "/internal/", "/dapr/")


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests a minute: for one user, for one address, and for one address on the routes under /api/v1/auth."""

    user: int
    address: int
    auth: int


class AddressLimits:
    """Takes the limits of the client's address before anything else is done for the request."""

    def __init__(self, app: ASGIApp, limiter: RateLimiter, limits: Limits) -> None:
        self._app = app
        self._limiter = limiter
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse with 429, or go on and tell how much is left."""
        if scope["type"] != "http" or scope["path"].startswith(_FREE):
            await self._app(scope, receive, send)
            return
        address = scope["client"][0] if scope.get("client") else "unknown"
        wanted = [Limit("address", address, self._limits.address)]
        if scope["path"].startswith(_AUTH):
            wanted.append(Limit("auth", address, self._limits.auth))
        try:
            headers = await self._limiter.take(wanted)
        except Problem as refused:
            await problem_response(refused)(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = MutableHeaders(scope=message)
                for name, value in headers.items():
                    said.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)
