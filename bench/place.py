"""A stack instance of the benchmarks' own, and what its processes use."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import psutil

from stack import Instance
from stack.errors import StackError
from stack.layout import checkout
from stack.readiness import http_answers

INSTANCE = "bench"
SERVICES = ("task-api", "reminders", "recurrence", "notifier")
_BESIDE_REPLICA = 2
"""What is started beside the instance's own processes listens where a second replica of task-api would."""
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Served:
    """A process that serves on a port of loopback, with what it has begun itself."""

    name: str
    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Give the processor time that it has used, its children's included."""
        total = _cpu(self.process, ended_children=True)
        for child in self.process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                total += _cpu(child)
        return total

    def resident_bytes(self) -> int:
        """Give its resident memory; what it shares with its children counts once."""
        if not self.process.children():
            return int(self.process.memory_info().rss)
        total = 0
        for one in (self.process, *self.process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += int(one.memory_full_info().pss)
        return total


def _cpu(process: psutil.Process, *, ended_children: bool = False) -> float:
    used = process.cpu_times()
    total = used.user + used.system
    if ended_children:
        total += getattr(used, "children_user", 0.0) + getattr(used, "children_system", 0.0)
    return float(total)


@dataclass(frozen=True)
class Place:
    """A running instance. `served` has its processes by their names; `start_seconds` is how long it took to start."""

    instance: Instance
    served: dict[str, Served] = field(repr=False)
    start_seconds: float = 0.0

    def __getitem__(self, name: str) -> Served:
        return self.served[name]

    def cpu_seconds(self, *names: str) -> float:
        """Give the processor time that these have used, all by default."""
        return sum(self.served[name].cpu_seconds() for name in names or self.served)

    async def idle_cores(self, seconds: float) -> dict[str, float]:
        """Watch for a while and give the part of a core that each process uses by itself."""
        before = {name: one.cpu_seconds() for name, one in self.served.items()}
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        took = time.perf_counter() - began
        return {name: (self.served[name].cpu_seconds() - used) / took for name, used in before.items()}

    @contextmanager
    def beside(self, name: str, *words: str, **environment: str) -> Iterator[Served]:
        """Run `python -m` these words with the settings of task-api, `environment` on top, on a port of its own."""
        port = self.instance.ports.replica(0, _BESIDE_REPLICA).app
        settings = {**os.environ, **self.instance.env("task-api"), **environment}
        settings |= {"APP_PORT": str(port), "PYTHONUNBUFFERED": "1"}
        log = self.instance.home / f"{name}.log"
        with log.open("wb") as written:
            process = subprocess.Popen(
                [sys.executable, "-m", *words], cwd=checkout(), env=settings, stdout=written, stderr=written
            )
            try:
                until(lambda: http_answers(port, "/metrics"), f"{name} does not start", process)
                yield Served(name, port, psutil.Process(process.pid))
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(_START_SECONDS)


def until(
    condition: Callable[[], bool], failure: str, process: subprocess.Popen[bytes] | None = None
) -> None:
    """Wait for a minute at most until it holds. Raises StackError with that sentence."""
    end = time.monotonic() + _START_SECONDS
    while not condition():
        if time.monotonic() > end or (process is not None and process.poll() is not None):
            raise StackError(f"{failure}: see its log in the instance.")
        time.sleep(0.05)


@contextmanager
def standing(*services: str, env: Mapping[str, str] | None = None) -> Iterator[Place]:
    """Start these services of a fresh instance and wait until they are ready; stop and wipe it all afterwards."""
    instance = Instance(INSTANCE)
    try:
        instance.down(wipe=True)
        began = time.perf_counter()
        instance.up(services=services, fresh=True, env=env)
        started = found(instance)
        for name in services:
            until(partial(http_answers, started[name].port, "/health/ready"), f"{name} does not get ready")
        yield Place(instance, started, time.perf_counter() - began)
    finally:
        instance.down(wipe=True)


def found(instance: Instance) -> dict[str, Served]:
    """Give the processes that run now; the port is that of HTTP, or the first one."""
    return {
        one.name: Served(
            one.name, one.ports.get("HTTP", next(iter(one.ports.values()), 0)), psutil.Process(one.pid)
        )
        for one in instance.status()
        if one.pid is not None
    }
