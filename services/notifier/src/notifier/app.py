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
from notifier.adapters.apprise_chats import AppriseChats
from notifier.adapters.dapr_events import DaprEvents
from notifier.adapters.dapr_records import DaprTaskRecords
from notifier.adapters.languages import Languages
from notifier.adapters.mail_message import MailComposer
from notifier.adapters.outbound import Outbound
from notifier.adapters.person_actions import InvokedActions
from notifier.adapters.redis_deliveries import RedisDeliveries
from notifier.adapters.redis_inbox import RedisInbox
from notifier.adapters.redis_lanes import RedisLanes
from notifier.adapters.redis_links import RedisLinkUses
from notifier.adapters.redis_live import MirroredSessions, NewsChannel, RedisLive
from notifier.adapters.redis_lost import RedisLostDeliveries
from notifier.adapters.redis_past import RedisPast
from notifier.adapters.redis_tickets import RedisTickets
from notifier.adapters.signed_links import SignedLinks
from notifier.adapters.smtp import SmtpMailer
from notifier.adapters.task_api import InvokedTaskApi
from notifier.adapters.web_push import VapidKey, WebPush
from notifier.adapters.webhooks import SignedWebhooks
from notifier.application.announce import AnnounceNotification
from notifier.application.await_task_api import AwaitTaskApi
from notifier.application.deliver import DeliverNotification, Pace
from notifier.application.follow_link import FollowLink
from notifier.application.follow_live import FollowLive, WatchSessions
from notifier.application.follow_task import FollowTask
from notifier.application.forget_user import ForgetUser
from notifier.application.keep_whole import KeepWhole
from notifier.application.lane_worker import LaneWorker
from notifier.application.listeners import Listeners
from notifier.application.ports import Sender
from notifier.application.requeue import RequeueCancelled
from notifier.application.restore import RestoreAnnounced
from notifier.application.send_test import SendTest
from notifier.application.senders import DestinationSender, EmailSender, InboxSender, OutsideSenders
from notifier.application.show_inbox import ShowInbox
from notifier.application.spread import SpreadNotification
from notifier.application.tell_reads import TellReads
from notifier.application.worker import ChannelWorker, Step
from notifier.domain.lanes import Circuit
from notifier.domain.notifications import CHANNELS
from notifier.domain.retries import RetryPolicy
from notifier.entrypoints.events import handlers
from notifier.entrypoints.http import router
from notifier.entrypoints.links import link_routes
from notifier.entrypoints.push_key import push_key_router
from notifier.entrypoints.stream import TICKET_SECONDS, Streams, stream_router
from notifier.settings import NotifierSettings
from service_kit.auth import SiblingKeys, TokenVerifier, bearer
from service_kit.clock import choose_clock
from service_kit.cron import on_cron
from service_kit.health import Dependency, install_health
from service_kit.http_app import install_http, on_leaving
from service_kit.marker import MarkerStore
from service_kit.process import Loop
from service_kit.pubsub import subscribe
from service_kit.rate_limits import RateLimiter
from service_kit.redis_connection import connect_redis
from service_kit.redis_facts import RedisFacts
from service_kit.redis_lock import RedisLock
from service_kit.revocations import RevocationMirror, Revocations
from service_kit.sidecar import Sidecar
from service_kit.state_store import StateStore

_SECOND = timedelta(seconds=1)
# One try (asking and sending) ends before its lease does, or another replica would send the same beside it.
_TRY_SECONDS = 25.0
_LEASE = timedelta(seconds=40)
_INSIDE_TRY_SECONDS = 6.0
_INSIDE_LEASE = timedelta(seconds=10)
_GRACE_SECONDS = 5.0
_CHAT_THREADS = 16
# For how long a stream may outlive its session.
_SESSIONS = timedelta(seconds=5)
_LANES = "lanes"


def _wake(loops: Mapping[Channel | str, Loop], name: Channel | str) -> None:
    loops[name].wake()


def _vapid_key(settings: NotifierSettings) -> VapidKey | None:
    if settings.vapid_private_key is None:
        return None
    return VapidKey(settings.vapid_private_key.get_secret_value(), f"mailto:{settings.sender.addr_spec}")


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
    deliveries = RedisDeliveries(
        redis, clock, lease=_LEASE, inside_lease=_INSIDE_LEASE, clock_offset=settings.test_clock
    )
    lanes = RedisLanes(redis, deliveries, clock, lease=_LEASE, clock_offset=settings.test_clock)
    inbox = RedisInbox(redis, limit=settings.inbox_limit, lease=_LEASE, clock_offset=settings.test_clock)
    live = RedisLive(redis)
    listeners = Listeners(at_most=settings.streams_per_process, per_person=settings.streams_per_person)
    task_api = InvokedTaskApi(sidecar, remember=settings.contact_cache_seconds)
    events = DaprEvents(sidecar)
    languages = Languages()
    links = SignedLinks(settings.link_keys, settings.links_address) if settings.link_keys else None
    mailer = SmtpMailer(
        settings.smtp_server,
        MailComposer(settings.sender, languages, links),
        timeout=settings.smtp_timeout,
    )
    loops: dict[Channel | str, Loop] = {}

    def wake() -> None:
        for loop in loops.values():
            loop.wake()

    await_task_api = AwaitTaskApi(task_api, wake)
    requeue = RequeueCancelled(deliveries, lanes, wake)
    restore = RestoreAnnounced(
        inbox,
        records,
        deliveries,
        RedisLostDeliveries(redis, deliveries, clock),
        task_api,
        languages,
        clock,
        requeue,
        horizon=settings.retry_horizon,
    )
    rebuild_lock = RedisLock(redis, "notifier:rebuild-lock")
    keep_whole = KeepWhole(
        markers,
        task_api,
        rebuild_lock,
        RedisFacts(redis, settings.service_name),
        RedisPast(redis, rebuild_lock),
        restore,
        clock,
        back_to=timedelta(days=settings.inbox_rebuild_days),
        horizon=settings.retry_horizon,
    )

    def is_ready() -> bool:
        return keep_whole.is_ready() and await_task_api.is_there()

    outbound = Outbound(settings.outbound_rule, timeout=settings.outbound_timeout)
    chats = AppriseChats(settings.outbound_rule, timeout=settings.outbound_timeout, threads=_CHAT_THREADS)
    vapid_key = _vapid_key(settings)
    ways = OutsideSenders(
        SignedWebhooks(outbound, str(settings.public_url)), chats, WebPush(outbound, vapid_key)
    )
    retries = RetryPolicy(horizon=settings.retry_horizon)
    room = {Channel.EMAIL: settings.email_concurrency, Channel.INBOX: settings.inbox_concurrency}

    def delivering(sender: Sender, try_seconds: float = _TRY_SECONDS) -> DeliverNotification:
        return DeliverNotification(
            sender,
            deliveries=deliveries,
            task_api=task_api,
            events=events,
            clock=clock,
            pace=Pace(retries, try_seconds, random.random),
            requeue=requeue,
            languages=languages,
        )

    to_destinations = delivering(DestinationSender(ways, task_api, clock))
    spread = SpreadNotification(
        deliveries=deliveries,
        lanes=lanes,
        task_api=task_api,
        events=events,
        clock=clock,
        postpone=to_destinations.postpone,
    )
    steps: dict[Channel, Step] = {
        Channel.EMAIL: delivering(EmailSender(mailer, clock)),
        Channel.INBOX: delivering(InboxSender(inbox, records, clock), _INSIDE_TRY_SECONDS),
    }
    workers: dict[Channel, ChannelWorker] = {}
    for channel in CHANNELS:
        workers[channel] = ChannelWorker(
            channel,
            steps.get(channel, spread),
            deliveries,
            concurrency=room.get(channel, settings.inbox_concurrency),
            is_ready=is_ready,
            wake=partial(_wake, loops, channel),
        )
        loops[channel] = Loop(f"deliver-{channel}", workers[channel].step, _SECOND, longest_pause=_SECOND)
    lane_worker = LaneWorker(
        to_destinations,
        lanes,
        clock,
        circuit=Circuit(),
        concurrency=settings.destination_concurrency,
        is_ready=is_ready,
        wake=partial(_wake, loops, _LANES),
    )
    loops[_LANES] = Loop("deliver-to-destinations", lane_worker.step, _SECOND, longest_pause=_SECOND)
    tell_reads = Loop("tell-reads", TellReads(inbox, events).step, 5 * _SECOND)

    reader = Loop("live-reader", live.read, _SECOND, longest_pause=_SECOND)
    live.wake_reader = reader.wake
    news = Loop("live-news", NewsChannel(redis, listeners).listen, _SECOND, longest_pause=_SECOND)
    watch = WatchSessions(listeners, MirroredSessions(RevocationMirror(redis)))
    sessions = Loop("live-sessions", watch.step, _SESSIONS)

    async def measure() -> None:
        waiting = await lanes.depths()
        for channel in CHANNELS:
            depth = await deliveries.depth(channel) + waiting.get(channel, 0)
            metrics.delivery_queue_depth.labels(channel).set(depth)

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
            stack.push_async_callback(outbound.aclose)
            stack.callback(chats.close)
            for closing in (lane_worker.close, *(worker.close for worker in workers.values())):
                stack.push_async_callback(closing, _GRACE_SECONDS)
            marker_loop = Loop("marker", keep_whole.step, _SECOND, longest_pause=_SECOND)
            awaiting = Loop("await-task-api", await_task_api.step, _SECOND / 2, longest_pause=_SECOND)
            measuring = Loop("measure", measure, 15 * _SECOND)
            for loop in (
                marker_loop,
                *loops.values(),
                awaiting,
                tell_reads,
                measuring,
                reader,
                news,
                sessions,
            ):
                await stack.enter_async_context(loop)
            yield

    app = FastAPI(title="Taskstream notifier", version=settings.service_version, lifespan=lifespan)
    install_http(app, settings)
    install_health(
        app,
        settings,
        [
            Dependency("redis", ping, critical=True),
            Dependency("marker", keep_whole.check, critical=True),
            Dependency("sidecar", sidecar.check, critical=False),
            Dependency("smtp", mailer.check, critical=False),
        ],
        sidecar,
    )
    revoked = Revocations(redis).is_revoked
    principal = bearer(TokenVerifier(settings, SiblingKeys(sidecar), revoked=revoked))
    test = SendTest(
        inbox=inbox,
        mailer=mailer,
        ways=ways,
        task_api=task_api,
        languages=languages,
        clock=clock,
        time_limit=_TRY_SECONDS,
    )
    shown = ShowInbox(inbox, deliveries, clock, tell_reads.wake)
    app.include_router(router(shown, test, RateLimiter(redis), principal))
    app.include_router(push_key_router(vapid_key.public if vapid_key else None, principal))
    # Below the time that a request has for each part of its answer.
    sign_of_life = min(settings.stream_heartbeat, settings.request_timeout / 2)
    follow_live = FollowLive(live, sign_of_life=sign_of_life, chance=random.random)
    streams = Streams(listeners, follow_live, RedisTickets(redis, life=TICKET_SECONDS), revoked)
    app.include_router(stream_router(streams, principal))
    on_leaving(app, listeners.close)
    follow = FollowLink(task_api, InvokedActions(sidecar), RedisLinkUses(redis), clock)
    app.include_router(link_routes(links, follow, languages))
    announce = AnnounceNotification(deliveries, wake, keep_whole.require)
    subscribe(
        app,
        settings,
        handlers(
            announce,
            FollowTask(records, inbox, clock, requeue, announce, live),
            ForgetUser(inbox, deliveries, task_api, live),
        ),
    )
    on_cron(app, settings, "delivery-cron", tick)
    return app
