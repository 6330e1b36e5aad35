"""The whole service in the test's process, on a real Redis and a real mail server; only the sidecar is a stand-in."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import unquote
from uuid import UUID, uuid4

import httpx
import orjson
from fastapi import FastAPI
from pydantic import AnyHttpUrl, SecretStr
from redis.asyncio import Redis
from tests.integration.notifier.sink import HOST, Sink
from tests.unit.notifier.samples import event, reminder, snapshot

from event_contracts.reminders import ReminderDue
from event_contracts.tasks import TaskSnapshot
from event_contracts.topics import TASK_API, TOPICS
from notifier.app import build
from notifier.settings import NotifierSettings
from service_kit.revocations import RevocationMirror
from service_kit.state_store import StateConflict
from service_kit.testing.fakes import InMemoryStateStore, RecordingSidecar
from service_kit.testing.tokens import SigningKey, make_token

APP_TOKEN = "app-token"


class StatefulSidecar(RecordingSidecar):
    """Answers the state store's HTTP API from memory as well."""

    def __init__(self) -> None:
        super().__init__()
        self.state = InMemoryStateStore()

    async def request(self, operation: str, method: str, path: str, **given: Any) -> httpx.Response:
        self._require_available()
        if operation == "state_get":
            stored = await self.state.get(unquote(path.rpartition("/")[2]))
            if stored is None:
                return httpx.Response(204)
            return httpx.Response(200, content=orjson.dumps(stored.value), headers={"etag": stored.etag})
        assert operation == "state_write", operation
        (one,) = orjson.loads(given["content"])
        try:
            await self.state.replace(
                one["key"], one["value"], one["etag"], int(one["metadata"]["ttlInSeconds"])
            )
        except StateConflict:
            return httpx.Response(409)
        return httpx.Response(204)


class Town:
    """What the replicas share: Redis, mail server, sidecar, the people and their tasks."""

    def __init__(self, redis_url: str, sink: Sink) -> None:
        self.sidecar = StatefulSidecar()
        self.sink = sink
        self.key = SigningKey()
        self.settings = NotifierSettings(
            app_api_token=SecretStr(APP_TOKEN),
            dapr_api_token=SecretStr("dapr-token"),
            redis_url=SecretStr(redis_url),
            smtp_url=SecretStr(f"smtp://{HOST}:{sink.port}"),
            mail_from="Taskstream <reminders@example.org>",
            public_url=AnyHttpUrl("https://tasks.example.org"),
            environment="test",
            test_clock=True,
        )
        self.sidecar.on_invoke(TASK_API, "/internal/v1/epoch", json={"epoch": 1})
        self.sidecar.on_invoke(TASK_API, "/.well-known/jwks.json", json=self.key.jwks)

    def person(self, email: str = "ada@example.org") -> UUID:
        user_id = uuid4()
        answer = {
            "user_id": str(user_id),
            "email": email,
            "first_name": "Ada",
            "locale": "en",
            "timezone": "Europe/Berlin",
            "channels": ["inbox", "email"],
        }
        self.sidecar.on_invoke(TASK_API, f"/internal/v1/users/{user_id}/contact", json=answer)
        return user_id

    def task(self, user_id: UUID, **fields: Any) -> TaskSnapshot:
        """A task with a reminder that is due now."""
        return self.commit(snapshot(user_id=user_id, reminders=(reminder(at=datetime.now(UTC)),), **fields))

    def commit(self, task: TaskSnapshot) -> TaskSnapshot:
        path = f"/internal/v1/tasks/{task.task_id}"
        self.sidecar.on_invoke(TASK_API, path, content=task.model_dump_json().encode())
        return task

    def outcomes(self, channel: str) -> list[str]:
        """The outcomes told of a channel, each event id once."""
        told = {one["id"]: one["data"] for one in self.sidecar.events("notification-delivered")}
        return [data["outcome"] for data in told.values() if data["channel"] == channel]


class Running:
    """One replica, started by entering it."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.app: FastAPI = build(town.settings, sidecar=town.sidecar)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.app.router.lifespan_context(self.app))
        async with Redis.from_url(
            self.town.settings.redis_url.get_secret_value(), decode_responses=True
        ) as redis:
            await RevocationMirror(redis).fill([])  # task-api's work
        self.client = await self._stack.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://notifier")
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Leave as at SIGTERM."""
        await self._stack.aclose()

    async def hear(self, topic: str, data: Any) -> str:
        """Deliver an event as the sidecar would; what the service answers."""
        body = event(TOPICS[topic].event_type, data).encode()
        answer = await self.client.post(
            f"/events/{topic}", content=body, headers={"dapr-api-token": APP_TOKEN}
        )
        assert answer.status_code == 200
        status: str = answer.json()["status"]
        return status

    async def hear_due(self, task: TaskSnapshot) -> None:
        first = task.reminders[0]
        assert first.at is not None
        due = ReminderDue(
            reminder_id=first.reminder_id,
            task_id=task.task_id,
            user_id=task.user_id,
            fire_at=first.at,
            fired_at=first.at + timedelta(milliseconds=5),
        )
        assert await self.hear("reminder-due", due) == "SUCCESS"

    async def tick(self) -> None:
        answer = await self.client.post("/delivery-cron", headers={"dapr-api-token": APP_TOKEN})
        assert answer.status_code == 200

    async def call(self, user_id: UUID, method: str, path: str = "", **given: Any) -> httpx.Response:
        """Call the public API as this person."""
        token = make_token(self.town.key, user_id)
        return await self.client.request(
            method,
            f"/api/v1/notifications{path}",
            headers={"authorization": f"Bearer {token}"},
            **given,
        )

    async def inbox(self, user_id: UUID, **params: Any) -> dict[str, Any]:
        answer = await self.call(user_id, "GET", params=params)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def ready(self) -> bool:
        return (await self.client.get("/health/ready")).status_code == 200
