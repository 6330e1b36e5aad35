"""Does steps in the order they depend on each other, as many at a time as that allows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from stack.errors import CancelledError


@dataclass(frozen=True)
class Step:
    """One thing to do, once all of ``after`` that are part of the same run are done."""

    name: str
    after: frozenset[str]
    action: Callable[[threading.Event], None]
    """Gets an event that is set when it should give up."""


def run_steps(steps: Sequence[Step]) -> None:
    """Does all steps. The first failure is raised once the others have given up; so is Ctrl-C."""
    if not steps:
        return
    cancelled = threading.Event()
    done = {step.name: threading.Event() for step in steps}

    def do(step: Step) -> None:
        for name in step.after & done.keys():
            while not done[name].wait(0.05):
                if cancelled.is_set():
                    raise CancelledError(f"{step.name}: given up")
        if cancelled.is_set():
            raise CancelledError(f"{step.name}: given up")
        try:
            step.action(cancelled)
        except BaseException:
            cancelled.set()
            raise
        done[step.name].set()

    with ThreadPoolExecutor(len(steps)) as pool:
        running = [pool.submit(do, step) for step in steps]
        try:
            _wait_interruptibly(running)
        except BaseException:
            cancelled.set()
            raise
    failures = [error for future in running if (error := future.exception())]
    # Those that gave up did so because of another, which is the one to tell of.
    for error in sorted(failures, key=lambda error: isinstance(error, CancelledError)):
        raise error


def _wait_interruptibly(running: Sequence[Future[None]]) -> None:
    pending = set(running)
    while pending:
        _, pending = wait(pending, timeout=0.1)
