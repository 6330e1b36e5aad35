"""The composition root: the one place that builds the objects of this service."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial

from fastapi import FastAPI
from redis.asyncio import Redis

from event_contracts.values import Channel
from notifier import metrics
from notifier.adapters.dapr_events import DaprEvents
from notifier.adapters.dapr_records import DaprMarkers, DaprTaskRecords
from notifier.adapters.mail_message import MailComposer
from notifier.adapters.redis_deliveries import RedisDeliveries
from notifier.adapters.redis_inbox import RedisInbox
from notifier.adapters.smtp import SmtpMailer
from notifier.adapters.task_api import InvokedTaskApi
from notifier.application.announce import AnnounceReminder
from notifier.application.deliver import DeliverNotification, Pace
from notifier.application.follow_task import FollowTask
from notifier.application.forget_user import ForgetUser
from notifier.application.keep_marker import KeepMarker
from notifier.application.ports import Sender
from notifier.application.senders import EmailSender, InboxSender
from notifier.application.show_inbox import ShowInbox
from notifier.application.tell_reads import TellReads
from notifier.application.worker import ChannelWorker
from notifier.domain.notifications import CHANNELS
from notifier.domain.retries import RetryPolicy
from notifier.entrypoints.events import handlers
from notifier.entrypoints.http import router
from notifier.settings import NotifierSettings
from service_kit.auth import SiblingKeys, TokenVerifier, bearer
from service_kit.clock import choose_clock
from service_kit.cron import on_cron
from service_kit.health import Dependency, install_health
from service_kit.http_app import install_http
from service_kit.marker import MarkerStore
from service_kit.process import Loop
from service_kit.pubsub import subscribe
from service_kit.redis_connection import connect_redis
from service_kit.revocations import Revocations
from service_kit.sidecar import Sidecar
from service_kit.state_store import StateStore

_SECOND = timedelta(seconds=1)
# One try (asking and sending) ends before its lease does, or another replica would send the same beside it.
_TRY_SECONDS = 25.0
_LEASE = timedelta(seconds=40)
_GRACE_SECONDS = 5.0


def _wake(loops: Mapping[Channel, Loop], channel: Channel) -> None:
    loops[channel].wake()


def build(
    settings: NotifierSettings, *, redis: Redis | None = None, sidecar: Sidecar | None = None
) -> FastAPI:
    """The service as an ASGI application; `redis` and `sidecar` may be given by a test."""
    redis = redis or connect_redis(settings)
    sidecar = sidecar or Sidecar(settings)
    clock = choose_clock(settings, redis)
    state = StateStore(sidecar, settings.state_store_name)
    markers = MarkerStore(state)
    records = DaprTaskRecords(state, markers)
    deliveries = RedisDeliveries(redis, clock, lease=_LEASE, clock_offset=settings.test_clock)
    inbox = RedisInbox(redis, limit=settings.inbox_limit, lease=_LEASE, clock_offset=settings.test_clock)
    task_api = InvokedTaskApi(sidecar, remember=settings.contact_cache_seconds)
    events = DaprEvents(sidecar)
    mailer = SmtpMailer(
        settings.smtp_server,
        MailComposer(settings.sender, str(settings.public_url)),
        timeout=settings.smtp_timeout,
    )
    keep_marker = KeepMarker(DaprMarkers(markers, redis), task_api)
    pace = Pace(RetryPolicy(horizon=settings.retry_horizon), _TRY_SECONDS, random.random)
    senders: dict[Channel, Sender] = {
        Channel.EMAIL: EmailSender(mailer, clock),
        Channel.INBOX: InboxSender(inbox, records, clock),
    }
    room = {Channel.EMAIL: settings.email_concurrency, Channel.INBOX: settings.inbox_concurrency}
    loops: dict[Channel, Loop] = {}
    workers: dict[Channel, ChannelWorker] = {}
    for channel in CHANNELS:
        deliver = DeliverNotification(
            senders[channel], deliveries=deliveries, task_api=task_api, events=events, clock=clock, pace=pace
        )
        workers[channel] = ChannelWorker(
            channel,
            deliver,
            deliveries,
            concurrency=room[channel],
            is_ready=keep_marker.is_ready,
            wake=partial(_wake, loops, channel),
        )
        loops[channel] = Loop(f"deliver-{channel}", workers[channel].step, _SECOND, longest_pause=_SECOND)
    tell_reads = Loop("tell-reads", TellReads(inbox, events).step, 5 * _SECOND)

    def wake() -> None:
        for loop in loops.values():
            loop.wake()

    async def measure() -> None:
        for channel in CHANNELS:
            metrics.delivery_queue_depth.labels(channel).set(await deliveries.depth(channel))

    async def tick() -> None:
        wake()

    async def ping() -> None:
        await redis.ping()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(redis.aclose)
            stack.push_async_callback(sidecar.aclose)
            stack.push_async_callback(mailer.close)
            for worker in workers.values():
                stack.push_async_callback(worker.close, _GRACE_SECONDS)
            marker_loop = Loop("marker", keep_marker.step, _SECOND, longest_pause=_SECOND)
            for loop in (marker_loop, *loops.values(), tell_reads, Loop("measure", measure, 15 * _SECOND)):
                await stack.enter_async_context(loop)
            yield

    app = FastAPI(title="Taskstream notifier", version=settings.service_version, lifespan=lifespan)
    install_http(app, settings)
    install_health(
        app,
        settings,
        [
            Dependency("redis", ping, critical=True),
            Dependency("marker", keep_marker.check, critical=True),
            Dependency("sidecar", sidecar.check, critical=False),
            Dependency("smtp", mailer.check, critical=False),
        ],
        sidecar,
    )
    principal = bearer(TokenVerifier(settings, SiblingKeys(sidecar), revoked=Revocations(redis).is_revoked))
    app.include_router(router(ShowInbox(inbox, clock, tell_reads.wake), principal))
    subscribe(
        app,
        settings,
        handlers(
            AnnounceReminder(deliveries, wake),
            FollowTask(records, inbox, clock),
            ForgetUser(inbox, deliveries, task_api),
        ),
    )
    on_cron(app, settings, "delivery-cron", tick)
    return app
