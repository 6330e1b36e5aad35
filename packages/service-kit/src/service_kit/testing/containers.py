"""Backing services in containers, one of each kind, started when first asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

POSTGRES_IMAGE = "postgres:15"
REDIS_IMAGE = "redis:7"
KAFKA_IMAGE = "confluentinc/cp-kafka:7.9.0"
IMAGES = (POSTGRES_IMAGE, REDIS_IMAGE, KAFKA_IMAGE)

_SOCKET = Path("/var/run/docker.sock")


def missing_images(connect: Callable[[], Any] | None = None) -> list[str] | None:
    """Which images Docker lacks; None when there is no Docker to ask. Nothing is pulled."""
    from docker.errors import DockerException, ImageNotFound  # type: ignore[import-untyped, unused-ignore]

    if connect is None:
        connect = _connect
    try:
        client = connect()
    except (DockerException, OSError):
        return None
    missing = []
    try:
        for image in IMAGES:
            try:
                client.images.get(image)
            except ImageNotFound:
                missing.append(image)
    except (DockerException, OSError):
        return None
    finally:
        client.close()
    return missing


def docker_is_possible(environment: dict[str, str]) -> bool:
    """Whether it is worth loading a Docker client at all."""
    return bool(environment.get("DOCKER_HOST")) or _SOCKET.exists()


def _connect() -> Any:
    import docker  # type: ignore[import-untyped, unused-ignore]

    return docker.from_env(timeout=3)


class Containers:
    """The backing services as containers that live as long as this object is open."""

    description = f"containers ({', '.join(IMAGES)})"

    def __init__(self) -> None:
        self._running = ExitStack()

    @cached_property
    def postgres_url(self) -> str:
        """URL of the server's own database, with a user that may create databases."""
        from testcontainers.community.postgres import PostgresContainer

        container = self._running.enter_context(PostgresContainer(POSTGRES_IMAGE, driver=None))
        return str(container.get_connection_url())

    @cached_property
    def redis_url(self) -> str:
        """URL of database 0."""
        from testcontainers.community.redis import RedisContainer

        container = self._running.enter_context(RedisContainer(REDIS_IMAGE))
        return f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(6379)}/0"

    @cached_property
    def kafka_bootstrap(self) -> str:
        """`host:port` of the broker."""
        from testcontainers.community.kafka import KafkaContainer

        container = self._running.enter_context(KafkaContainer(KAFKA_IMAGE).with_kraft())
        return str(container.get_bootstrap_server())

    def close(self) -> None:
        """Remove the containers."""
        self._running.close()
