"""Idle clients of the live stream: as little as a browser could be, so that what is measured is the service."""

from __future__ import annotations

import asyncio
from functools import partial
from time import perf_counter
from typing import cast
from uuid import UUID, uuid4

from bench.notifier.arena import Arena

_OPENED_AT_ONCE = 50


class StreamRefused(Exception):
    """A stream was not opened: the answer."""


class Client(asyncio.Protocol):
    """One stream. `heard` is set when an event named task came; `heard_at` says when."""

    def __init__(self, user_id: UUID, token: str) -> None:
        self.user_id = user_id
        self.ready = asyncio.Event()
        self.heard = asyncio.Event()
        self.heard_at = 0.0
        self.refused = ""
        self._token = token
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        self._transport = cast("asyncio.Transport", transport)
        head = f"GET /api/v1/stream HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self._token}\r\n\r\n"
        self._transport.write(head.encode())

    def data_received(self, data: bytes) -> None:
        """Note what came; an event is never split, for it is sent in one piece."""
        if data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 200"):
            self.refused = data.decode(errors="replace")
            self.ready.set()
        elif b"event: task" in data:
            self.heard_at = perf_counter()
            self.heard.set()
        elif b"event: ready" in data:
            self.ready.set()

    def connection_lost(self, error: Exception | None) -> None:
        """Wake who waits for it, to no good: it never heard."""
        self.ready.set()

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


async def open_clients(place: Arena, count: int) -> list[Client]:
    """Open streams of as many people, some at once, and wait until each is told that it is ready."""
    loop = asyncio.get_running_loop()
    opened: list[Client] = []
    while len(opened) < count:
        part = []
        for _ in range(min(_OPENED_AT_ONCE, count - len(opened))):
            user_id = uuid4()
            client = Client(user_id, place.token(user_id))
            await loop.create_connection(partial(_the_one, client), "127.0.0.1", place.notifier.port)
            part.append(client)
        async with asyncio.timeout(60):
            await asyncio.gather(*(one.ready.wait() for one in part))
        if refused := [one.refused for one in part if one.refused]:
            raise StreamRefused(refused[0])
        opened += part
    return opened


def _the_one(client: Client) -> Client:
    return client
