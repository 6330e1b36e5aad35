"""Real PostgreSQL, Redis and Kafka as pytest fixtures; the header of a run says where they come from.

From containers when Docker has all the images, else from the native stack. $TASKSTREAM_TEST_INFRASTRUCTURE
(`containers` or `stack`) decides it by hand, $TASKSTREAM_TEST_INSTANCE names the stack's instance (default `test`).
Nothing is started before a test asks for it.

    infrastructure    where everything is: postgres_url, redis_url, kafka_bootstrap
    fresh_database    `await fresh_database()` gives the URL of a new, empty database; dropped at the end
    postgres_url      URL of one such database, for the whole run
    redis_url         URL of a Redis database that no other run uses
    redis             a client of it, emptied before each test
    kafka_bootstrap   host:port
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped, unused-ignore]
import pytest
import pytest_asyncio
import structlog
from redis.asyncio import Redis
from structlog.typing import EventDict

from service_kit.testing.containers import Containers, docker_is_possible, missing_images
from service_kit.testing.native_stack import NativeStack

KIND_VARIABLE = "TASKSTREAM_TEST_INFRASTRUCTURE"
INSTANCE_VARIABLE = "TASKSTREAM_TEST_INSTANCE"
REDIS_DATABASES = range(1, 16)
_CHOSEN = pytest.StashKey["Infrastructure"]()


class Infrastructure(Protocol):
    """Backing services for tests. `description` says in a few words what they are."""

    description: str

    @property
    def postgres_url(self) -> str:
        """URL of a database whose user may create databases."""
        ...

    @property
    def redis_url(self) -> str:
        """URL of database 0."""
        ...

    @property
    def kafka_bootstrap(self) -> str:
        """`host:port` of the broker."""
        ...

    def close(self) -> None:
        """Stop what was started."""
        ...


def choose_infrastructure(
    environment: dict[str, str],
    images_missing: Callable[[], list[str] | None] = missing_images,
    docker_possible: Callable[[dict[str, str]], bool] = docker_is_possible,
) -> Infrastructure:
    """Give what tests shall run on; nothing is started. Raises pytest.UsageError for an unknown choice by hand."""
    kind = environment.get(KIND_VARIABLE, "")
    if kind not in ("", "containers", "stack"):
        raise pytest.UsageError(
            f"{KIND_VARIABLE} is {kind!r}: set it to containers or stack, or leave it out."
        )
    if kind == "containers":
        return Containers()
    stack = NativeStack(environment.get(INSTANCE_VARIABLE) or "test")
    if kind == "stack" or not docker_possible(environment):
        return stack
    missing = images_missing()
    if missing == []:
        return Containers()
    stack.description += (
        " (Docker does not answer)" if missing is None else f" (Docker has no {', '.join(missing)})"
    )
    return stack


def pytest_configure(config: pytest.Config) -> None:
    """Decide where the infrastructure comes from, and let our logs reach pytest's `caplog`."""
    config.stash[_CHOSEN] = choose_infrastructure(dict(os.environ))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.add_log_level, _to_record],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _to_record(logger: Any, method: str, event: EventDict) -> tuple[tuple[str], dict[str, Any]]:
    """One text, `what_happened key=value …`, as the record's message; the exception stays an exception."""
    exc_info, what = event.pop("exc_info", None), event.pop("event", "")
    text = " ".join([str(what), *(f"{key}={value}" for key, value in event.items() if key != "level")])
    return (text,), {"exc_info": exc_info}


def pytest_report_header(config: pytest.Config) -> str:
    """Say so at the head of the run."""
    return f"infrastructure: {config.stash[_CHOSEN].description}"


@pytest.fixture(scope="session")
def infrastructure(pytestconfig: pytest.Config) -> Iterator[Infrastructure]:
    """Where the backing services are; what a run started is stopped at its end."""
    chosen = pytestconfig.stash[_CHOSEN]
    yield chosen
    chosen.close()


@pytest.fixture(scope="session")
def kafka_bootstrap(infrastructure: Infrastructure) -> str:
    """`host:port` of a Kafka broker."""
    return infrastructure.kafka_bootstrap


FreshDatabase = Callable[[], Awaitable[str]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def fresh_database(infrastructure: Infrastructure) -> AsyncIterator[FreshDatabase]:
    """Make databases: each `await fresh_database()` gives the URL of a new one. All are dropped at the end."""

    server_url = infrastructure.postgres_url
    names: list[str] = []

    async def run(*statements: str) -> None:
        connection = await asyncpg.connect(server_url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def create() -> str:
        name = f"test_{uuid4().hex}"
        await run(f'CREATE DATABASE "{name}"')
        names.append(name)
        return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))

    async def drop(name: str) -> None:
        async with asyncio.timeout(60):
            while True:
                try:
                    return await run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
                except asyncpg.InsufficientPrivilegeError:
                    # Autovacuum is at work in it, which is not ours to end: it will have ended by itself.
                    await asyncio.sleep(0.2)

    yield create
    for name in names:
        await drop(name)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_url(fresh_database: FreshDatabase) -> str:
    """URL of a database of this run, empty at first."""
    return await fresh_database()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def redis_url(infrastructure: Infrastructure) -> AsyncIterator[str]:
    """URL of a Redis database that no other test run uses at the same time."""
    async with Redis.from_url(infrastructure.redis_url, decode_responses=True) as zero:
        database = await _reserve_database(zero)
        try:
            yield urlunsplit(urlsplit(infrastructure.redis_url)._replace(path=f"/{database}"))
        finally:
            await zero.delete(_reservation(database))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _redis_client(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client
        await client.flushdb()


@pytest_asyncio.fixture(loop_scope="session")
async def redis(_redis_client: Redis) -> Redis:
    """A client, with texts instead of bytes, of a Redis database that is empty when the test begins."""
    await _redis_client.flushdb()
    return _redis_client


def _reservation(database: int) -> str:
    return f"tests:database:{database}"


async def _reserve_database(zero: Redis) -> int:
    """Reserve one of Redis's databases for this process. Those of processes that are gone are free again."""
    owner = f"{socket.gethostname()} {os.getpid()}"
    for database in REDIS_DATABASES:
        key = _reservation(database)
        if await zero.set(key, owner, nx=True):
            return database
        host, _, process = str(await zero.get(key) or "").partition(" ")
        if host == socket.gethostname() and process.isdecimal() and not _is_alive(int(process)):
            await zero.set(key, owner)
            return database
    raise pytest.UsageError("All databases of the test Redis are reserved by other test runs.")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
