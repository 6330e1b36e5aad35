"""Who may call the routes that are not for clients: the own sidecar, or a sibling by service invocation.

The sidecar sends its token with every call, invocations by other services included; what tells these apart is
`dapr-caller-app-id`, which the sidecar sets itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hmac import compare_digest

from starlette.requests import Request

from service_kit.problems import Problem
from service_kit.settings import ServiceSettings

TOKEN_HEADER = "dapr-api-token"  # noqa: S105 - a header's name
CALLER_HEADER = "dapr-caller-app-id"

RequestCheck = Callable[[Request], Awaitable[None]]


def require_own_sidecar(settings: ServiceSettings) -> RequestCheck:
    """Give a FastAPI dependency that lets only the own sidecar pass, and no call it passes on for another service.

    Raises Problem 403; the request's body is not touched.
    """

    async def only_own_sidecar(request: Request) -> None:
        if not _has_token(request, settings) or CALLER_HEADER in request.headers:
            raise _forbidden()

    return only_own_sidecar


def require_sibling(settings: ServiceSettings, *app_ids: str) -> RequestCheck:
    """Give a FastAPI dependency that lets only invocations by one of `app_ids` pass. Raises Problem 403."""

    async def only_siblings(request: Request) -> None:
        callers = request.headers.getlist(CALLER_HEADER)
        if not _has_token(request, settings) or len(callers) != 1 or callers[0] not in app_ids:
            raise _forbidden()

    return only_siblings


def _has_token(request: Request, settings: ServiceSettings) -> bool:
    sent = request.headers.get(TOKEN_HEADER, "")
    return compare_digest(sent.encode(), settings.app_api_token.get_secret_value().encode())


def _forbidden() -> Problem:
    return Problem(403, "forbidden", "This address is not for clients.")
