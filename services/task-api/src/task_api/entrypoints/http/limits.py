"""Rate limits by address, around all routes; those by user are taken where the user becomes known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service_kit.problems import Problem, problem_response
from service_kit.rate_limits import REMAINING, Limit, RateLimiter

_AUTH = "/api/v1/auth/"
_CALENDAR = "/api/v1/calendar.ics"
_FREE = ("/health", "/metrics", "/events/", "/internal/", "/dapr/")
_TOLD = "task_api.rate_limit_headers"


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests a minute: for one user, for one address, and for one address on the routes under /api/v1/auth.

    The calendar feed, which a guessed secret would open, has a count of its own that is as small: programs that poll
    it keep nobody from logging in.
    """

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
        elif scope["path"] == _CALENDAR:
            wanted.append(Limit("calendar", address, self._limits.auth))
        try:
            headers = await self._limiter.take(wanted)
        except Problem as refused:
            await problem_response(refused)(scope, receive, send)
            return
        scope[_TOLD] = dict(headers)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = MutableHeaders(scope=message)
                for name, value in scope[_TOLD].items():
                    said.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


def tell_allowance(scope: Scope, headers: Mapping[str, str]) -> None:
    """Let the answer carry these RateLimit headers, unless those of another limit leave less."""
    told = scope.get(_TOLD)
    if told is not None and headers and (not told or int(headers[REMAINING]) < int(told[REMAINING])):
        told.update(headers)
