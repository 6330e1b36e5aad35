"""What each process of an instance is: its command, its environment, when it is ready, how it stops."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stack import kafka_jars, postgres_cluster, readiness
from stack.pidfile import Farewell
from stack.prepare import Tools
from stack.privatefile import write_private
from stack.resources import Resources
from stack.services import HOST, Facts, Service, process_name

# Sidecars first: they stop taking events, and what they have handed over is still answered.
_SIDECARS, _APPS, _STORES = 1, 2, 3

_PASSED_ON = ("PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "COVERAGE_PROCESS_START")
_PASSED_ON_PREFIXES = ("LC_", "OTEL_", "PYTHON", "SSL_CERT_")

GARBAGE = {"GOGC": "400", "GOMEMLIMIT": "160MiB"}
"""Sidecars collect garbage when their heap is five times what lives, and sooner near the limit. By default it is twice,
and then they spend a quarter of their time on it: what lives is small, and each bulk request is large."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process to be supervised. Times are in seconds."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    ports: Mapping[str, int]
    """What it listens on: the use of the port, and its number on loopback."""
    ready: Callable[[], bool]
    ready_within: float
    farewell: Farewell
    run_as: str | None = None
    before: Callable[[], None] | None = None
    """Runs just before it starts: makes its data folder, for example."""
    after: frozenset[str] = field(default=frozenset())
    """Names of processes and jobs that come first."""

    def launch(self) -> str:
        """A digest of all that makes a running process out of date when it changes."""
        parts = [list(self.argv), sorted(self.environment.items()), str(self.folder), self.run_as]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def passed_on() -> dict[str, str]:
    """The part of our own environment that processes get: never a stray DATABASE_URL of the user's."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }


def postgres(tools: Tools, home: Path, facts: Facts) -> Process:
    cluster = postgres_cluster.Cluster(
        tools.postgres_folder, home / "postgres", facts.identity.postgres_password
    )
    port = facts.ports.postgres
    settings = {
        "listen_addresses": HOST,
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "200",
        "shared_buffers": "128MB",
        "log_line_prefix": "%m [%p] %q%a ",
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return Process(
        name="postgres",
        argv=(str(tools.postgres_folder / "postgres"), "-D", str(cluster.data), *options),
        environment=passed_on(),
        folder=home,
        ports={"PostgreSQL": port},
        ready=lambda: readiness.postgres_accepts(tools.postgres_folder / "pg_isready", port, "taskstream"),
        ready_within=60,
        # Fast shutdown: clients are cut off, what is committed is written.
        farewell=Farewell(_STORES, signal.SIGINT, 20),
        run_as=postgres_cluster.run_as(),
        before=cluster.create,
    )


def redis(tools: Tools, home: Path, facts: Facts) -> Process:
    data, settings, port = home / "redis", home / "redis.conf", facts.ports.redis
    password = facts.identity.redis_password

    def configure() -> None:
        data.mkdir(exist_ok=True)
        # In a file, for the password would be in everybody's process list otherwise.
        write_private(
            settings,
            f"bind {HOST}\nport {port}\nrequirepass {password}\ndir {json.dumps(str(data))}\n"
            "daemonize no\nappendonly yes\nappendfsync everysec\nmaxmemory-policy noeviction\n"
            'save ""\nalways-show-logo no\n',
        )

    return Process(
        name="redis",
        argv=(str(tools.redis), str(settings)),
        environment=passed_on(),
        folder=home,
        ports={"Redis": port},
        ready=lambda: readiness.redis_answers(port, password),
        ready_within=60,
        farewell=Farewell(_STORES),
        before=configure,
    )


def kafka(tools: Tools, home: Path, facts: Facts, *, heap: str) -> Process:
    data, settings = home / "kafka", home / "kafka.properties"
    broker, controller = facts.ports.kafka, facts.ports.kafka_controller

    def format_data() -> None:
        write_private(settings, kafka_jars.server_properties(data, broker=broker, controller=controller))
        data.mkdir(exist_ok=True)
        if not (data / "meta.properties").exists():
            # What Kafka's own format command would do, without its two seconds.
            (data / "bootstrap.checkpoint").write_bytes(tools.kafka.bootstrap.read_bytes())
            cluster = facts.identity.kafka_cluster_id
            write_private(data / "meta.properties", f"version=1\nnode.id=1\ncluster.id={cluster}\n")

    return Process(
        name="kafka",
        argv=(
            str(tools.java),
            f"-Xmx{heap}",
            "-XX:+UseSerialGC",
            f"-XX:SharedArchiveFile={tools.kafka.class_archive}",
            "-Xlog:cds=off",
            f"-Dlog4j2.configurationFile={tools.kafka.log_settings}",
            "-cp",
            tools.kafka.class_path(),
            "kafka.Kafka",
            str(settings),
        ),
        environment=passed_on(),
        folder=home,
        ports={"Kafka": broker, "Kafka's controller": controller},
        ready=lambda: readiness.kafka_answers(broker),
        ready_within=90,
        farewell=Farewell(_STORES, seconds=20),
        before=format_data,
    )


def smtp(home: Path, facts: Facts) -> Process:
    port = facts.ports.smtp
    return Process(
        name="smtp",
        argv=(sys.executable, "-m", "stack.smtp_sink", "--port", str(port), "--folder", str(home / "mail")),
        environment=passed_on(),
        folder=home,
        ports={"SMTP": port},
        ready=lambda: readiness.smtp_greets(port),
        ready_within=30,
        farewell=Farewell(_STORES, seconds=5),
    )


def exporter(command: tuple[str, ...], home: Path, facts: Facts, *, topics: bool) -> Process:
    """What tells Prometheus of dead letters and lag; with ``topics`` it starts only when the topics have been made."""
    port = facts.ports.exporter
    return Process(
        name="exporter",
        argv=(*command, "--listen", f"{HOST}:{port}"),
        environment={**passed_on(), "PYTHONUNBUFFERED": "1", "KAFKA_BOOTSTRAP": facts.kafka_bootstrap},
        folder=home,
        ports={"metrics": port},
        ready=lambda: readiness.http_answers(port, "/metrics"),
        ready_within=60,
        farewell=Farewell(_APPS, seconds=5),
        after=frozenset(["topics" if topics else "kafka"]),
    )


def service_environment(
    service: Service, index: int, replica: int, facts: Facts, *, test_clock: bool, extra: Mapping[str, str]
) -> dict[str, str]:
    """The settings of one replica, ``extra`` last: it overrides."""
    ports = facts.ports.replica(index, replica)
    return {
        "APP_HOST": HOST,
        "APP_PORT": str(ports.app),
        "DAPR_HTTP_PORT": str(ports.dapr_http),
        "DAPR_GRPC_PORT": str(ports.dapr_grpc),
        "DAPR_API_TOKEN": facts.identity.dapr_api_token,
        "APP_API_TOKEN": facts.identity.app_api_token,
        "LOG_LEVEL": "info",
        "LOG_FORMAT": "json",
        "ENVIRONMENT": "development",
        "TEST_CLOCK": "true" if test_clock else "false",
        "REDIS_URL": facts.redis_url,
        **service.environment(facts),
        **extra,
    }


def app(
    service: Service, index: int, replica: int, home: Path, facts: Facts, settings: Mapping[str, str]
) -> Process:
    """One replica of a service; ``settings`` is what service_environment made for it."""
    port = facts.ports.replica(index, replica).app
    return Process(
        name=process_name(service.name, replica),
        argv=(sys.executable, "-m", service.module),
        environment={**passed_on(), "PYTHONUNBUFFERED": "1", **settings},
        folder=home,
        ports={"HTTP": port},
        ready=lambda: readiness.http_answers(port, "/health/ready"),
        ready_within=300,
        farewell=Farewell(_APPS),
        after=frozenset([*service.needs, *([f"{service.name}.migrate"] if service.migrate else [])]),
    )


def sidecar(
    tools: Tools,
    service: Service,
    index: int,
    replica: int,
    home: Path,
    facts: Facts,
    *,
    components: Path,
    resources: Resources,
    topics: bool,
) -> Process:
    """The sidecar of one replica; with ``topics`` it starts only when the topics have been made."""
    ports = facts.ports.replica(index, replica)
    options = {
        "app-id": service.name,
        "app-port": ports.app,
        "app-channel-address": HOST,
        "dapr-http-port": ports.dapr_http,
        "dapr-grpc-port": ports.dapr_grpc,
        "dapr-internal-grpc-port": ports.dapr_internal,
        "metrics-port": ports.dapr_metrics,
        "dapr-listen-addresses": HOST,
        "dapr-internal-grpc-listen-address": HOST,
        "metrics-listen-address": HOST,
        "config": resources.configuration,
        "app-health-check-path": "/health/deliveries",
        # Seconds; and milliseconds.
        "app-health-probe-interval": 3,
        "app-health-probe-timeout": 2900,
        # More would not mean "in a row": daprd forgets no failed probe while it holds the app to be well.
        "app-health-threshold": 1,
        "placement-host-address": "",
        "scheduler-host-address": "",
        "log-level": "info",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return Process(
        name=f"{process_name(service.name, replica)}.dapr",
        argv=(
            str(tools.daprd),
            "--enable-app-health-check",
            "--log-as-json",
            *("--resources-path", str(components)),
            *("--resources-path", str(resources.folder)),
            *words,
        ),
        environment={
            **passed_on(),
            **GARBAGE,
            # The address it registers for its siblings; else that of a network card.
            "DAPR_HOST_IP": HOST,
            "DAPR_API_TOKEN": facts.identity.dapr_api_token,
            "APP_API_TOKEN": facts.identity.app_api_token,
        },
        folder=home,
        ports={
            "Dapr HTTP": ports.dapr_http,
            "Dapr gRPC": ports.dapr_grpc,
            "Dapr internal": ports.dapr_internal,
            "Dapr metrics": ports.dapr_metrics,
        },
        ready=lambda: readiness.http_answers(ports.dapr_http, "/v1.0/healthz"),
        ready_within=300,
        farewell=Farewell(_SIDECARS),
        after=frozenset(["topics" if topics else "kafka", "redis"]),
    )
