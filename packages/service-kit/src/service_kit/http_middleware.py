"""The pure ASGI middlewares of `http_app`: they pass messages on as they come, so streams stay streams."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from opentelemetry.trace import Span, SpanKind, StatusCode
from prometheus_client import Counter, Histogram
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from service_kit import telemetry
from service_kit.logs import get_logger
from service_kit.metrics import HTTP_DURATION, HTTP_IN_PROGRESS, HTTP_REQUESTS
from service_kit.problems import Problem, log_unexpected, logged_path, problem_response, unexpected_problem

QUIET_KEY = "service_kit.quiet"
"""In the scope of a request that leaves no line when it succeeds."""
UNLOGGED_KEY = "service_kit.unlogged"
"""In that of one that leaves none at all: what answered it tells of many together."""
_UNMATCHED = "unmatched"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SANE_ID = re.compile(r"[A-Za-z0-9._~:/+=-]{1,128}")
_DOCUMENTATION = ("/docs", "/redoc")
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
_CONTENT_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_ASKED_HEADERS = frozenset({b"x-request-id", b"x-correlation-id", b"traceparent", b"tracestate"})


class RequestScope:
    """Gives each request its ids and its span, measures and logs it, answers what nobody caught, adds headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # Bound once: finding the configuration anew for each line costs more than writing it.
        self._log = get_logger("service_kit.access").bind()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = {name: value.decode("latin-1") for name, value in scope["headers"] if name in _ASKED_HEADERS}
        request = _sane(asked.get(b"x-request-id")) or str(uuid4())
        tokens = telemetry.bind_request(request, _sane(asked.get(b"x-correlation-id")) or request)
        exchange = _Exchange(scope, send, request, self._log)
        HTTP_IN_PROGRESS.inc()
        try:
            with telemetry.span(
                scope["method"],
                kind=SpanKind.SERVER,
                traceparent=asked.get(b"traceparent", ""),
                tracestate=asked.get(b"tracestate"),
            ) as span:
                await self._answer(scope, receive, exchange)
                exchange.finish(span)
        finally:
            HTTP_IN_PROGRESS.dec()
            telemetry.unbind_request(tokens)

    async def _answer(self, scope: Scope, receive: Receive, exchange: _Exchange) -> None:
        try:
            await self._app(scope, receive, exchange.send)
        except Exception as error:
            log_unexpected(scope, error)
            if exchange.status is None:
                await problem_response(unexpected_problem())(scope, receive, exchange.send)
            else:
                # The answer is half sent: only a broken connection tells the client that it is not whole.
                exchange.finish(None)
                raise


class _Exchange:
    """One request and what became of it."""

    def __init__(self, scope: Scope, send: Send, request_id: str, log: FilteringBoundLogger) -> None:
        self.status: int | None = None
        self._log = log
        self._scope = scope
        self._send = send
        self._request_id = request_id
        self._began = perf_counter()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message.get("headers", ())
            message["headers"] = self._with_ours(_at_this_host(headers) if self.status == 307 else headers)
        await self._send(message)

    def _with_ours(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The answer's headers, the request id, and the security headers that the route did not set itself."""
        given = [(name, value) for name, value in headers if name != b"x-request-id"]
        names = {name for name, _ in given}
        given.append((b"x-request-id", self._request_id.encode()))
        given += [header for header in _SECURITY_HEADERS if header[0] not in names]
        if _CONTENT_POLICY[0] not in names and not self._scope["path"].startswith(_DOCUMENTATION):
            # The documentation pages load their scripts; nothing else of ours is a page.
            given.append(_CONTENT_POLICY)
        return given

    def finish(self, span: Span | None) -> None:
        elapsed = perf_counter() - self._began
        status = self.status or 499
        method = self._scope["method"] if self._scope["method"] in _METHODS else "OTHER"
        route = route_template(self._scope)
        requests, duration = _meters(method, route, status)
        requests.inc()
        duration.observe(elapsed)
        if span is not None and span.is_recording():
            _describe(span, method, route, status)
        if self._scope.get(UNLOGGED_KEY):
            return
        probe = _is_probe(self._scope["path"])
        if status < 400 and (self._scope.get(QUIET_KEY) or probe):
            return
        if status == 503 and probe:
            return  # health logs the moment it changes, not every look at it
        write = self._log.warning if status >= 500 else self._log.info
        write(
            "request",
            method=self._scope["method"],
            path=logged_path(self._scope),
            route=route,
            status=status,
            duration_ms=round(elapsed * 1000, 2),
        )


@dataclass(frozen=True, slots=True)
class BodyBound:
    """How many bytes a body may have; `advice` is a sentence on how to stay within them."""

    max_bytes: int
    advice: str = ""

    @property
    def refusal(self) -> str:
        return f"The body may have {self.max_bytes} bytes at most. {self.advice}".rstrip()


class BodyLimit:
    """Refuses bodies over `max_bytes` with 413, by what they announce and by what really comes.

    `larger` gives the paths that take more, each with its own bound.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, larger: Mapping[str, BodyBound] | None = None) -> None:
        self._app = app
        self._bound = BodyBound(max_bytes)
        self._larger = dict(larger or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bound = self._larger.get(scope["path"], self._bound)
        if _announced_length(scope) > bound.max_bytes:
            refusal = problem_response(
                Problem(413, "body_too_large", bound.refusal, headers={"Connection": "close"})
            )
            await refusal(scope, receive, send)
            return
        received = 0

        async def limited_receive() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > bound.max_bytes:
                    raise HTTPException(413, bound.refusal, headers={"Connection": "close"})
            return message

        await self._app(scope, limited_receive, send)


def route_template(scope: Scope) -> str:
    """The matched route's path with its parameters as names, or `unmatched`: labels must not grow with requests."""
    included = scope.get("fastapi")
    effective: Any = included.get("effective_route_context") if isinstance(included, dict) else None
    for candidate in (effective, scope.get("route")):
        template = getattr(candidate, "path_format", None) or getattr(candidate, "path", None)
        if isinstance(template, str):
            return template
    return _UNMATCHED


@lru_cache(maxsize=1024)
def _meters(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return HTTP_REQUESTS.labels(method, route, status), HTTP_DURATION.labels(method, route)


def _describe(span: Span, method: str, route: str, status: int) -> None:
    span.update_name(f"{method} {route}")
    span.set_attribute("http.request.method", method)
    span.set_attribute("http.route", route)
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(StatusCode.ERROR)


def _at_this_host(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """The framework's redirect to an address without, or with, a slash at its end. It repeats the Host header, which
    the client makes up, and a scheme that a proxy may have changed: a path alone says the same (RFC 9110, 10.2.2)."""
    for name, value in headers:
        yield (
            name,
            urlsplit(value)._replace(scheme=b"", netloc=b"").geturl() if name == b"location" else value,
        )


def _announced_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _sane(value: str | None) -> str | None:
    return value if value is not None and _SANE_ID.fullmatch(value) else None


def _is_probe(path: str) -> bool:
    return path == "/metrics" or path == "/health" or path.startswith("/health/")
