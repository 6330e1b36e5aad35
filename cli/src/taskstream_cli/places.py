"""Where the parts of an installation answer: options and environment variables that several commands share."""

from __future__ import annotations

import os
from typing import Annotated
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped, unused-ignore]
import typer

from event_contracts.topics import SERVICES
from taskstream_cli.failing import Unable
from taskstream_cli.store_login import database_login

_FIRST_PORT = 8000

Bootstrap = Annotated[
    str,
    typer.Option(
        "--bootstrap", envvar="KAFKA_BOOTSTRAP", help="Kafka's address, host:port.", show_default=True
    ),
]
LOCAL_KAFKA = "127.0.0.1:9092"

Database = Annotated[
    str,
    typer.Option(
        "--database-url",
        envvar="DATABASE_URL",
        help="task-api's database, postgresql://user:password@host/name.",
    ),
]
RedisUrl = Annotated[
    str, typer.Option("--redis-url", envvar="REDIS_URL", help="redis://:password@host:port/0.")
]


def service_url(service: str) -> str:
    """Where `service` answers: TASK_API_URL, REMINDERS_URL …, or its usual port on this machine."""
    variable = f"{service.upper().replace('-', '_')}_URL"
    default = f"http://127.0.0.1:{_FIRST_PORT + SERVICES.index(service)}"
    return os.environ.get(variable, default).rstrip("/")


def known_service(name: str) -> str:
    """The name itself. Raises Unable when there is no such service."""
    if name not in SERVICES:
        raise Unable(f"There is no service {name!r}: it is one of {', '.join(SERVICES)}.")
    return name


async def connect_database(url: str, timeout: float = 10.0) -> asyncpg.Connection:  # noqa: ASYNC109 - asyncpg's own
    """A connection that gives up on a statement after 30 s. Raises Unable for an address that is none."""
    address = url.replace("postgresql+asyncpg://", "postgresql://", 1)
    if not urlsplit(address).hostname:
        raise Unable("DATABASE_URL is not valid: give postgresql://user:password@host/name.")
    return await asyncpg.connect(
        address,
        timeout=timeout,
        command_timeout=30,
        server_settings={"application_name": "taskstream"},
        **database_login(address),
    )
