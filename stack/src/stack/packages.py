"""Installs what comes as system packages: PostgreSQL, Redis, a Java runtime, Maven."""

from __future__ import annotations

import os
import threading

from stack import toolchain
from stack.command import run
from stack.errors import MissingToolError, StepFailedError
from stack.progress import Progress
from stack.toolchain import Tool, Version

# The newest that the system offers; the default runtime of some is older than what Kafka needs.
_JAVA_PACKAGES = ("openjdk-21-jre-headless", "openjdk-17-jre-headless", "default-jre-headless")


def missing(*, kafka_needed: bool) -> list[str]:
    """Which of the system's programs are absent or too old."""
    names = []
    if not _suits(toolchain.postgres(), toolchain.POSTGRES_AT_LEAST):
        names.append("postgres")
    if not _suits(toolchain.redis(), toolchain.REDIS_AT_LEAST):
        names.append("redis")
    if not _suits(toolchain.java(), toolchain.JAVA_AT_LEAST):
        names.append("java")
    if kafka_needed and not toolchain.maven():
        names.append("maven")
    return names


def refuse_if_hopeless(*, kafka_needed: bool) -> None:
    """Raises MissingToolError when something is missing and may not be installed from here."""
    names = missing(kafka_needed=kafka_needed)
    if names and toolchain.may_install() is None:
        raise toolchain.how_to_install(names)


def install(progress: Progress, cancelled: threading.Event, *, kafka_needed: bool) -> None:
    """Installs what is missing; raises MissingToolError when the system's packages are too old."""
    names = missing(kafka_needed=kafka_needed)
    if not names:
        return
    prefix = toolchain.may_install()
    if prefix is None:
        raise toolchain.how_to_install(names)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with progress.step("packages", doing="reading the package lists"):
        run(
            [*prefix, "apt-get", "update", "-q"],
            doing="apt-get update",
            environment=environment,
            cancelled=cancelled,
        )
    wanted = [_package(name) for name in names]
    with progress.step("packages", doing=f"installing {', '.join(wanted)}"):
        run(
            # sudo drops the environment; env puts the answer to debconf's questions back.
            [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-q", "-y",
             "--no-install-recommends", *wanted],
            doing="apt-get install",
            environment=environment,
            cancelled=cancelled,
        )  # fmt: skip
    still = missing(kafka_needed=kafka_needed)
    if still:
        error = toolchain.how_to_install(still)
        raise MissingToolError(f"This system's packages are too old. {error}")


def _package(name: str) -> str:
    if name == "postgres":
        return "postgresql"
    if name == "redis":
        return "redis-server"
    if name == "java":
        return next((package for package in _JAVA_PACKAGES if _offered(package)), _JAVA_PACKAGES[-1])
    return "maven"


def _offered(package: str) -> bool:
    try:
        environment = {**os.environ, "LC_ALL": "C"}
        policy = run(["apt-cache", "policy", package], doing="apt-cache policy", environment=environment)
    except StepFailedError:
        return False
    return "Candidate:" in policy and "Candidate: (none)" not in policy


def _suits(tool: Tool | None, at_least: Version) -> bool:
    return tool is not None and tool.suits(at_least)
