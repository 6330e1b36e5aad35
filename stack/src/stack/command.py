"""Runs one program to its end, keeping what it printed for the case that it fails."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from stack.errors import CancelledError, StepFailedError

_TAIL_LINES = 25


def run(
    argv: Sequence[str],
    *,
    doing: str,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    stdin: str = "",
    run_as: str | None = None,
    cancelled: threading.Event | None = None,
    timeout: float = 1800.0,
) -> str:
    """What the program printed on both streams; ``timeout`` is in seconds.

    Raises StepFailedError with the last lines when it fails, cannot be run or takes too long, and
    CancelledError as soon as ``cancelled`` is set. Ctrl-C reaches it too, since it stays in the group of
    its caller.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - argv is made by this package, never by a shell
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=dict(environment) if environment is not None else None,
            cwd=folder,
            user=run_as,
            group=run_as,
            extra_groups=[] if run_as else None,
        )
    except OSError as error:
        raise StepFailedError(f"{doing}: {argv[0]} could not be run: {error}") from error
    try:
        output = _output(process, stdin, doing, cancelled or threading.Event(), timeout)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    if process.returncode != 0:
        raise StepFailedError(f"{doing} failed ({argv[0]} ended with {process.returncode}):\n{tail(output)}")
    return output


def _output(
    process: subprocess.Popen[str], stdin: str, doing: str, cancelled: threading.Event, timeout: float
) -> str:
    deadline = time.monotonic() + timeout
    text: str | None = stdin
    while True:
        try:
            output, _ = process.communicate(text, timeout=0.2)
        except subprocess.TimeoutExpired as error:
            # It has been handed over with the first call.
            text = None
            if cancelled.is_set():
                raise CancelledError(f"{doing}: given up") from error
            if time.monotonic() > deadline:
                raise StepFailedError(f"{doing}: not done after {timeout:.0f} s") from error
            continue
        return output


def tail(text: str, lines: int = _TAIL_LINES) -> str:
    """The last lines of a text, indented, for the end of a message."""
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines()[-lines:])
