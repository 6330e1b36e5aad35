"""The pure ASGI middlewares of `http_app`: they pass messages on as they come, so streams stay streams."""

from __future__ import annotations

import re
from time import perf_counter
from typing import Any
from uuid import uuid4

from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service_kit import telemetry
from service_kit.logs import get_logger
from service_kit.metrics import HTTP_DURATION, HTTP_IN_PROGRESS, HTTP_REQUESTS
from service_kit.problems import Problem, log_unexpected, problem_response, unexpected_problem

QUIET_KEY = "service_kit.quiet"
_UNMATCHED = "unmatched"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SANE_ID = re.compile(r"[A-Za-z0-9._~:/+=-]{1,128}")
_DOCUMENTATION = ("/docs", "/redoc")
_SECURITY_HEADERS = (
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
)
_CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'"

_log = get_logger("service_kit.access")


class RequestScope:
    """Gives each request its ids and its span, measures and logs it, answers what nobody caught, adds headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request = _sane(headers.get("x-request-id")) or str(uuid4())
        tokens = telemetry.bind_request(request, _sane(headers.get("x-correlation-id")) or request)
        exchange = _Exchange(scope, send, request)
        HTTP_IN_PROGRESS.inc()
        try:
            with telemetry.span(
                scope["method"],
                kind=SpanKind.SERVER,
                traceparent=headers.get("traceparent"),
                tracestate=headers.get("tracestate"),
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
            log_unexpected(scope["method"], scope["path"], error)
            if exchange.status is None:
                await problem_response(unexpected_problem())(scope, receive, exchange.send)
            else:
                # The answer is half sent: only a broken connection tells the client that it is not whole.
                exchange.finish(None)
                raise


class _Exchange:
    """One request and what became of it."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self.status: int | None = None
        self._scope = scope
        self._send = send
        self._request_id = request_id
        self._began = perf_counter()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._add_headers(MutableHeaders(scope=message))
        await self._send(message)

    def _add_headers(self, headers: MutableHeaders) -> None:
        headers["x-request-id"] = self._request_id
        for name, value in _SECURITY_HEADERS:
            headers.setdefault(name, value)
        if not self._scope["path"].startswith(_DOCUMENTATION):
            # The documentation pages load their scripts; nothing else of ours is a page.
            headers.setdefault("content-security-policy", _CONTENT_POLICY)

    def finish(self, span: Span | None) -> None:
        elapsed = perf_counter() - self._began
        status = self.status or 499
        method = self._scope["method"] if self._scope["method"] in _METHODS else "OTHER"
        route = route_template(self._scope)
        HTTP_REQUESTS.labels(method, route, status).inc()
        HTTP_DURATION.labels(method, route).observe(elapsed)
        if span is not None and span.is_recording():
            _describe(span, method, route, status)
        if status < 400 and (self._scope.get(QUIET_KEY) or _is_probe(self._scope["path"])):
            return
        write = _log.warning if status >= 500 else _log.info
        write(
            "request",
            method=self._scope["method"],
            path=self._scope["path"],
            route=route,
            status=status,
            duration_ms=round(elapsed * 1000, 2),
        )


class BodyLimit:
    """Refuses bodies over `max_bytes` with 413, by what they announce and by what really comes."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _announced_length(scope) > self._max_bytes:
            refusal = problem_response(
                Problem(413, "body_too_large", _too_large(self._max_bytes), headers={"Connection": "close"})
            )
            await refusal(scope, receive, send)
            return
        received = 0

        async def limited_receive() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._max_bytes:
                    raise HTTPException(413, _too_large(self._max_bytes), headers={"Connection": "close"})
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


def _describe(span: Span, method: str, route: str, status: int) -> None:
    span.update_name(f"{method} {route}")
    span.set_attribute("http.request.method", method)
    span.set_attribute("http.route", route)
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(StatusCode.ERROR)


def _announced_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _too_large(max_bytes: int) -> str:
    return f"The body may have {max_bytes} bytes at most."


def _sane(value: str | None) -> str | None:
    return value if value is not None and _SANE_ID.fullmatch(value) else None


def _is_probe(path: str) -> bool:
    return path == "/metrics" or path == "/health" or path.startswith("/health/")
