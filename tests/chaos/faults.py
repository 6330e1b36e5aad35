"""What goes wrong, in an order that follows from the seed alone; and how it is done to a running instance."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import redis

from stack import Instance

SERVICES = ("task-api", "reminders", "recurrence", "notifier")
REPLICAS = dict.fromkeys(SERVICES, 2)
PAUSE_SECONDS = 15.0
DOWN_SECONDS = (0.5, 3.0)
GAP_SECONDS = (0.5, 2.0)


class Act(StrEnum):
    """How it is done. Kill: SIGKILL, some time without it, a start. Crash: the same by `pg_ctl -m immediate`. Pause:
    SIGSTOP, 15 s, SIGCONT. Flush: FLUSHALL. Stop: everything down in good order, then up."""

    KILL = "kill"
    CRASH = "crash"
    PAUSE = "pause"
    FLUSH = "flush"
    STOP = "stop"


@dataclass(frozen=True)
class Kind:
    """One line of the table. `target` is a service, a service's sidecar (`notifier.dapr`), a store, or everything."""

    act: Act
    target: str

    def __str__(self) -> str:
        return f"{self.act} {self.target}"


@dataclass(frozen=True)
class Fault:
    """One fault of the schedule. `process` is what it is done to; times are in seconds."""

    number: int
    kind: Kind
    process: str
    down: float
    gap: float
    """How long the system is left in peace before it."""


_PROCESSES = (*SERVICES, *(f"{service}.dapr" for service in SERVICES), "kafka", "redis")
KINDS = (
    *(Kind(Act.KILL, target) for target in (*_PROCESSES, "postgres")),
    *(Kind(Act.PAUSE, target) for target in (*_PROCESSES, "postgres")),
    Kind(Act.CRASH, "postgres"),
    Kind(Act.FLUSH, "redis"),
    Kind(Act.STOP, "everything"),
)


def kinds_with(words: str) -> Sequence[Kind]:
    """The kinds whose names have these words in them. Raises ValueError when none has."""
    found = [kind for kind in KINDS if words in str(kind)]
    if not found:
        raise ValueError(f"no fault has {words!r} in its name: {', '.join(map(str, KINDS))}")
    return found


def schedule(seed: int, kinds: Sequence[Kind] = KINDS) -> Iterator[Fault]:
    """Faults without end: every kind once, in some order, then every kind again in another."""
    draw = random.Random(f"faults of {seed}")
    number = 0
    while True:
        for kind in draw.sample(kinds, len(kinds)):
            number += 1
            down = PAUSE_SECONDS if kind.act is Act.PAUSE else round(draw.uniform(*DOWN_SECONDS), 2)
            gap = round(draw.uniform(*GAP_SECONDS), 2)
            yield Fault(number, kind, _process(kind.target, draw.choice((1, 2))), down, gap)


def _process(target: str, replica: int) -> str:
    service, dot, sidecar = target.partition(".")
    if service not in SERVICES or replica == 1:
        return target
    return f"{service}-{replica}{dot}{sidecar}"


def inflict(instance: Instance, fault: Fault) -> None:
    """Do it and mend it; back when what was hit is ready again."""
    _ACTS[fault.kind.act](instance, fault)


def _kill(instance: Instance, fault: Fault) -> None:
    instance.kill(fault.process)
    time.sleep(fault.down)
    instance.restart(fault.process)


def _crash(instance: Instance, fault: Fault) -> None:
    instance.abort(fault.process)
    time.sleep(fault.down)
    instance.restart(fault.process)


def _pause(instance: Instance, fault: Fault) -> None:
    instance.pause(fault.process)
    try:
        time.sleep(fault.down)
    finally:
        instance.resume(fault.process)


def _flush(instance: Instance, fault: Fault) -> None:
    with redis.Redis.from_url(instance.redis_url) as store:
        store.flushall()


def _stop(instance: Instance, fault: Fault) -> None:
    instance.down()
    time.sleep(fault.down)
    instance.up(replicas=REPLICAS)


_ACTS: Mapping[Act, Callable[[Instance, Fault], None]] = {
    Act.KILL: _kill,
    Act.CRASH: _crash,
    Act.PAUSE: _pause,
    Act.FLUSH: _flush,
    Act.STOP: _stop,
}
