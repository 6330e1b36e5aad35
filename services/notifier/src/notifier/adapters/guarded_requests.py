"""What libraries may do that speak to people's addresses by `requests`: bounded in where to, how long and how much.

Such a library opens its connections and reads its answers itself, and gives no say in either. So the one function that
opens a connection and the one that takes an answer over are replaced, for the whole process; outside of a `Passage`
both do what they always did, for traces leave this process by them, too.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from io import BytesIO
from threading import Event
from typing import Any

import requests
import urllib3.exceptions
import urllib3.util.connection
from requests.adapters import HTTPAdapter
from urllib3.response import HTTPResponse

from notifier.adapters.outbound import NotPublic, first_allowed
from notifier.domain.outbound import OutboundRule

LARGEST_ANSWER = 2**20
"""Bytes of an answer's body, as it comes and unpacked. What is read of one is an id or an error: some hundred bytes."""
_STEP = 2**14


class AnswerTooLarge(requests.RequestException):
    """An answer is more than anybody needs to say, or packed in a way that nobody needs."""


@dataclass
class Passage:
    """What one message may connect to, the connections it opened, and what it was refused."""

    rule: OutboundRule
    refused: bool = False
    too_large: bool = False
    _over: Event = field(default_factory=Event)
    _connections: list[socket.socket] = field(default_factory=list)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Hold what runs in this context, and in copies of it, to this passage."""
        before = _passage.set(self)
        try:
            yield
        finally:
            _passage.reset(before)

    def end(self) -> None:
        """End every connection, and let none be opened any more: the thread that waits for one is free."""
        self._over.set()
        for one in self._connections:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def connect(self, address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
        """Connect to what was checked. Raises OSError."""
        self._go_on()
        host, port = address
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        try:
            checked = first_allowed(self.rule, [entry[4][0] for entry in found])
        except NotPublic as error:
            self.refused = True
            raise OSError("not a public address") from error
        self._go_on()
        connection = _connect((str(checked), port), *args, **kwargs)
        # A handle of our own: TLS takes the connection over from this one, which then ends nothing any more.
        self._connections.append(connection.dup())
        if self._over.is_set():
            self.end()
        return connection

    def _go_on(self) -> None:
        if self._over.is_set():
            raise OSError("its time is over")


_passage: ContextVar[Passage] = ContextVar("passage")
_connect = urllib3.util.connection.create_connection
_build_response = HTTPAdapter.build_response


def inside() -> bool:
    """Whether a passage holds here."""
    return _passage.get(None) is not None


def _guarded_connect(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
    """Stand in for urllib3's function: every connection, those of redirects included, is opened here."""
    passage = _passage.get(None)
    return (_connect if passage is None else passage.connect)(address, *args, **kwargs)


def _guarded_build(
    adapter: HTTPAdapter, req: requests.PreparedRequest, resp: HTTPResponse
) -> requests.Response:
    """Stand in for requests' function: it has an answer's head and has not read of its body. Raises RequestException.

    The body is read here, so that nobody reads more: not unpacked, and not to have a connection free for a redirect.
    """
    response = _build_response(adapter, req, resp)
    passage = _passage.get(None)
    if passage is not None:
        try:
            body = _small_body(resp)
        except AnswerTooLarge:
            passage.too_large = True
            raise
        response.raw = HTTPResponse(BytesIO(body), status=resp.status, preload_content=False)
    return response


def _small_body(answer: HTTPResponse) -> bytes:
    """Read a body, and unpack it. Raises RequestException, AnswerTooLarge for what is more than `LARGEST_ANSWER`."""
    packing = answer.headers.get("content-encoding", "")
    try:
        with closing(answer):
            if "," in packing:
                # What is packed several times can be endless in between and empty at the end.
                raise AnswerTooLarge("packed more than once")
            # First all that comes and only then what is in it: much of what comes may unpack to nothing.
            packed = _few(answer.stream(_STEP, decode_content=False))
        whole = HTTPResponse(BytesIO(packed), {"content-encoding": packing}, preload_content=False)
        return _few(whole.stream(_STEP, decode_content=True))
    except urllib3.exceptions.HTTPError as error:
        raise requests.RequestException("the answer broke off, or cannot be unpacked") from error


def _few(parts: Iterable[bytes]) -> bytes:
    kept = bytearray()
    for part in parts:
        kept += part
        if len(kept) > LARGEST_ANSWER:
            raise AnswerTooLarge("more than is read")
    return bytes(kept)


urllib3.util.connection.create_connection = _guarded_connect
HTTPAdapter.build_response = _guarded_build  # type: ignore[assignment, method-assign]
