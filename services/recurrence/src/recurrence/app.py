"""The composition root: the only place that builds objects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI
from redis.asyncio import Redis

from recurrence.adapters.dapr_documents import DaprDocuments
from recurrence.adapters.redis_checks import INDEX_NAME, RedisChecks
from recurrence.adapters.redis_facts import RedisServerFacts
from recurrence.adapters.sidecar_publisher import SidecarPublisher
from recurrence.adapters.sidecar_task_api import SidecarTaskApi
from recurrence.application.evaluate import Evaluation
from recurrence.application.keep_complete import DerivedState, KeepComplete
from recurrence.application.propose import Proposer
from recurrence.application.repair import Repair
from recurrence.entrypoints.cron import install_cron
from recurrence.entrypoints.events import event_handlers
from recurrence.entrypoints.http import install_health_routes
from recurrence.settings import RecurrenceSettings
from service_kit.clock import Clock, choose_clock
from service_kit.due_index import DueIndex
from service_kit.health import Dependency
from service_kit.http_app import install_http
from service_kit.process import Loop
from service_kit.pubsub import subscribe
from service_kit.redis_connection import connect_redis
from service_kit.sidecar import Sidecar
from service_kit.state_store import DocumentStore, StateStore

LOOK_AT_MARKER_EVERY = timedelta(seconds=5)
SWEEP_WITHOUT_TICK_EVERY = timedelta(minutes=65)
"""daprd asks once, at its start, whether the binding is wanted; should that fail, no tick would ever come."""


def build(
    settings: RecurrenceSettings,
    *,
    redis: Redis | None = None,
    sidecar: Sidecar | None = None,
    documents: DocumentStore | None = None,
    clock: Clock | None = None,
) -> FastAPI:
    """Build the service; what is given takes the place of the real thing. Nothing is connected before it starts."""
    redis = redis or connect_redis(settings)
    sidecar = sidecar or Sidecar(settings)
    stored = DaprDocuments(documents or StateStore(sidecar, settings.state_store_name))
    task_api = SidecarTaskApi(sidecar)
    checks = RedisChecks(DueIndex(redis, INDEX_NAME, clock_offset=settings.test_clock))
    proposer = Proposer(SidecarPublisher(sidecar), checks, clock or choose_clock(settings, redis))
    evaluation = Evaluation(stored, task_api, proposer)
    state = DerivedState()
    keeper = KeepComplete(stored, task_api, RedisServerFacts(redis), state, evaluation.on_series)
    repair = Repair(checks, task_api, evaluation, state)

    keeping = Loop("keep-complete", keeper.step, LOOK_AT_MARKER_EVERY)
    sweeping = Loop("sweep", repair.sweep, SWEEP_WITHOUT_TICK_EVERY)
    state.on_doubt(keeping.wake)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with keeping, sweeping:
                yield
        finally:
            await sidecar.aclose()
            await redis.aclose()

    app = FastAPI(title="Taskstream recurrence", version=settings.service_version, lifespan=lifespan)
    install_http(app, settings)
    install_health_routes(app, settings, _redis_health(redis), sidecar, state)
    subscribe(app, settings, event_handlers(evaluation, state))
    install_cron(app, settings, repair)
    return app


def _redis_health(redis: Redis) -> Dependency:
    async def answers() -> None:
        await redis.ping()

    return Dependency("redis", answers, critical=True)
