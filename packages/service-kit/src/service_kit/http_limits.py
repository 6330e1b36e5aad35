"""Pure ASGI middlewares that bound what one request may be and take: the size of its head, and its time."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service_kit.problems import FieldError, Problem, problem_response

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_LINE_EXTRA = 4
"""What a header line has besides name and value: a colon, a space and the end of the line."""


class HeadLimits:
    """Refuses what the head of a request says already: 414 for an address over `url_bytes`, 431 for headers over
    `header_bytes` in all, 400 unless it names one host, 415 for a body that is encoded, 501 for one that is transferred
    in another way than as it is or in chunks. The connection is closed after each but the 415."""

    def __init__(self, app: ASGIApp, url_bytes: int, header_bytes: int) -> None:
        self._app = app
        self._url_bytes = url_bytes
        self._header_bytes = header_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refusal(scope) if scope["type"] == "http" else None
        if refused is None:
            await self._app(scope, receive, send)
        else:
            await problem_response(refused)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        path = scope.get("raw_path") or scope["path"].encode()
        if len(path) + len(scope["query_string"]) > self._url_bytes:
            detail = f"The address may have {self._url_bytes} bytes at most, its query included."
            return Problem(414, "url_too_long", detail, headers={"Connection": "close"})
        size = hosts = 0
        for name, value in scope["headers"]:
            size += len(name) + len(value) + _LINE_EXTRA
            if name == b"host":
                hosts += 1
            elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
                return _encoded()
            elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
                return _transferred()
        if size > self._header_bytes:
            detail = f"The headers may have {self._header_bytes} bytes at most, all together."
            return Problem(431, "headers_too_large", detail, headers={"Connection": "close"})
        if hosts > 1 or (hosts == 0 and scope["http_version"] == "1.1"):
            return _unsure_host()
        return None


def _unsure_host() -> Problem:
    """RFC 9112, 3.2: a proxy before us may have gone by another of them."""
    wrong = FieldError("host", "name one host", "bad_host")
    headers = {"Connection": "close"}
    return Problem(400, "bad_host", "The request names no host, or several.", errors=[wrong], headers=headers)


def _transferred() -> Problem:
    """RFC 9112, 6.1: whoever takes the coding off before us sees another body than we do."""
    wrong = FieldError("transfer-encoding", "send the body as it is, or in chunks", "unsupported_transfer")
    detail = "The body is transferred in a coding that this service does not know."
    headers = {"Connection": "close"}
    return Problem(501, "unsupported_transfer", detail, errors=[wrong], headers=headers)


def _encoded() -> Problem:
    """RFC 9110, 15.5.16: Accept-Encoding tells this 415 from that of a media type."""
    wrong = FieldError("content-encoding", "send the body as it is", "unsupported_encoding")
    return Problem(
        415,
        "unsupported_encoding",
        "The body is encoded: this service takes none but identity.",
        errors=[wrong],
        headers={"Accept-Encoding": "identity"},
    )


class Deadline:
    """Gives up a request whose answer has not begun after `seconds`: 503.

    An answer that has begun gets the same time again for each part: a stream may last, but may not stand still. One
    that does is cut off by TimeoutError, for its status is out.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False
        clock = asyncio.get_running_loop().time
        deadline = asyncio.timeout(self._seconds)

        async def timed_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)
            if message["type"] == "http.response.start" or message.get("more_body"):
                deadline.reschedule(clock() + self._seconds)

        try:
            async with deadline:
                await self._app(scope, receive, timed_send)
        except TimeoutError:
            # Others have time limits too, and what they raise is not ours to explain.
            if begun or not deadline.expired():
                raise
            await problem_response(self._given_up(scope["method"]))(scope, receive, send)

    def _given_up(self, method: str) -> Problem:
        took = f"This took longer than {self._seconds:g} s and was given up"
        if method in _SAFE:
            return Problem(503, "request_timeout", f"{took}: try again.", headers={"Retry-After": "1"})
        # The commit may have been on its way. No Retry-After: it would ask programs to do it twice.
        detail = f"{took}. Whether it was done is not known: look, or send it again with the Idempotency-Key it had."
        return Problem(503, "request_timeout", detail)
