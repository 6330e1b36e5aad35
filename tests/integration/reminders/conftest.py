"""Reminders on a Redis of its own behind a real sidecar: it may be flushed, killed and started again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest_asyncio
from pydantic import SecretStr
from redis.asyncio import Redis
from tests.integration.lone_sidecar import LoneSidecar
from tests.integration.reminders.fault_points import FaultPoints
from tests.integration.service_kit.conftest import OwnRedis
from tests.unit.reminders.conftest import LONG_AGO, StandInTaskApi, reminder, snapshot

from event_contracts.tasks import TaskSnapshot
from reminders.adapters.dapr_documents import DaprDocuments
from reminders.adapters.dapr_publisher import DaprAnnouncer
from reminders.adapters.redis_upcoming import RedisUpcoming
from reminders.application.apply_snapshot import SnapshotApplier
from reminders.application.fire_due import DueFirer
from reminders.settings import RemindersSettings
from service_kit.clock import CLOCK_OFFSET_KEY, RedisOffsetClock
from service_kit.due_index import DueIndex
from service_kit.marker import MarkerStore
from service_kit.redis_connection import connect_redis
from service_kit.sidecar import Answer, BulkResult, Outgoing, Sidecar
from service_kit.state_store import StateStore
from service_kit.testing.fakes import RecordingSidecar
from stack.ports import free_ports

LEASE = timedelta(seconds=15)
MINUTE = timedelta(minutes=1)
_PAGE = 250


class Beside(Sidecar):
    """The real sidecar for the state store. What is published stays here, and a stand-in answers for task-api."""

    def __init__(self, settings: RemindersSettings, bus: RecordingSidecar, task_api: StandInTaskApi) -> None:
        super().__init__(settings)
        self._bus = bus
        self._task_api = task_api
        self.jwks: dict[str, Any] = {"keys": []}

    async def publish_bulk(self, topic: str, entries: Any) -> BulkResult:
        kept: list[Outgoing] = list(entries)
        return await self._bus.publish_bulk(topic, kept)

    async def invoke(
        self,
        app_id: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        timeout: float = 2.0,  # noqa: ASYNC109 - the signature of the real one
    ) -> Answer:
        found: Any
        match path.strip("/").split("/")[2:]:
            case ["jwks.json"] | []:
                found = self.jwks
            case ["epoch"]:
                found = {"epoch": await self._task_api.epoch()}
            case ["tasks", task_id]:
                task = await self._task_api.task(UUID(task_id))
                if task is None:
                    return Answer(404)
                found = task.model_dump(mode="json")
            case _:
                asked = dict(params or {})
                since = asked.get("since")
                page = await self._task_api.page(
                    None if asked.get("cursor") is None else str(asked["cursor"]),
                    None if since is None else datetime.fromisoformat(str(since)),
                )
                found = {
                    "items": [task.model_dump(mode="json") for task in page.tasks],
                    "next_cursor": page.next_cursor,
                }
        return Answer(200, content=orjson.dumps(found))


class Place:
    """What all replicas share, and the use cases of as many as a test makes."""

    def __init__(self, server: OwnRedis, settings: RemindersSettings) -> None:
        self.server = server
        self.settings = settings
        self.redis: Redis = connect_redis(settings)
        self.bus = RecordingSidecar()
        self.task_api = StandInTaskApi()
        self.task_api.page_size = _PAGE
        self.sidecar = Beside(settings, self.bus, self.task_api)
        self.state = StateStore(self.sidecar, settings.state_store_name)
        self.markers = MarkerStore(self.state)
        self.documents = DaprDocuments(self.state)
        self.index = DueIndex(self.redis, "reminders", lease=LEASE, clock_offset=True)
        self.upcoming = RedisUpcoming(self.redis)
        self.clock = RedisOffsetClock(self.redis)
        self.announcer = DaprAnnouncer(self.bus, self.clock)
        self.generation = ""

    async def begin(self) -> None:
        """An empty Redis with the marker of a generation that began a while ago."""
        await self.redis.flushall()
        began = await self.clock.now() - LONG_AGO
        self.generation = (await self.markers.create(1, "run", began)).generation

    async def advance(self, step: timedelta) -> None:
        await self.redis.incrby(CLOCK_OFFSET_KEY, step // timedelta(milliseconds=1))

    def applier(self, faults: FaultPoints | None = None) -> SnapshotApplier:
        faults = faults or FaultPoints()
        return SnapshotApplier(
            faults.around(self.markers),
            faults.around(self.documents),
            faults.around(self.index),
            faults.around(self.upcoming),
            faults.around(self.announcer),
            faults.around(self.task_api),
            self.clock,
            lambda _: None,
        )

    def firer(self, faults: FaultPoints | None = None, batch: int = 50) -> DueFirer:
        faults = faults or FaultPoints()
        return DueFirer(
            faults.around(self.markers),
            faults.around(self.documents),
            faults.around(self.index),
            faults.around(self.announcer),
            self.task_api,
            self.applier(faults),
            batch,
        )

    def fired(self) -> list[str]:
        """The event ids of every reminder-due that is out, copies included."""
        return [event["id"] for event in self.bus.events("reminder-due")]

    def scheduled(self) -> set[str]:
        """The event ids of every reminder-scheduled that is out."""
        return {event["id"] for event in self.bus.events("reminder-scheduled")}

    async def aclose(self) -> None:
        await self.sidecar.aclose()
        await self.redis.aclose()


def reminded(wait: timedelta = MINUTE, **fields: Any) -> TaskSnapshot:
    """An open task whose one reminder fires after `wait`; set now, as the real clock has it."""
    now = datetime.now(UTC)
    one = reminder(at=now + wait, set_at=now)
    return snapshot(due_at=now + wait, updated_at=now, **{"reminders": (one,)} | fields)


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def place(tmp_path_factory: Any) -> AsyncIterator[Place]:
    """A redis-server and a daprd that knows its state store alone."""
    folder: Path = tmp_path_factory.mktemp("reminders")
    server = OwnRedis(folder)
    await server.start()
    settings = RemindersSettings(
        app_api_token=SecretStr("app-token"),
        dapr_api_token=SecretStr("dapr-token"),
        dapr_http_port=free_ports(1)[0],
        redis_url=SecretStr(server.url),
        environment="test",
        test_clock=True,
        tick_seconds=0.2,
    )
    made = Place(server, settings)
    daprd = LoneSidecar(settings, folder, server.port)
    try:
        await daprd.start()
        yield made
    finally:
        await made.aclose()
        await daprd.stop()
        server.kill()


@pytest_asyncio.fixture(loop_scope="session")
async def fresh(place: Place) -> Place:
    """The place with an empty Redis, a silent bus and a task-api without tasks."""
    await place.begin()
    place.bus.published.clear()
    place.task_api.tasks.clear()
    place.task_api.asked.clear()
    return place
