"""Which process a name stands for: its pid and its start time, so that no stranger is ever signalled."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from stack.privatefile import write_private

_SAME_START_SECONDS = 1.0


@dataclass(frozen=True)
class Farewell:
    """How a process is stopped: kept with its pid, so that stopping needs no tool and no catalogue."""

    stage: int
    """Stages stop one after another, the lowest first; within one, all at once."""
    signal: int = signal.SIGTERM
    seconds: float = 15.0
    """How long it may take before it is killed."""


@dataclass(frozen=True)
class PidRecord:
    """A process that was started here; ``created`` is in seconds since 1970, as the kernel tells it."""

    pid: int
    created: float
    launch: str
    """A digest of the command and environment it was started with."""
    ports: dict[str, int] = field(default_factory=dict)
    farewell: Farewell = field(default_factory=lambda: Farewell(stage=3))


def write(path: Path, record: PidRecord) -> None:
    write_private(path, json.dumps(asdict(record)) + "\n")


def read(path: Path) -> PidRecord | None:
    """The record, or None when there is none or it cannot be read as one."""
    try:
        stored = json.loads(path.read_text())
        if "farewell" in stored:
            stored["farewell"] = Farewell(**stored["farewell"])
        return PidRecord(**stored)
    except (FileNotFoundError, ValueError, TypeError):
        return None


def alive(record: PidRecord | None) -> psutil.Process | None:
    """The recorded process if it still runs; None when it is gone or its number now is another's."""
    if record is None:
        return None
    try:
        process = psutil.Process(record.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        # The kernel derives it from the boot time, which moves a little when the clock is set.
        if abs(process.create_time() - record.created) > _SAME_START_SECONDS:
            return None
    except psutil.Error:
        return None
    return process
