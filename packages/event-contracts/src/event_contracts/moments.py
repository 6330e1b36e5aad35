"""What the times of a task mean: wall-clock arithmetic in a zone, instants out. Pure; the time is always passed in.

Every service reckons with these, so that the moment which one schedules is the moment which another expects.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)


def resolve(local: datetime, zone: str) -> datetime:
    """Give the UTC instant of a naive local date-time.

    In a gap of the clock it moves forward by the gap, in an overlap it is the first of the two (RFC 5545, 3.3.5).
    """
    return local.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)


def written(moment: datetime) -> str:
    """Give a UTC instant as events, answers and ledgers write it: ISO 8601, ending in Z."""
    return moment.isoformat().replace("+00:00", "Z")


def due_instant(
    due_at: datetime | None, due_date: date | None, zone: str, day_start: time
) -> datetime | None:
    """Give the instant a task is due: `due_at`, or `due_date` at `day_start` in the zone; None without a due."""
    if due_at is not None:
        return due_at
    if due_date is not None:
        return resolve(datetime.combine(due_date, day_start), zone)
    return None


def is_past_when_set(fire_at: datetime, set_at: datetime, due: datetime | None) -> bool:
    """Say whether a reminder was already past when it was set, so that it does not fire.

    Compared with the commit time of the change that set it, never with a consumer's clock: a reminder that became
    past while the system was down was not. One for a task that was not yet due when it was set fires once, late.
    """
    return fire_at <= set_at and (due is None or due <= set_at)


def before_due(due: datetime, offset: timedelta, zone: str) -> datetime:
    """Give `due` minus `offset`, in UTC. Whole days are days on the wall clock in the zone, the rest is exact.

    "A day before" a Monday nine o'clock is Sunday nine o'clock, also when the clocks change in between.
    """
    days, rest = divmod(offset, _DAY)
    if not days:
        return due - rest
    local = due.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return resolve(local - days * _DAY, zone) - rest
