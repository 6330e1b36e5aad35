"""A service whose process starts anew whenever one of its sources is saved: for development, by the setting RELOAD.

The process that was started stays, so that a container stays too: it watches the sources and lets another one serve.
A source that cannot be run stops that other one alone; saving it again starts the next.
"""

from __future__ import annotations

import multiprocessing
import runpy
import sys
from pathlib import Path
from socket import socket

import uvicorn
from uvicorn.supervisors.statreload import StatReload

_LOOK_SECONDS = 0.25


def serves_itself() -> bool:
    """Whether this process is the one that `serve_anew` started."""
    return multiprocessing.parent_process() is not None


def serve_anew() -> None:
    """Run the program that runs, `python -m SERVICE`, in a process that is ended and started again whenever a Python
    file is saved beside the package of the program or beside this one; returns after SIGTERM or SIGINT.

    In an image that is all of our code. Raises SystemExit for a program that was not started with `-m`.
    """
    program = sys.modules["__main__"].__spec__
    if program is None or program.origin is None:
        raise SystemExit("RELOAD runs a service again by its name: start it with `python -m`.")
    folders = {Path(program.origin).resolve().parents[1], Path(__file__).resolve().parents[1]}
    watched = uvicorn.Config(
        # Nobody loads it: uvicorn watches sources of apps that it knows by name.
        program.name,
        reload=True,
        reload_dirs=[str(folder) for folder in sorted(folders)],
        reload_delay=_LOOK_SECONDS,
        log_config=None,
    )
    StatReload(watched, _Program(program.name), []).run()


class _Program:
    """What the other process runs: the program, as if it had been started there."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, sockets: list[socket] | None = None) -> None:
        runpy.run_module(self._name, run_name="__main__", alter_sys=True)
