"""HTTP as it comes over a connection: uvicorn's protocol, which by itself keeps a head however long it gets, and waits
for the rest of it as long as the other side likes."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from prometheus_client import Counter
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service_kit.problems import CONTENT_TYPE, Problem, problem_body

HEAD_SECONDS = 20.0
"""For the head of a request, and after an early answer for the rest of its body."""
_ONE_READ = 256 * 1024

CUT = Counter(
    "http_connections_cut_total",
    "Connections closed for what came, or did not come: head_size, head_time, body_time, unreadable.",
    ["why"],
)


def bounded_http(head_bytes: int) -> type[BoundedHttp]:
    """Give the protocol for heads of `head_bytes` at most; one that is larger and comes at once is HeadLimits' to
    answer, who tells addresses from headers."""

    class Bounded(BoundedHttp):
        most = head_bytes + _ONE_READ

    return Bounded


class BoundedHttp(HttpToolsProtocol):
    """Cuts off who sends a head that does not end, or ends too late; and who goes on with a body that was answered."""

    most: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._in_message = False
        self._unused = 0
        self._waiting: asyncio.TimerHandle | None = None
        self._heard_enough = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse it. What leads to nothing that an app sees is kept by the parser: a head, trailers after a body."""
        if self._heard_enough:
            return
        self._unused += len(data)
        super().data_received(data)
        if self._unused > self.most:
            detail = "The head of the request does not end: this connection is closed."
            self._cut("head_size", Problem(431, "headers_too_large", detail))

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._in_head = self._in_message = True
        self._wait()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. A trailer is none (RFC 9110, 6.5.1): it comes when what headers say has been acted on."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the app have the request."""
        super().on_headers_complete()
        self._in_head, self._unused = False, 0
        self._wait_no_more()

    def on_body(self, body: bytes) -> None:
        """Let the app have a part of the body."""
        self._unused = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Let the app have the end of the body."""
        self._in_message, self._unused = False, 0
        if self.cycle.response_complete:
            # What came of the body after the answer ended the wait for the next request.
            self._wait()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for what is left of the body, which nobody reads any more, but not for ever."""
        super().on_response_complete()
        if self._in_message and self._waiting is None:
            self._wait()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._cut("unreadable", Problem(400, "bad_request", "This is no HTTP request that can be read."))

    def _wait(self) -> None:
        self._wait_no_more()
        self._waiting = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        if self._busy():
            # The next request began while one is answered, and waits for that: it is not late by its own doing.
            self._wait()
        elif not self._in_message:
            # An idle connection: whoever keeps one in store opens another.
            self.transport.close()
        elif self._in_head:
            detail = f"The head of the request took longer than {HEAD_SECONDS:g} s."
            self._cut("head_time", Problem(408, "head_timeout", detail))
        else:
            CUT.labels("body_time").inc()
            self.transport.close()

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _cut(self, why: str, problem: Problem) -> None:
        """Say why and close. Requests that came whole before are answered first, and are the last ones."""
        CUT.labels(why).inc()
        self._heard_enough = True
        self._wait_no_more()
        in_body = self._in_message and not self._in_head
        if self._busy() and not in_body:
            self.cycle.keep_alive = False
            return
        if self._busy() and (self.pipeline or self.cycle.response_started):
            self.transport.close()
            return
        body = orjson.dumps(problem_body(problem), option=orjson.OPT_UTC_Z)
        head = (
            f"HTTP/1.1 {problem.status} {problem.title}\r\ncontent-type: {CONTENT_TYPE}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
