"""What the stack runs besides PostgreSQL, Redis, Kafka and the mail sink: one line per service."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stack.errors import StackError
from stack.identity import Identity
from stack.ports import MAX_REPLICAS, Ports

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Facts:
    """What a service's environment can be made from."""

    ports: Ports
    identity: Identity

    @property
    def database_url(self) -> str:
        return f"postgresql://taskstream:{self.identity.postgres_password}@{HOST}:{self.ports.postgres}/taskstream"

    @property
    def redis_url(self) -> str:
        return f"redis://:{self.identity.redis_password}@{HOST}:{self.ports.redis}/0"

    @property
    def kafka_bootstrap(self) -> str:
        return f"{HOST}:{self.ports.kafka}"

    @property
    def smtp_url(self) -> str:
        return f"smtp://{HOST}:{self.ports.smtp}"


Addition = Callable[[Facts], Mapping[str, str]]


def _nothing(facts: Facts) -> Mapping[str, str]:
    return {}


def _task_api(facts: Facts) -> Mapping[str, str]:
    return {
        "DATABASE_URL": facts.database_url,
        "JWT_PRIVATE_KEYS": facts.identity.jwt_private_key,
        "ENCRYPTION_KEYS": facts.identity.encryption_key,
        # Demo, tests and benchmarks come from one address and ask again and again.
        "RATE_LIMITS_ENABLED": "false",
    }


def _notifier(facts: Facts) -> Mapping[str, str]:
    return {
        "SMTP_URL": facts.smtp_url,
        "MAIL_FROM": "Taskstream <reminders@taskstream.example>",
        # task-api is the first of the services: people open its address.
        "PUBLIC_URL": f"http://{HOST}:{facts.ports.replica(0, 1).app}",
        "LINKS_URL": f"http://{HOST}:{facts.ports.replica(3, 1).app}",
        "LINK_SECRETS": facts.identity.link_secret,
        "VAPID_PRIVATE_KEY": facts.identity.vapid_private_key,
    }


@dataclass(frozen=True)
class Service:
    """One service: its app-id, how it is run, and what its environment has beside the usual."""

    name: str
    module: str
    needs: tuple[str, ...] = ("redis",)
    """Processes that must be ready before it starts."""
    migrate: bool = False
    """Whether ``python -m <module> migrate`` runs before the first replica starts."""
    environment: Addition = _nothing


@dataclass(frozen=True)
class Catalogue:
    """The services of a stack, in an order that never changes: ports follow from it."""

    services: tuple[Service, ...]
    topics_command: tuple[str, ...]
    """Run once Kafka is up, with ``--bootstrap HOST:PORT`` behind it; empty for none."""
    exporter_command: tuple[str, ...] = ()
    """Runs beside the services and serves what Kafka knows as metrics, with ``--listen HOST:PORT`` behind it; empty for
    none."""

    def named(self, name: str) -> Service:
        for service in self.services:
            if service.name == name:
                return service
        known = ", ".join(service.name for service in self.services)
        raise StackError(f"There is no service {name!r}; there are {known}.")

    def index(self, name: str) -> int:
        return self.services.index(self.named(name))


TASKSTREAM = Catalogue(
    services=(
        Service("task-api", "task_api", ("redis", "postgres"), migrate=True, environment=_task_api),
        Service("reminders", "reminders"),
        Service("recurrence", "recurrence"),
        Service("notifier", "notifier", ("redis", "smtp"), environment=_notifier),
    ),
    topics_command=(sys.executable, "-m", "taskstream_cli", "topics", "apply"),
    exporter_command=(sys.executable, "-m", "taskstream_cli", "exporter"),
)


def process_name(service: str, replica: int) -> str:
    """``reminders`` for the first replica, ``reminders-2`` for the second."""
    return service if replica == 1 else f"{service}-{replica}"


def checked_replicas(catalogue: Catalogue, replicas: Mapping[str, int]) -> dict[str, int]:
    """The same numbers; raises StackError for a service that is not there or a number out of bounds."""
    for name, count in replicas.items():
        catalogue.named(name)
        if not 1 <= count <= MAX_REPLICAS:
            raise StackError(f"{name} may have 1 to {MAX_REPLICAS} replicas, not {count}.")
    return dict(replicas)


def parse_replicas(words: Sequence[str]) -> dict[str, int]:
    """``["reminders=2,notifier=3"]`` as a mapping; raises StackError for anything else."""
    counts: dict[str, int] = {}
    for word in ",".join(words).split(","):
        name, _, count = word.strip().partition("=")
        if not name:
            continue
        if not count.isdecimal():
            raise StackError(
                f"{word.strip()!r} does not say how many replicas: write for example reminders=2."
            )
        counts[name] = int(count)
    return counts
