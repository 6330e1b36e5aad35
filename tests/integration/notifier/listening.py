"""A replica behind a real socket, and ears that listen to its stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID

import httpx
from redis.asyncio import Redis
from tests.integration.notifier.running import Running, Town

from event_contracts.tasks import TaskSnapshot
from notifier.app import build
from service_kit.http_app import Server, _listen, _server_config
from service_kit.revocations import RevocationMirror
from service_kit.testing.tokens import make_token
from service_kit.testing.waiting import eventually

TOPIC = "task-updated"


@dataclass(frozen=True)
class Heard:
    """One event as a browser would have it."""

    id: str
    name: str
    data: Any


@dataclass
class Ear:
    """What one client heard. `signs` counts the signs of life; `ended` is set when the answer is over."""

    heard: list[Heard] = field(default_factory=list)
    signs: int = 0
    retry_ms: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self, answer: httpx.Response) -> None:
        parts: dict[str, str] = {}
        try:
            async for line in answer.aiter_lines():
                if line.startswith(":"):
                    self.signs += 1
                elif line:
                    name, _, value = line.partition(": ")
                    parts[name] = value
                elif parts:
                    self._take(parts)
                    parts = {}
        except httpx.TransportError:
            pass
        self.ended.set()

    def _take(self, parts: dict[str, str]) -> None:
        if "retry" in parts:
            self.retry_ms = int(parts["retry"])
        else:
            self.heard.append(Heard(parts.get("id", ""), parts["event"], json.loads(parts["data"])))

    def named(self, name: str) -> list[Any]:
        return [one.data for one in self.heard if one.name == name]

    @property
    def last_id(self) -> str:
        return self.heard[-1].id

    async def hears(self, name: str, number: int = 1, seconds: float = 10) -> list[Any]:
        """Wait until it heard so many of that name."""

        async def enough() -> bool:
            return len(self.named(name)) >= number

        await eventually(enough, seconds)
        return self.named(name)

    async def over(self, seconds: float = 10) -> str | None:
        """Wait until the answer is over; the reason that was given."""
        async with asyncio.timeout(seconds):
            await self.ended.wait()
        ends = self.named("end")
        return ends[0]["reason"] if ends else None


class Serving(Running):
    """One replica behind a port, started by entering it."""

    async def __aenter__(self) -> Self:
        self.app = build(self.town.settings, sidecar=self.town.sidecar)
        listener = _listen("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        self.server = Server(_server_config(self.app, self.town.settings), self.app)
        self._serving = asyncio.create_task(self.server.serve(sockets=[listener]))

        async def started() -> bool:
            return self.server.started

        await eventually(started)
        async with Redis.from_url(
            self.town.settings.redis_url.get_secret_value(), decode_responses=True
        ) as redis:
            await RevocationMirror(redis).fill([])  # task-api's work
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=10)
        await eventually(self.ready)
        return self

    async def stop(self) -> None:
        """Leave as at SIGTERM."""
        self.server.should_exit = True
        await self._serving
        await self.client.aclose()

    @asynccontextmanager
    async def ear(
        self, user_id: UUID, position: str | None = None, *, token: str | None = None, **params: str
    ) -> AsyncIterator[Ear]:
        """Listen as this person, from behind `position`."""
        headers = {"authorization": f"Bearer {token or make_token(self.town.key, user_id)}"}
        if position is not None:
            headers["last-event-id"] = position
        if "ticket" in params:
            del headers["authorization"]
        async with self.client.stream(
            "GET", "/api/v1/stream", headers=headers, params=params, timeout=None
        ) as answer:
            assert answer.status_code == 200, await answer.aread()
            ear = Ear()
            listening = asyncio.create_task(ear.listen(answer))
            try:
                yield ear
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    async def hear_task(self, task: TaskSnapshot) -> None:
        assert await self.hear(TOPIC, task) == "SUCCESS"

    async def count(self, sample: str) -> float:
        """A value of /metrics; 0 when it is not there yet."""
        text = (await self.client.get("/metrics")).text
        found = [line for line in text.splitlines() if line.startswith(f"{sample} ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0


@asynccontextmanager
async def serving(town: Town) -> AsyncIterator[Serving]:
    async with Serving(town) as one:
        yield one
