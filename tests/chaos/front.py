"""What stands before the replicas: asks them in turn, and the next one when one is gone or hangs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

ATTEMPT_SECONDS = 4.0
_AVOID_SECONDS = 5.0
_GONE = (httpx.ConnectError, httpx.ConnectTimeout)


class NotSentError(Exception):
    """No replica takes a connection: nothing was asked."""


class UnansweredError(Exception):
    """No answer, or a 5xx: what was asked may have been done, or may yet be."""


class Front:
    """One service behind a balancer that knows its replicas by their addresses."""

    def __init__(self, client: httpx.AsyncClient, replicas: Sequence[str]) -> None:
        self._client = client
        self._replicas = list(replicas)
        self._turn = 0
        self._avoided: dict[str, float] = {}

    async def send(
        self, method: str, path: str, *, body: object = None, headers: Mapping[str, str]
    ) -> httpx.Response:
        """One attempt at one replica; at the next one only if no connection came about. Raises both errors above."""
        for replica in self._in_turn():
            try:
                answer = await self._client.request(
                    method, f"{replica}{path}", json=body, headers=dict(headers), timeout=ATTEMPT_SECONDS
                )
            except _GONE:
                self._avoided[replica] = time.monotonic() + _AVOID_SECONDS
                continue
            except httpx.TransportError as error:
                self._avoided[replica] = time.monotonic() + _AVOID_SECONDS
                raise UnansweredError(type(error).__name__) from error
            if answer.status_code >= 500:
                raise UnansweredError(f"{answer.status_code} {answer.text[:200]}")
            return answer
        raise NotSentError(path)

    def _in_turn(self) -> list[str]:
        """Those that did not fail of late first, whose turn it is at the head."""
        self._turn = (self._turn + 1) % len(self._replicas)
        order = self._replicas[self._turn :] + self._replicas[: self._turn]
        now = time.monotonic()
        return sorted(order, key=lambda replica: self._avoided.get(replica, 0.0) > now)


def item_of(answer: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer."""
    found: dict[str, Any] = answer.json()
    return found
