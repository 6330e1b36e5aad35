"""The least of an HTTP/1.1 client: one request at a time on a connection that stays open.

It must cost far less than what it measures, since both share the machine. It reads answers with a Content-Length or
without a body, which is all that the measured routes give.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length: "


class ConnectionBroken(Exception):
    """The server closed the connection, or answered in a form that is not read here."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The status and the body of one answer."""

    status: int
    body: bytes


def encode(
    method: str,
    path: str,
    token: str = "",
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Give the bytes of one request."""
    content = b"" if body is None else orjson.dumps(body)
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    for name, value in (headers or {}).items():
        head += f"{name}: {value}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return f"{head}\r\n".encode() + content


class Connection(asyncio.Protocol):
    """One connection. `ask` is awaited to its end before the next one begins."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._waiting: asyncio.Future[Answer] | None = None

    @classmethod
    async def to(cls, port: int) -> Connection:
        """Connect to a port of this machine."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    async def ask(self, request: bytes) -> Answer:
        """Send a request and give its answer. Raises ConnectionBroken."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionBroken("the connection is closed")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand over the answer once it is whole."""
        self._received += data
        end = self._received.find(_END_OF_HEAD)
        if end < 0:
            return
        status = int(self._received[9:12])
        length = self._body_length(status, end)
        begin = end + len(_END_OF_HEAD)
        if length is None:
            self._fail(ConnectionBroken(f"an answer of status {status} without a length"))
            self.close()
        elif len(self._received) >= begin + length:
            answer = Answer(status, bytes(self._received[begin : begin + length]))
            self._received.clear()
            if self._waiting is not None and not self._waiting.done():
                self._waiting.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits for an answer."""
        self._fail(ConnectionBroken(str(exc or "closed by the server")))

    def _body_length(self, status: int, end: int) -> int | None:
        if status in (204, 304):
            return 0
        at = self._received.find(_LENGTH, 0, end)
        if at < 0:
            return None
        begin = at + len(_LENGTH)
        stop = self._received.find(b"\r\n", begin, end + 2)
        return int(self._received[begin:stop])

    def _fail(self, error: ConnectionBroken) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)
