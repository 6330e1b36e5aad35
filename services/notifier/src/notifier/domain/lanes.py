"""The lane of one destination: what goes there waits there, and a destination that is down holds up nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from event_contracts.values import Channel


@dataclass(frozen=True, slots=True)
class Lane:
    """The way to one webhook, chat room or browser."""

    channel: Channel
    destination: UUID


@dataclass(frozen=True, slots=True)
class Circuit:
    """When a destination that keeps failing is left alone, and for how long.

    After `tolerated` failures in a row the lane is closed for `first`, doubled by each further failure up to
    `longest`. Then one notification is tried: if it gets through, the rest follows at once.
    """

    tolerated: int = 5
    first: timedelta = timedelta(seconds=15)
    longest: timedelta = timedelta(minutes=15)

    def is_broken(self, failures: int) -> bool:
        """Whether the next try is a probe, made alone."""
        return failures >= self.tolerated

    def pause(self, failures: int) -> timedelta:
        """How long the lane stays closed after this many failures in a row; zero while it is open."""
        if not self.is_broken(failures):
            return timedelta(0)
        # Bounded, or the power outgrows what a timedelta holds.
        doublings = min(failures - self.tolerated, 20)
        pause: timedelta = min(self.first * 2**doublings, self.longest)
        return pause
