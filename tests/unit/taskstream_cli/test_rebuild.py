"""How long `taskstream rebuild` waits, and what it takes for an end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx
import pytest

from taskstream_cli import rebuild as command
from taskstream_cli.failing import Unable
from taskstream_cli.markers import Marker
from taskstream_cli.rebuild import rebuild


class _Service:
    """A service that answers its readiness like this, the last answer for ever; None: nobody is let in."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *readiness: int | None) -> None:
        self.readiness = readiness
        self.asked = 0
        self.marker: Marker | None = Marker("first", 1, in_progress=False)
        client = partial(httpx.AsyncClient, transport=httpx.MockTransport(self._answer))
        monkeypatch.setattr(httpx, "AsyncClient", client)
        monkeypatch.setattr(command, "connect_redis", self._redis)
        monkeypatch.setattr(command, "read_marker", self._read)
        monkeypatch.setattr(command, "remove_marker", self._remove)
        monkeypatch.setattr(command, "_LOOK_SECONDS", 0.01)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/health/live":
            return httpx.Response(200)
        status = self.readiness[min(self.asked, len(self.readiness) - 1)]
        self.asked += 1
        if status is None:
            raise httpx.ConnectError("connection refused", request=request)
        return httpx.Response(status)

    @asynccontextmanager
    async def _redis(self, _: str) -> AsyncIterator[None]:
        yield None

    async def _read(self, *_: object) -> Marker | None:
        return self.marker

    async def _remove(self, *_: object) -> None:
        self.marker = Marker("second", 1, in_progress=False)


async def test_a_service_that_lets_nobody_in_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    service = _Service(monkeypatch, None, 503, 200, None, 200)
    await rebuild("redis://h/0", "reminders", 10)
    # Green once, away again, then green for as long as counts.
    assert service.asked == 4 + 4


async def test_what_does_not_get_ready_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _Service(monkeypatch, None)
    with pytest.raises(Unable, match="reminders is not ready after 0 s"):
        await rebuild("redis://h/0", "reminders", 0.1)
