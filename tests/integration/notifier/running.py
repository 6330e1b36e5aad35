"""The whole service in the test's process, on a real Redis and a real mail server; only the sidecar is a stand-in."""

from __future__ import annotations

import asyncio
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
from tests.unit.notifier.samples import event, occurrence, reminder, snapshot

from event_contracts.reminders import ReminderDue
from event_contracts.tasks import TaskSnapshot
from event_contracts.topics import TASK_API, TOPICS
from notifier.app import build
from notifier.settings import NotifierSettings
from service_kit.clock import CLOCK_OFFSET_KEY
from service_kit.revocations import RevocationMirror
from service_kit.sidecar import Answer, SidecarUnavailable
from service_kit.state_store import StateConflict
from service_kit.testing.fakes import InMemoryStateStore, RecordingSidecar
from service_kit.testing.tokens import SigningKey, make_token
from service_kit.testing.waiting import eventually

APP_TOKEN = "app-token"


class StatefulSidecar(RecordingSidecar):
    """Answers the state store's HTTP API from memory as well, task-api's question for many tasks, each as `on_invoke`
    says, and its snapshot of announcements: of the `fired` reminders and the occurrences that were `made`, with what
    was published of their notifications, or had been when it fell `behind`. Pages hold `page_size`; none is given while
    `gate` is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.state = InMemoryStateStore()
        self.bodies: list[tuple[str, Any]] = []
        self.fired: list[ReminderDue] = []
        self.made: list[TaskSnapshot] = []
        self.task_api_away = False
        self.behind: int | None = None
        self.page_size = 3
        self.pages = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def invoke(self, app_id: str, method: str, path: str, *, json: Any = None, **given: Any) -> Answer:
        if self.task_api_away:
            raise SidecarUnavailable("task-api is away by the test's wish")
        if (method, path) == ("POST", "/internal/v1/tasks"):
            ask = super().invoke
            alone = [await ask(app_id, "GET", f"{path}/{one}") for one in json["ids"]]
            items = [one.json() for one in alone if one.is_success]
            return Answer(200, content=orjson.dumps({"items": items}))
        if path != "/internal/v1/snapshot":
            self.bodies.append((path, json))
            return await super().invoke(app_id, method, path, json=json, **given)
        self._require_available()
        await self.gate.wait()
        params = given["params"]
        assert (params["kind"], params["occurrences"]) == ("announcements", "true")
        since, start = datetime.fromisoformat(params["since"]), int(params.get("cursor", "0"))
        known = [(one.fired_at, one.model_dump(mode="json") | {"occurrence_key": None}) for one in self.fired]
        known += [(one.updated_at, self._made(one)) for one in self.made]
        known = sorted((one for one in known if one[0] >= since), key=lambda one: one[0])
        page = known[start : start + self.page_size]
        after = str(start + self.page_size) if len(known) > start + self.page_size else None
        self.pages += 1
        items = [one | {"outcomes": self._outcomes(one)} for _, one in page]
        return Answer(200, content=orjson.dumps({"items": items, "next_cursor": after, "epoch": 1}))

    @staticmethod
    def _made(task: TaskSnapshot) -> dict[str, Any]:
        written = task.model_dump(mode="json")
        of_task = {name: written[name] for name in ("task_id", "user_id", "occurrence_key")}
        return of_task | {
            "reminder_id": None, "fire_at": written["updated_at"], "fired_at": written["updated_at"]
        }  # fmt: skip

    def _outcomes(self, item: dict[str, Any]) -> list[dict[str, Any]]:
        read = {
            identity: one["data"]["read_at"]
            for one in self.events("notification-read")
            for identity in one["data"]["notification_ids"]
        }
        heard = self.events("notification-delivered")[: self.behind]
        told = {one["id"]: one["data"] for one in heard}
        return [
            {
                name: data[name]
                for name in (
                    "notification_id",
                    "channel",
                    "destination_id",
                    "outcome",
                    "attempt",
                    "reason",
                    "at",
                )
            }
            | {"read_at": read.get(data["notification_id"])}
            for data in told.values()
            if (data["task_id"], data["reminder_id"]) == (item["task_id"], item["reminder_id"])
            and data["outcome"] != "to_be_repeated"
        ]

    async def request(self, operation: str, method: str, path: str, **given: Any) -> Answer:
        self._require_available()
        if operation == "state_get":
            stored = await self.state.get(unquote(path.rpartition("/")[2]))
            if stored is None:
                return Answer(204)
            return Answer(200, content=orjson.dumps(stored.value), headers={"etag": stored.etag})
        if operation == "state_bulk":
            found = await self.state.get_many(orjson.loads(given["content"])["keys"])
            bulk = [{"key": key, "data": one.value, "etag": one.etag} for key, one in found.items()]
            return Answer(200, content=orjson.dumps(bulk))
        assert operation == "state_write", operation
        (one,) = orjson.loads(given["content"])
        try:
            await self.state.replace(
                one["key"], one["value"], one["etag"], int(one["metadata"]["ttlInSeconds"])
            )
        except StateConflict:
            return Answer(409)
        return Answer(204)


class Town:
    """What the replicas share: Redis, mail server, sidecar, the people and their tasks."""

    def __init__(self, redis_url: str, sink: Sink, **settings: Any) -> None:
        self.sidecar = StatefulSidecar()
        self.sink = sink
        self.key = SigningKey()
        given: dict[str, Any] = {
            "outbound_allow_cidrs": ("127.0.0.0/8",),
            "link_secrets": SecretStr("l" * 32),
            "vapid_private_key": SecretStr("A" * 42 + "E"),
        } | settings
        self.settings = NotifierSettings(
            app_api_token=SecretStr(APP_TOKEN),
            dapr_api_token=SecretStr("dapr-token"),
            redis_url=SecretStr(redis_url),
            smtp_url=SecretStr(f"smtp://{HOST}:{sink.port}"),
            mail_from="Taskstream <reminders@example.org>",
            public_url=AnyHttpUrl("https://tasks.example.org"),
            environment="test",
            test_clock=True,
            outbound_timeout=0.5,
            **given,
        )
        self.sidecar.on_invoke(TASK_API, "/internal/v1/epoch", json={"epoch": 1})
        self.sidecar.on_invoke(TASK_API, "/.well-known/jwks.json", json=self.key.jwks)

    def person(self, email: str = "ada@example.org", **preferences: Any) -> UUID:
        """Somebody with these preferences, as task-api gives them; inbox and mail when nothing else is said."""
        return self.prefer(uuid4(), email, **preferences)

    def prefer(self, user_id: UUID, email: str = "ada@example.org", **preferences: Any) -> UUID:
        answer = {
            "user_id": str(user_id),
            "email": email,
            "first_name": "Ada",
            "locale": "en",
            "timezone": "Europe/Berlin",
            "channels": ["inbox", "email"],
        } | preferences
        self.sidecar.on_invoke(TASK_API, f"/internal/v1/users/{user_id}/contact", json=answer)
        return user_id

    def task(self, user_id: UUID, ago: timedelta = timedelta(0), **fields: Any) -> TaskSnapshot:
        """A task with a reminder that was due so long ago; now, when nothing is said."""
        due_at = datetime.now(UTC) - ago
        return self.commit(snapshot(user_id=user_id, reminders=(reminder(at=due_at),), **fields))

    def commit(self, task: TaskSnapshot) -> TaskSnapshot:
        path = f"/internal/v1/tasks/{task.task_id}"
        self.sidecar.on_invoke(TASK_API, path, content=task.model_dump_json().encode())
        return task

    def fire(self, task: TaskSnapshot, late: timedelta = timedelta(milliseconds=5)) -> ReminderDue:
        """The news that the task's first reminder fired, once for all copies; task-api hears of it too."""
        first = task.reminders[0]
        assert first.at is not None
        for known in self.sidecar.fired:
            if (known.reminder_id, known.fire_at) == (first.reminder_id, first.at):
                return known
        due = ReminderDue(
            reminder_id=first.reminder_id,
            task_id=task.task_id,
            user_id=task.user_id,
            fire_at=first.at,
            fired_at=first.at + late,
        )
        self.sidecar.fired.append(due)
        return due

    def make(self, user_id: UUID, **fields: Any) -> TaskSnapshot:
        """An occurrence that recurrence's offer made just now."""
        return self.note_made(occurrence(user_id=user_id, **({"updated_at": datetime.now(UTC)} | fields)))

    def note_made(self, task: TaskSnapshot) -> TaskSnapshot:
        self.sidecar.made.append(task)
        return self.commit(task)

    def outcomes(self, channel: str) -> list[str]:
        """The final outcomes told of a channel, each event id once."""
        return [data["outcome"] for data in self.told(channel) if data["outcome"] != "to_be_repeated"]

    def told(self, channel: str) -> list[dict[str, Any]]:
        """All that was told of a channel, tries that come again too, each event id once."""
        told = {one["id"]: one["data"] for one in self.sidecar.events("notification-delivered")}
        return [data for data in told.values() if data["channel"] == channel]


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

    async def hear(self, topic: str, data: Any, **envelope: Any) -> str:
        """Deliver an event as the sidecar would, with these attributes; what the service answers."""
        body = event(TOPICS[topic].event_type, data, **envelope).encode()
        answer = await self.client.post(
            f"/events/{topic}", content=body, headers={"dapr-api-token": APP_TOKEN}
        )
        assert answer.status_code == 200
        status: str = answer.json()["status"]
        return status

    async def hear_due(self, task: TaskSnapshot, **envelope: Any) -> None:
        assert await self.hear("reminder-due", self.town.fire(task), **envelope) == "SUCCESS"

    async def hear_late(self, task: TaskSnapshot, late: timedelta) -> None:
        """The news of a reminder that fired so much after its time."""
        assert await self.hear("reminder-due", self.town.fire(task, late)) == "SUCCESS"

    async def pass_time(self, redis: Redis, step: timedelta) -> None:
        """Move the clock once nothing is being sent: what is under way would outlive its lease, and go out again."""

        async def idle() -> bool:
            names = [task.get_name() for task in asyncio.all_tasks()]
            return not any(name.startswith(("deliver-", "lane-")) for name in names)

        await eventually(idle)
        await redis.incrby(CLOCK_OFFSET_KEY, step // timedelta(milliseconds=1))
        await self.tick()

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
