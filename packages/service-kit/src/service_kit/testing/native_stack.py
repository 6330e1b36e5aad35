"""Backing services from the native stack, shared by test runs that go on at the same time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from stack import Instance

_INFRASTRUCTURE = ("postgres", "redis", "kafka")


class NativeStack:
    """The stack instance `name`: used as it is when it is up, else started, and stopped by the last run that uses it.

    Each run holds a shared lock while it uses the instance, so whoever leaves last can tell. An instance that a
    person brought up is left up.
    """

    def __init__(self, name: str) -> None:
        self.description = f"native stack, instance {name!r}"
        self._name = name
        self._instance: Instance | None = None
        self._use: IO[str] | None = None

    @property
    def instance(self) -> Instance:
        """The stack instance itself, its infrastructure up."""
        return self._opened()

    @property
    def postgres_url(self) -> str:
        """URL of the instance's own database, with a user that may create databases."""
        return self._opened().database_url

    @property
    def redis_url(self) -> str:
        """URL of database 0."""
        return self._opened().redis_url

    @property
    def kafka_bootstrap(self) -> str:
        """`host:port` of the broker."""
        return self._opened().kafka_bootstrap

    def close(self) -> None:
        """Stop using it; stop it too when a test run started it and no other uses it."""
        if self._use is None or self._instance is None:
            return
        with self._gate(), self._use as use:
            instance, self._instance, self._use = self._instance, None, None
            if self._started_here.exists() and _is_last(use):
                instance.down()
                self._started_here.unlink()

    def _opened(self) -> Instance:
        if self._instance is None:
            from stack import Instance

            instance = Instance(self._name)
            with self._gate():
                self._use = self._file("tests.users").open("a")
                fcntl.flock(self._use, fcntl.LOCK_SH)
                if not all(instance.is_running(name) for name in _INFRASTRUCTURE):
                    # Noted first: a run that is killed while it starts things leaves word that they are ours.
                    self._started_here.touch()
                    instance.up(services=[])
            self._instance = instance
        return self._instance

    @property
    def _started_here(self) -> Path:
        return self._file("tests.started")

    def _file(self, kind: str) -> Path:
        from stack.layout import state_root

        return state_root() / f".{self._name}.{kind}"

    @contextmanager
    def _gate(self) -> Iterator[None]:
        from stack.filelock import locked

        with locked(self._file("tests.gate"), waiting=lambda: None):
            yield


def _is_last(use: IO[str]) -> bool:
    """Whether nobody else holds the shared lock; it is exclusive afterwards."""
    try:
        fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
