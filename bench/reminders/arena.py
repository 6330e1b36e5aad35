"""The processes that take part in firing: the service, its sidecar, Redis, Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.place import Place, standing

from stack import Instance

_PROCESSES = ("reminders", "reminders.dapr", "redis", "kafka")


@dataclass(frozen=True)
class Arena:
    """A running instance with one process of reminders."""

    place: Place

    @property
    def instance(self) -> Instance:
        """The instance."""
        return self.place.instance

    def cpu_seconds(self) -> float:
        """Give the processor time that all who take part have used."""
        return self.place.cpu_seconds(*_PROCESSES)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Stop the process for a while, so that nobody else claims."""
        self.instance.pause("reminders")
        try:
            yield
        finally:
            self.instance.resume("reminders")


@contextmanager
def arena() -> Iterator[Arena]:
    """Start a fresh instance; stop and wipe it all afterwards."""
    with standing("task-api", "reminders") as place:
        # It was needed to build the schedule. It would now write down each firing, on the same cores.
        for name in ("task-api.dapr", "task-api"):
            place.instance.stop(name)
        yield Arena(place)
