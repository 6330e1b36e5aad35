"""task-api on a real PostgreSQL and Redis, called over HTTP in this process; the relay does not run."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.integration.task_api.recording import Recording

from event_contracts.recurrence import GenerationReason, RecurringTaskGenerated
from service_kit.revocations import RevocationMirror
from service_kit.sidecar import Answer
from service_kit.testing.fakes import AnsweringSidecar, ManualClock
from service_kit.testing.tokens import SigningKey
from task_api.adapters.postgres.database import connect
from task_api.adapters.postgres.direct import Direct
from task_api.adapters.postgres.successors import PostgresSuccession
from task_api.app import build
from task_api.application.insert_successor import insert_successor
from task_api.migrations.runner import migrate
from task_api.settings import Settings, asyncpg_url

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
PASSWORD = "correct horse battery"


Hooks = dict[str, list[Callable[..., Any]]]


@dataclass
class Person:
    """A registered user with a client that sends the token along."""

    id: UUID
    email: str
    tokens: dict[str, Any]
    http: httpx.AsyncClient = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens['access_token']}"}

    async def call(self, method: str, path: str, expect: int | None = None, **more: Any) -> httpx.Response:
        headers = {**self.headers, **more.pop("headers", {})}
        answer = await self.http.request(method, path, headers=headers, **more)
        assert expect is None or answer.status_code == expect, answer.text
        return answer

    async def create(self, title: str = "Water the plants", **fields: Any) -> dict[str, Any]:
        answer = await self.call("POST", "/api/v1/tasks", 201, json={"title": title, **fields})
        body: dict[str, Any] = answer.json()
        return body


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def database_url(fresh_database: Callable[[], Awaitable[str]]) -> str:
    """A migrated database, for SQLAlchemy."""
    url = asyncpg_url(await fresh_database())
    await migrate(url)
    return url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    made = connect(database_url, pool_size=10)
    yield made
    await made.dispose()


@pytest.fixture(scope="session")
def signing_key() -> SigningKey:
    return SigningKey()


@pytest.fixture(scope="session")
def settings(database_url: str, redis_url: str, signing_key: SigningKey) -> Settings:
    return Settings(
        database_url=SecretStr(database_url),
        redis_url=SecretStr(redis_url),
        app_api_token=SecretStr("app-token"),
        dapr_api_token=SecretStr("dapr-token"),
        jwt_private_keys=SecretStr(signing_key.pem),
        encryption_keys=SecretStr("A" * 43 + "="),
        environment="test",
        rate_limits_enabled=False,
        # Storms of requests are to meet in the database, not to be refused before.
        requests_at_once=1_000,
    )


@pytest.fixture(scope="session")
def _one_clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def clock(_one_clock: ManualClock) -> ManualClock:
    """The service's clock; 2026-01-05 09:00 UTC when a test begins."""
    _one_clock.instant = START
    return _one_clock


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def _mirror(settings: Settings) -> None:
    """The mirror of ended sessions is there, as in a served app, where a loop sees to it."""
    async with Redis.from_url(settings.redis_url.get_secret_value(), decode_responses=True) as redis:
        await RevocationMirror(redis).fill([])


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def app(settings: Settings, engine: AsyncEngine, _one_clock: ManualClock) -> AsyncIterator[FastAPI]:
    async with Redis.from_url(settings.redis_url.get_secret_value(), decode_responses=True) as redis:
        sidecar = AnsweringSidecar(settings, lambda _: Answer(503))
        yield build(settings, engine=engine, redis=redis, sidecar=sidecar, clock=_one_clock)
        await sidecar.aclose()


@pytest.fixture(scope="session")
def hooks(app: FastAPI) -> Iterator[Hooks]:
    """What a client does with each answer: it is noted, where the tests are run to record the document's examples."""
    target = os.environ.get("RECORD_EXAMPLES")
    if target is None:
        yield {}
        return
    recording = Recording.of(app.openapi())
    yield {"response": [recording.note]}
    recording.write(Path(target))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def http(app: FastAPI, hooks: Hooks) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://task-api", event_hooks=hooks
    ) as client:
        yield client


Register = Callable[..., Awaitable[Person]]


@pytest.fixture
def register(http: httpx.AsyncClient, clock: ManualClock) -> Register:
    """Make a new account: `await register(timezone=…)`."""

    async def make(**fields: Any) -> Person:
        email = f"{uuid4().hex}@example.org"
        body = {"email": email, "password": PASSWORD, **fields}
        answer = await http.post("/api/v1/auth/register", json=body)
        assert answer.status_code == 201, answer.text
        tokens = answer.json()
        return Person(UUID(tokens["user"]["id"]), email, tokens, http)

    return make


@pytest_asyncio.fixture(loop_scope="session")
async def ada(register: Register) -> Person:
    """A user in Berlin."""
    return await register(timezone="Europe/Berlin")


@pytest_asyncio.fixture(loop_scope="session")
async def bob(register: Register) -> Person:
    """Somebody else."""
    return await register()


Rows = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def rows(engine: AsyncEngine) -> Rows:
    """Ask the database: `await rows("SELECT … WHERE id = :id", id=…)`."""

    async def ask(sql: str, **values: Any) -> list[dict[str, Any]]:
        async with engine.begin() as connection:
            answer = await connection.execute(text(sql), values)
            return [dict(row) for row in answer.mappings()] if answer.returns_rows else []

    return ask


@pytest_asyncio.fixture(loop_scope="session")
async def admin(register: Register, rows: Rows, http: httpx.AsyncClient) -> Person:
    """An administrator, logged in as such."""
    person = await register()
    await rows("UPDATE users SET role = 'admin' WHERE id = :id", id=person.id)
    answer = await http.post("/api/v1/auth/login", json={"email": person.email, "password": PASSWORD})
    return Person(person.id, person.email, answer.json(), http)


@pytest.fixture
def statements(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], AbstractContextManager[list[str]]]:
    """Note what is sent: `with statements() as sent:`; BEGIN, COMMIT and ROLLBACK count, each is a round trip."""

    @contextmanager
    def noted() -> Iterator[list[str]]:
        sent: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            sent.append(statement)

        def end(_connection: Any) -> None:
            sent.append("COMMIT")

        def noting(ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            async def noted(statement: Direct, *given: Any) -> Any:
                sent.append(str(statement.clause))
                return await ask(statement, *given)

            return noted

        listen = engine.sync_engine
        ways = {name: getattr(Direct, name) for name in ("row", "rows", "together")}
        event.listen(listen, "before_cursor_execute", note)
        event.listen(listen, "commit", end)
        for name, ask in ways.items():
            monkeypatch.setattr(Direct, name, noting(ask))
        try:
            yield sent
        finally:
            for name, ask in ways.items():
                monkeypatch.setattr(Direct, name, ask)
            event.remove(listen, "before_cursor_execute", note)
            event.remove(listen, "commit", end)

    return noted


RaisedEpoch = Callable[[], AbstractAsyncContextManager[None]]


@pytest.fixture
def raised_epoch(rows: Rows) -> RaisedEpoch:
    """Raise the epoch, as after a restore, for a while: `async with raised_epoch():`."""

    @asynccontextmanager
    async def raised() -> AsyncIterator[None]:
        await rows("UPDATE epoch SET value = value + 1")
        try:
            yield
        finally:
            await rows("UPDATE epoch SET value = value - 1")

    return raised


Follow = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


@pytest.fixture
def follow(ada: Any, engine: Any, clock: Any, rows: Any) -> Follow:
    """Let the instance after a closed one be generated, as recurrence does."""

    async def make(task: dict[str, Any]) -> dict[str, Any]:
        (row,) = await rows(
            "SELECT tasks.closed_version, occurrence_key, series.version FROM tasks "
            "JOIN series ON series.id = series_id WHERE tasks.id = :id",
            id=task["id"],
        )
        day = datetime.fromisoformat(row["occurrence_key"]) + timedelta(days=1)
        offer = RecurringTaskGenerated(
            series_id=task["series_id"],
            series_version=row["version"],
            user_id=ada.id,
            predecessor_task_id=task["id"],
            predecessor_closed_version=row["closed_version"],
            occurrence_key=day.date().isoformat(),
            due_date=day.date(),
            timezone="Europe/Berlin",
            why=GenerationReason.COMPLETED,
            generated_at=datetime.now(UTC),
        )
        await insert_successor(PostgresSuccession(engine), clock.now, lambda: None, uuid4(), offer)
        (found,) = await rows(
            "SELECT id FROM tasks WHERE predecessor_task_id = :id AND deleted_at IS NULL", id=task["id"]
        )
        body: dict[str, Any] = (await ada.call("GET", f"/api/v1/tasks/{found['id']}", 200)).json()
        return body

    return make
