"""Gets what the stack needs and this machine lacks; a second run finds everything and does nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from stack import daprd, kafka_jars, packages, toolchain
from stack.errors import CancelledError, MissingToolError
from stack.filelock import locked
from stack.layout import cache_root, checkout
from stack.progress import Progress


@dataclass(frozen=True)
class Tools:
    """Everything a process of the stack is run with."""

    postgres_folder: Path
    redis: Path
    java: Path
    kafka: kafka_jars.KafkaHome
    daprd: Path


def prepare(progress: Progress) -> Tools:
    """Installs, downloads and builds what is missing, independent things side by side.

    Raises MissingToolError when something may not be installed from here, StepFailedError when a step fails.
    """
    if tools := present():
        return tools
    with locked(
        cache_root() / "prepare.lock",
        waiting=lambda: progress.line("waiting: another preparation is under way"),
    ):
        _get(progress)
    tools = present()
    if tools is None:
        raise MissingToolError(
            "Something that was just installed cannot be found; run `stack prepare` again."
        )
    return tools


def present() -> Tools | None:
    """The tools, if none is missing; takes a tenth of a second."""
    build = daprd.build_of(checkout(), cache_root())
    home = kafka_jars.home_of(checkout(), cache_root())
    if not build.binary.is_file() or not home.is_complete():
        return None
    with ThreadPoolExecutor(3) as pool:
        finds = [pool.submit(find) for find in (toolchain.postgres, toolchain.redis, toolchain.java)]
        postgres, redis, java = (find.result() for find in finds)
    if not (postgres and postgres.suits(toolchain.POSTGRES_AT_LEAST)):
        return None
    if not (redis and redis.suits(toolchain.REDIS_AT_LEAST)):
        return None
    if not (java and java.suits(toolchain.JAVA_AT_LEAST)):
        return None
    return Tools(postgres.path.parent, redis.path, java.path, home, build.binary)


def _get(progress: Progress) -> None:
    cancelled = threading.Event()
    cache = cache_root()

    def packages_then_kafka() -> None:
        packages.install(
            progress, cancelled, kafka_needed=not kafka_jars.home_of(checkout(), cache).has_jars()
        )
        kafka_jars.fetch(checkout(), cache, progress, cancelled)

    def sidecar() -> None:
        daprd.build(checkout(), cache, progress, cancelled)

    jobs: list[Callable[[], None]] = [packages_then_kafka, sidecar]
    # What cannot be installed from here is said at once, not after a build of minutes.
    packages.refuse_if_hopeless(kafka_needed=not kafka_jars.home_of(checkout(), cache).has_jars())
    with ThreadPoolExecutor(len(jobs)) as pool:
        running = [pool.submit(job) for job in jobs]
        try:
            done, _ = wait(running, return_when=FIRST_EXCEPTION)
        except BaseException:
            cancelled.set()
            raise
        if any(job.exception() for job in done):
            cancelled.set()
    # The first failure is told; what was given up because of it is not.
    failures = [error for job in running if (error := job.exception())]
    for error in sorted(failures, key=lambda error: isinstance(error, CancelledError)):
        raise error
