"""The composition root: the only place that builds objects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from fastapi import FastAPI
from redis.asyncio import Redis

from recurrence.adapters.dapr_documents import DaprDocuments
from recurrence.adapters.redis_checks import AWAITED_INDEX_NAME, INDEX_NAME, RedisAwaited, RedisChecks
from recurrence.adapters.redis_facts import RedisServerFacts
from recurrence.adapters.sidecar_publisher import SidecarPublisher
from recurrence.adapters.sidecar_task_api import SidecarTaskApi
from recurrence.application.by_schedule import LONGEST_PAUSE, BySchedule
from recurrence.application.evaluate import Evaluation
from recurrence.application.keep_complete import DerivedState, KeepComplete
from recurrence.application.propose import Proposer
from recurrence.application.reconcile import Reconcile
from recurrence.application.repair import Repair
from recurrence.entrypoints.cron import install_cron
from recurrence.entrypoints.events import event_handlers
from recurrence.entrypoints.http import install_health_routes
from recurrence.entrypoints.limits import limited
from recurrence.entrypoints.rules import rule_routes
from recurrence.settings import RecurrenceSettings
from service_kit.auth import Principal, SiblingKeys, TokenVerifier, bearer
from service_kit.clock import Clock, choose_clock
from service_kit.due_index import DueIndex
from service_kit.health import Dependency
from service_kit.http_app import install_http
from service_kit.process import Loop
from service_kit.pubsub import subscribe
from service_kit.rate_limits import RateLimiter
from service_kit.redis_connection import connect_redis
from service_kit.revocations import Revocations
from service_kit.sidecar import Sidecar
from service_kit.state_store import DocumentStore, StateStore

LOOK_AT_MARKER_EVERY = timedelta(seconds=5)
RECONCILE_EVERY = timedelta(minutes=30)


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
    clock = clock or choose_clock(settings, redis)

    def set_alarm(at: datetime) -> None:
        if by_schedule.is_later_than(at):
            alarm.wake()

    awaited = RedisAwaited(
        DueIndex(redis, AWAITED_INDEX_NAME, clock_offset=settings.test_clock), on_expected=set_alarm
    )
    proposer = Proposer(SidecarPublisher(sidecar), checks, awaited, clock)
    evaluation = Evaluation(stored, task_api, proposer)
    state = DerivedState()
    keeper = KeepComplete(stored, task_api, RedisServerFacts(redis), state, evaluation.on_series)
    repair = Repair(checks, task_api, evaluation, state)
    by_schedule = BySchedule(awaited, task_api, evaluation, state, clock)

    keeping = Loop("keep-complete", keeper.step, LOOK_AT_MARKER_EVERY)
    sweeping = Loop("sweep", repair.sweep, LONGEST_PAUSE)
    alarm = Loop("schedule", by_schedule.ring, LONGEST_PAUSE)
    reconcile = Reconcile(stored, task_api, RedisServerFacts(redis), state, evaluation.on_series, clock)
    reconciling = Loop("reconcile", reconcile.step, RECONCILE_EVERY)
    state.on_doubt(keeping.wake)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with keeping, sweeping, alarm, reconciling:
                yield
        finally:
            await sidecar.aclose()
            await redis.aclose()

    app = FastAPI(title="Taskstream recurrence", version=settings.service_version, lifespan=lifespan)
    install_http(app, settings)
    limiter = RateLimiter(redis) if settings.rate_limits_enabled else None
    users = _users(settings, sidecar, redis)
    app.include_router(rule_routes(limited(users, limiter, settings.rate_limit_rules)))
    install_health_routes(app, settings, _redis_health(redis), sidecar, state)
    subscribe(app, settings, event_handlers(evaluation, state))
    install_cron(app, settings, repair, by_schedule)
    return app


def _users(
    settings: RecurrenceSettings, sidecar: Sidecar, redis: Redis
) -> Callable[..., Awaitable[Principal]]:
    return bearer(TokenVerifier(settings, SiblingKeys(sidecar), revoked=Revocations(redis).is_revoked))


def _redis_health(redis: Redis) -> Dependency:
    async def answers() -> None:
        await redis.ping()

    return Dependency("redis", answers, critical=True)
