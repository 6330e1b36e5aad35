"""The composition root: the one place that builds the objects of this service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta

from fastapi import FastAPI
from redis.asyncio import Redis

from reminders.adapters.dapr_documents import DaprDocuments
from reminders.adapters.dapr_publisher import DaprAnnouncer
from reminders.adapters.redis_rebuild_lock import RedisRebuildLock
from reminders.adapters.task_api import InvokedTaskApi
from reminders.application.alarm import Alarm
from reminders.application.apply_snapshot import SnapshotApplier
from reminders.application.fire_due import DueFirer
from reminders.application.rebuild import Rebuilder
from reminders.entrypoints.events import handlers
from reminders.metrics import PENDING
from reminders.settings import RemindersSettings
from service_kit.clock import choose_clock
from service_kit.cron import on_cron
from service_kit.due_index import DueIndex
from service_kit.health import Dependency, install_health
from service_kit.http_app import install_http
from service_kit.marker import MarkerStore
from service_kit.process import Loop
from service_kit.pubsub import subscribe
from service_kit.redis_connection import connect_redis
from service_kit.sidecar import Sidecar
from service_kit.state_store import StateStore

_SECOND = timedelta(seconds=1)


def build(
    settings: RemindersSettings, *, redis: Redis | None = None, sidecar: Sidecar | None = None
) -> FastAPI:
    """The service as an ASGI application; `redis` and `sidecar` may be given by a test."""
    redis = redis or connect_redis(settings)
    sidecar = sidecar or Sidecar(settings)
    state = StateStore(sidecar, settings.state_store_name)
    markers, documents = MarkerStore(state), DaprDocuments(state)
    index = DueIndex(
        redis, "reminders", shards=settings.due_shards, lease=settings.lease, clock_offset=settings.test_clock
    )
    announcer = DaprAnnouncer(sidecar, choose_clock(settings, redis))
    task_api = InvokedTaskApi(sidecar)

    def set_alarm(earliest: datetime) -> None:
        if alarm.is_later_than(earliest):
            alarm_loop.wake()

    applier = SnapshotApplier(markers, documents, index, announcer, set_alarm)
    firer = DueFirer(markers, documents, index, announcer, task_api, applier, settings.claim_batch)
    rebuilder = Rebuilder(markers, task_api, RedisRebuildLock(redis), applier)
    alarm = Alarm(firer, index, settings.tick, lambda: rebuilder.ready)
    alarm_loop = Loop("alarm", alarm.ring, settings.tick, longest_pause=_SECOND)
    rebuild_loop = Loop("rebuild", rebuilder.step, _SECOND, longest_pause=_SECOND)

    async def measure() -> None:
        PENDING.set(await index.depth())

    async def tick() -> None:
        alarm_loop.wake()

    async def ping() -> None:
        await redis.ping()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(redis.aclose)
            stack.push_async_callback(sidecar.aclose)
            for loop in (rebuild_loop, alarm_loop, Loop("measure", measure, 15 * _SECOND)):
                await stack.enter_async_context(loop)
            yield

    app = FastAPI(title="Taskstream reminders", version=settings.service_version, lifespan=lifespan)
    install_http(app, settings)
    install_health(
        app,
        settings,
        [
            Dependency("redis", ping, critical=True),
            Dependency("schedule", rebuilder.check, critical=True),
            Dependency("sidecar", sidecar.check, critical=False),
        ],
        sidecar,
    )
    subscribe(app, settings, handlers(applier))
    on_cron(app, settings, "reminder-cron", tick)
    return app
