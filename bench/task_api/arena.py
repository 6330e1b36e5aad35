"""Both services beside each other on one database and one sidecar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.place import Served, standing

from stack import Instance

EVERYBODY = {"REQUESTS_AT_ONCE": "100000"}
"""A closed loop of many clients asks for a queue that stands, which both refuse otherwise."""


@dataclass(frozen=True)
class Arena:
    """Where the two meet."""

    instance: Instance
    ours: Served
    baseline: Served

    @property
    def both(self) -> tuple[Served, Served]:
        """Ours first."""
        return self.ours, self.baseline


@contextmanager
def arena(*beside: str) -> Iterator[Arena]:
    """Start a fresh instance with task-api alone, and beside it what `python -m` these words serve, the baseline by
    default; stop and wipe it all afterwards."""
    words = beside or ("bench.task_api.baseline",)
    with standing("task-api", env=EVERYBODY) as place, place.beside("baseline", *words) as baseline:
        yield Arena(place.instance, place["task-api"], baseline)
