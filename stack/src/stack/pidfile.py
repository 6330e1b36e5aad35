"""Which process a name stands for: its pid and its start time, so that no stranger is ever signalled."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from stack.privatefile import write_private

_SAME_START_SECONDS = 1.0


@dataclass(frozen=True)
class PidRecord:
    """A process that was started here; ``created`` is in seconds since 1970, as the kernel tells it."""

    pid: int
    created: float
    launch: str
    """A digest of the command and environment it was started with."""


def write(path: Path, record: PidRecord) -> None:
    write_private(path, json.dumps(asdict(record)) + "\n")


def read(path: Path) -> PidRecord | None:
    """The record, or None when there is none or it cannot be read as one."""
    try:
        return PidRecord(**json.loads(path.read_text()))
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
