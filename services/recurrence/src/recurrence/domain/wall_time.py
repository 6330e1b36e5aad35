"""Wall-clock time on days when the clocks change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Resolved:
    """A wall-clock time made an instant. `local` differs from what was asked only where that does not exist."""

    utc: datetime
    local: datetime
    in_gap: bool


def resolve(wall: datetime, zone: ZoneInfo) -> Resolved:
    """Give the instant of a naive local time.

    A time that the clocks leave out moves forward by as much as they do, a time that comes twice means its first
    coming: RFC 5545, 3.3.5 and, for both, `fold=0` of PEP 495.
    """
    utc = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    local = utc.astimezone(zone).replace(tzinfo=None, fold=0)
    return Resolved(utc, local, in_gap=local != wall)


def local_time(instant: datetime, zone: ZoneInfo) -> datetime:
    """Give the naive wall-clock time in `zone` at an aware instant."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)
