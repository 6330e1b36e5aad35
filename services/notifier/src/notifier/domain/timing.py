"""May a notification go out at this moment? Quiet hours and lateness, by what the person said."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Wall-clock times in the person's zone; `until` before `start` is the next morning."""

    start: time
    until: time

    def end(self, now: datetime, zone: ZoneInfo) -> datetime | None:
        """When the quiet hours end in which `now` lies, in UTC; None when it lies in none.

        They follow the wall clock: a night in which clocks change is an hour shorter or longer. An end that a change
        skips comes as much later as the clock jumps; in an hour that is repeated, the part that was quiet is so
        again.
        """
        local = now.astimezone(zone)
        clock = local.time()
        if self.start <= self.until:
            is_quiet, days = self.start <= clock < self.until, 0
        else:
            is_quiet, days = clock >= self.start or clock < self.until, int(clock >= self.start)
        if not is_quiet:
            return None
        until = self.until.replace(fold=0)
        wall = datetime.combine(local.date() + timedelta(days=days), until, tzinfo=zone)
        first = wall.astimezone(UTC)
        return first if first > now else wall.replace(fold=1).astimezone(UTC)


LATE = timedelta(minutes=15)
"""What comes later than this says so, and, where it was not tried yet, is gathered for those who want a digest."""

GATHERING = timedelta(minutes=1)
"""How long what is late waits for others that are late as well, outside of quiet hours."""

GATHERING_OCCURRENCES = timedelta(seconds=10)
"""How long the word on an occurrence waits for others: a series that catches up makes up to 50 at once. Well below the
least `drop_after` there is, and nobody needs to know sooner."""


def is_too_late(fire_at: datetime, now: datetime, drop_after: timedelta | None) -> bool:
    """Whether the person would rather not hear of it any more."""
    return drop_after is not None and now - fire_at > drop_after
