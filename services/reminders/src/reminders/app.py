"""The composition root: the one place that builds the objects of this service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta

from fastapi import FastAPI
from redis.asyncio import Redis

from reminders.adapters.dapr_documents import DaprDocuments
from reminders.adapters.dapr_publisher import DaprAnnouncer
from reminders.adapters.redis_upcoming import RedisUpcoming
from reminders.adapters.task_api import InvokedTaskApi
from reminders.application.alarm import Alarm
from reminders.application.apply_snapshot import SnapshotApplier
from reminders.application.apply_together import TogetherApplier
from reminders.application.erase_person import PersonEraser
from reminders.application.fire_due import DueFirer
from reminders.application.overtake import Overtaker
from reminders.application.rebuild import ScheduleRebuilder
from reminders.application.reconcile import Reconciler
from reminders.application.show_upcoming import ShowUpcoming
from reminders.entrypoints.events import handlers
from reminders.entrypoints.http import router
from reminders.metrics import PENDING
from reminders.settings import RemindersSettings
from service_kit.auth import SiblingKeys, TokenVerifier, bearer
from service_kit.clock import choose_clock
from service_kit.cron import on_cron
from service_kit.due_index import DueIndex
from service_kit.health import Dependency, install_health
from service_kit.http_app import install_http
from service_kit.marker import MarkerStore
from service_kit.process import Loop
from service_kit.pubsub import subscribe
from service_kit.redis_connection import connect_redis
from service_kit.redis_facts import RedisFacts
from service_kit.redis_lock import RedisLock
from service_kit.revocations import Revocations
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
    clock = choose_clock(settings, redis)
    announcer = DaprAnnouncer(sidecar, clock)
    task_api = InvokedTaskApi(sidecar)
    upcoming = RedisUpcoming(redis)

    def set_alarm(earliest: datetime) -> None:
        if alarm.is_later_than(earliest):
            alarm_loop.wake()

    applier = SnapshotApplier(markers, documents, index, upcoming, announcer, task_api, clock, set_alarm)
    firer = DueFirer(markers, documents, index, announcer, task_api, applier, settings.claim_batch)
    store = RedisFacts(redis, settings.service_name)
    rebuild_lock, reconcile_lock = (
        RedisLock(redis, f"reminders:{work}-lock") for work in ("rebuild", "reconcile")
    )
    rebuilder = ScheduleRebuilder(markers, task_api, rebuild_lock, store, applier, clock)
    reconciler = Reconciler(markers, documents, index, task_api, reconcile_lock, applier, clock)
    overtaker = Overtaker(task_api, applier, clock)
    alarm = Alarm(firer, index, settings.tick, rebuilder.is_ready)
    alarm_loop = Loop("alarm", alarm.ring, settings.tick, longest_pause=_SECOND)
    rebuild_loop = Loop("rebuild", rebuilder.step, _SECOND, longest_pause=_SECOND)
    reconcile_loop = Loop("reconcile", reconciler.step, settings.reconcile_pause)
    overtake_loop = Loop("overtake", overtaker.step, _SECOND)

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
            for loop in (
                rebuild_loop,
                alarm_loop,
                reconcile_loop,
                overtake_loop,
                Loop("measure", measure, 15 * _SECOND),
            ):
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
    principal = bearer(TokenVerifier(settings, SiblingKeys(sidecar), revoked=Revocations(redis).is_revoked))
    app.include_router(router(ShowUpcoming(markers, documents, upcoming, clock), principal))
    subscribe(
        app, settings, handlers(TogetherApplier(applier), PersonEraser(markers, upcoming), overtaker.note)
    )
    on_cron(app, settings, "reminder-cron", tick)
    return app
