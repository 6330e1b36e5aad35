"""The composition root of task-api: the only place that builds objects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from fastapi import FastAPI
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from event_contracts.topics import TASK_API, produced_by
from service_kit.auth import StaticKeys, TokenVerifier
from service_kit.clock import Clock, SystemClock, choose_clock
from service_kit.health import Dependency, install_health
from service_kit.http_app import install_http
from service_kit.process import Loop
from service_kit.rate_limits import RateLimiter
from service_kit.redis_connection import connect_redis
from service_kit.sidecar import Sidecar, SidecarUnavailable
from task_api.adapters.argon2_passwords import Argon2Passwords
from task_api.adapters.dapr_publisher import DaprPublisher
from task_api.adapters.ed25519_tokens import SigningKeys, read_private_keys
from task_api.adapters.fernet_seal import Seal, read_encryption_keys
from task_api.adapters.postgres.accounts import PostgresAccounts
from task_api.adapters.postgres.activity import PostgresLedger
from task_api.adapters.postgres.api_keys import PostgresApiKeys
from task_api.adapters.postgres.audit_log import PostgresAudit
from task_api.adapters.postgres.calendar_feed import PostgresCalendarFeed
from task_api.adapters.postgres.contacts import PostgresContacts
from task_api.adapters.postgres.database import PostgresDatabase, connect
from task_api.adapters.postgres.erasures import PostgresErasures
from task_api.adapters.postgres.export import PostgresExport
from task_api.adapters.postgres.housekeeping import Housekeeping
from task_api.adapters.postgres.lockdown import PostgresStop
from task_api.adapters.postgres.outbox import PostgresOutbox, relay_engine
from task_api.adapters.postgres.pool_metrics import watch_pool
from task_api.adapters.postgres.preferences import PostgresPreferences
from task_api.adapters.postgres.shared_inserts import SharedInserts
from task_api.adapters.postgres.snapshots import PostgresSnapshots
from task_api.adapters.postgres.successors import PostgresSuccession
from task_api.adapters.postgres.task_reader import PostgresTaskReader
from task_api.adapters.postgres.unlocked_tasks import PostgresUnlockedTasks
from task_api.adapters.redis_sessions import RedisRevokedSessions
from task_api.application.account_ports import Passwords
from task_api.application.administration import Administration
from task_api.application.api_keys import ApiKeys
from task_api.application.audit import Audit
from task_api.application.calendar_feed import CalendarFeeds
from task_api.application.erase_account import EraseAccount
from task_api.application.lockdown import Lockdown
from task_api.application.ports import Means
from task_api.application.preferences import NotificationPreferences
from task_api.application.profile import Profiles
from task_api.application.relay_outbox import OutboxRelay
from task_api.application.sessions import Sessions
from task_api.domain.account import Account
from task_api.domain.errors import AccountNotFound
from task_api.entrypoints.events import Consumers, install_events
from task_api.entrypoints.http import imports
from task_api.entrypoints.http.admin import admin_routes
from task_api.entrypoints.http.aliases import Aliases
from task_api.entrypoints.http.api_keys import api_key_routes
from task_api.entrypoints.http.auth import auth_routes
from task_api.entrypoints.http.calendar import calendar_routes
from task_api.entrypoints.http.closed import Closed
from task_api.entrypoints.http.cursors import Cursors
from task_api.entrypoints.http.documented import install_document
from task_api.entrypoints.http.gate import Gate
from task_api.entrypoints.http.ledgers import ledger_routes
from task_api.entrypoints.http.limits import AddressLimits, Limits
from task_api.entrypoints.http.overview import overview_routes
from task_api.entrypoints.http.people_data import people_data_routes
from task_api.entrypoints.http.preferences import preference_routes
from task_api.entrypoints.http.problems import install_domain_problems
from task_api.entrypoints.http.series import series_routes
from task_api.entrypoints.http.task_bulk import task_bulk_routes
from task_api.entrypoints.http.task_closing import task_closing_routes
from task_api.entrypoints.http.task_reading import task_reading_routes
from task_api.entrypoints.http.task_reminders import task_reminder_routes
from task_api.entrypoints.http.task_undo import task_undo_routes
from task_api.entrypoints.http.task_writing import task_writing_routes
from task_api.entrypoints.http.undo_tokens import UndoTokens
from task_api.entrypoints.http.users import user_routes
from task_api.entrypoints.internal import ForSiblings, install_internal
from task_api.settings import Settings

ERASURE_INTERVAL = timedelta(seconds=5)
HOUSEKEEPING_INTERVAL = timedelta(minutes=10)
LOCKDOWN_INTERVAL = timedelta(seconds=1)
REFILL_INTERVAL = timedelta(seconds=1)
"""How soon a wiped Redis knows again which sessions were ended; until then the siblings let nobody in."""
RELAY_INTERVAL = timedelta(milliseconds=100)
"""How long a commit of another process, or one whose wake-up got lost, waits at most."""

_DESCRIPTION = (
    "Tasks with reminders and recurrence. Every change is published; nothing that was accepted is lost."
)


def build(
    settings: Settings,
    *,
    engine: AsyncEngine | None = None,
    redis: Redis | None = None,
    sidecar: Sidecar | None = None,
    clock: Clock | None = None,
    passwords: Passwords | None = None,
) -> FastAPI:
    """Put the service together. Adapters that are given are used as they are; who gives one closes it.

    Nothing is connected before the first request; the relay runs between the app's startup and shutdown.
    """
    opened = AsyncExitStack()
    url = settings.database_url.get_secret_value()
    engine = engine or _closing(
        opened,
        connect(url, pool_size=settings.database_pool_size, authority=settings.database_ca),
        AsyncEngine.dispose,
    )
    watch_pool(engine, "requests")
    redis = redis or _closing(opened, connect_redis(settings), Redis.aclose)
    sidecar = sidecar or _closing(opened, Sidecar(settings), Sidecar.aclose)
    lanes = settings.relay_lanes
    relay = _relay(opened, relay_engine(url, settings.database_ca, lanes=lanes), sidecar, lanes)
    clock = clock or choose_clock(settings, redis)
    if passwords is None:
        passwords = Argon2Passwords(settings.password_workers)
        opened.callback(passwords.close)
    entry = _Entry(settings, engine, redis)
    lockdown = Lockdown(PostgresStop(engine), entry.gate.forget_keys)
    erase = EraseAccount(PostgresErasures(engine), passwords, entry.revoked, clock.now, relay.wake)
    loops = [
        relay,
        Loop("lockdown", lockdown.look, LOCKDOWN_INTERVAL),
        Loop("revocations", entry.revoked.refill, REFILL_INTERVAL),
        Loop("housekeeping", _housekeeping(settings, engine, clock).sweep, HOUSEKEEPING_INTERVAL),
        Loop("erasures", erase.work, ERASURE_INTERVAL),
    ]
    app = FastAPI(
        title="Taskstream task API",
        version=settings.service_version,
        description=_DESCRIPTION,
        lifespan=_lifespan(opened, loops),
    )
    app.add_middleware(Aliases)
    app.add_middleware(Closed, lockdown=lockdown)
    if entry.limiter is not None:
        app.add_middleware(AddressLimits, limiter=entry.limiter, limits=_limits(settings))
    install_http(app, settings, larger_bodies={imports.PATH: imports.BOUND})
    install_domain_problems(app)
    dependencies = _dependencies(PostgresDatabase(engine), redis, sidecar, settings.pubsub_name)
    install_health(app, settings, dependencies, sidecar)
    # Routes are tried in this order, so what is called most comes first.
    stores = _Stores(entry, clock, relay)
    _install_tasks(app, entry, stores, clock)
    _install_accounts(app, entry, stores, passwords, erase, clock, relay)
    consumers = Consumers(PostgresLedger(engine), PostgresSuccession(engine), clock.now, relay.wake)
    install_events(app, settings, consumers)
    install_internal(app, settings, _for_siblings(entry, stores))
    install_document(app)
    return app


def _closing(opened: AsyncExitStack, made: Any, close: Callable[[Any], Any]) -> Any:
    opened.push_async_callback(close, made)
    return made


def _relay(opened: AsyncExitStack, engine: AsyncEngine, sidecar: Sidecar, lanes: int) -> Loop:
    watch_pool(_closing(opened, engine, AsyncEngine.dispose), "relay")
    topics = [topic.name for topic in produced_by(TASK_API)]
    outbox = OutboxRelay(PostgresOutbox(engine), DaprPublisher(sidecar), topics, lanes=lanes)
    return Loop("outbox-relay", outbox.drain, RELAY_INTERVAL)


def _housekeeping(settings: Settings, engine: AsyncEngine, clock: Clock) -> Housekeeping:
    return Housekeeping(
        engine,
        clock.now,
        deleted_tasks=timedelta(days=settings.deleted_tasks_retention_days),
        audit_lines=timedelta(days=settings.audit_retention_days),
    )


def _limits(settings: Settings) -> Limits:
    return Limits(settings.rate_limit_user, settings.rate_limit_address, settings.rate_limit_auth)


def _lifespan(opened: AsyncExitStack, loops: Sequence[Loop]) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with opened, AsyncExitStack() as running:
            for loop in loops:
                await running.enter_async_context(loop)
            yield

    return lifespan


class _Entry:
    """How people get in, and what is signed for them."""

    def __init__(self, settings: Settings, engine: AsyncEngine, redis: Redis) -> None:
        # Tokens live by the machine's clock, which is the one that verifies them, even where a test moves the other.
        self.now = SystemClock().now
        self.settings = settings
        self.engine = engine
        self.keys = SigningKeys(
            read_private_keys(settings.jwt_private_keys.get_secret_value()),
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
        )
        self.accounts = PostgresAccounts(engine)
        self.revoked = RedisRevokedSessions(redis, self.accounts, self.keys.lifetime_seconds)
        self.limiter = RateLimiter(redis) if settings.rate_limits_enabled else None
        self.seal = Seal(read_encryption_keys(settings.encryption_keys.get_secret_value()))
        self.audit = Audit(PostgresAudit(engine), self.now)
        self.api_keys = ApiKeys(PostgresApiKeys(engine), self.now, self.audit)
        verifier = TokenVerifier(settings, StaticKeys(self.keys.public_keys), revoked=self.revoked.is_revoked)
        self.gate = Gate(verifier, self.api_keys, self.limiter, settings.rate_limit_user, self.audit)
        self.callers = self.gate.callers()
        self.cursors = Cursors(self.keys.derived_secrets("cursors"))


class _Stores:
    """Where tasks and preferences are read and written, by people and by siblings alike."""

    def __init__(self, entry: _Entry, clock: Clock, relay: Loop) -> None:
        database = PostgresDatabase(entry.engine)
        self.means = Means(
            database,
            SharedInserts(entry.engine, database),
            PostgresUnlockedTasks(entry.engine),
            clock.now,
            relay.wake,
        )
        self.reader = PostgresTaskReader(entry.engine)
        kept = PostgresPreferences(entry.engine, entry.seal)
        self.preferences = NotificationPreferences(kept, clock.now, entry.audit)
        self.undo = UndoTokens(entry.keys.derived_secrets("undo"))


def _install_accounts(
    app: FastAPI,
    entry: _Entry,
    stores: _Stores,
    passwords: Passwords,
    erase: EraseAccount,
    clock: Clock,
    relay: Loop,
) -> None:
    accounts, callers, audit = entry.accounts, entry.callers, entry.audit
    sessions = Sessions(accounts, passwords, entry.keys, entry.revoked, audit)

    async def read_account(user_id: UUID) -> Account:
        account = await accounts.account(user_id)
        if account is None:
            raise AccountNotFound("the account is gone")
        return account

    is_open = entry.settings.registration_open
    app.include_router(
        auth_routes(sessions, callers.session, entry.keys.jwks(), audit, registration_open=is_open)
    )
    profiles = Profiles(accounts, clock.now, relay.wake, audit)
    app.include_router(user_routes(callers.session, read_account, profiles.change))
    export = PostgresExport(entry.engine, entry.seal)
    app.include_router(people_data_routes(callers, export, erase, audit, entry.now))
    app.include_router(api_key_routes(callers, entry.api_keys, entry.gate.forget_keys))
    app.include_router(preference_routes(callers, stores.preferences))
    feeds = CalendarFeeds(PostgresCalendarFeed(entry.engine), clock.now, audit)
    app.include_router(calendar_routes(callers, feeds))
    administration = Administration(accounts, entry.revoked, audit)
    forget_keys = entry.gate.forget_keys
    app.include_router(
        admin_routes(callers, administration, stores.reader, audit, entry.cursors, forget_keys)
    )


def _install_tasks(app: FastAPI, entry: _Entry, stores: _Stores, clock: Clock) -> None:
    callers, cursors = entry.callers, entry.cursors
    means, reader, undo = stores.means, stores.reader, stores.undo
    app.include_router(task_reading_routes(callers, reader, cursors, clock.now))
    app.include_router(task_writing_routes(callers, means, undo))
    # Before /{task_id}/complete, which would take /bulk/complete for a task's.
    app.include_router(task_bulk_routes(callers, means, undo))
    app.include_router(task_closing_routes(callers, means, reader, undo))
    app.include_router(task_reminder_routes(callers, means, undo))
    app.include_router(ledger_routes(callers.read, reader, cursors))
    app.include_router(imports.import_routes(callers, means, undo))
    app.include_router(overview_routes(callers, means, reader, undo))
    app.include_router(series_routes(callers, means, undo))
    app.include_router(task_undo_routes(callers, means, undo))


def _for_siblings(entry: _Entry, stores: _Stores) -> ForSiblings:
    return ForSiblings(
        PostgresSnapshots(entry.engine),
        PostgresContacts(entry.engine, entry.seal),
        stores.preferences,
        stores.means,
        stores.undo,
    )


def _dependencies(
    database: PostgresDatabase, redis: Redis, sidecar: Sidecar, pubsub: str
) -> tuple[Dependency, ...]:
    """PostgreSQL alone is critical: handlers and requests need it; what is not out yet waits in the outbox."""

    async def ping_redis() -> None:
        await redis.ping()

    async def has_pubsub() -> None:
        components = (await sidecar.metadata()).get("components", [])
        if pubsub not in {component.get("name") for component in components}:
            raise SidecarUnavailable(f"the sidecar has no component {pubsub}")

    return (
        Dependency("postgres", database.ping, critical=True),
        Dependency("redis", ping_redis, critical=False),
        Dependency("sidecar", sidecar.check, critical=False),
        Dependency("kafka", has_pubsub, critical=False),
    )
