"""The occurrences of a series: the slots of its grid as dates and instants, with what had to be adjusted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice

from event_contracts.series import DstGap
from recurrence.domain.budget import UNITS_OF_AN_INSTANT, Budget, ExpansionBoundError
from recurrence.domain.calendar_days import LAST_YEAR
from recurrence.domain.grid import Grid
from recurrence.domain.series import Series
from recurrence.domain.wall_time import Resolved, resolve
from recurrence.domain.wording import gap_adjustment, month_end_adjustment

OCCURRENCES_MAX = 100

_SECOND = timedelta(seconds=1)
"""What lies between two keys at least: slots have no finer part."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One occurrence. `key` is its slot, `local` and `utc` are what became of it: wall-clock date-time and instant, of
    an all-day occurrence the date and the instant at which that day begins. `adjusted` says in a clause why `local`
    is not what the rule names, None when it is."""

    key: str
    local: datetime | date
    utc: datetime
    adjusted: str | None


def occurrences(
    series: Series, count: int, after: str | None = None, budget: Budget | None = None
) -> list[Occurrence]:
    """Give the first `count` (at most 100) occurrences, those after the key `after` if it is given.

    Gives fewer when the series ends, or when the rule matches next to never and the budget is used up
    (`budget.exhausted` tells). Raises ValueError when `after` is no key.
    """
    found: list[Occurrence] = []
    try:
        found.extend(
            islice(occurrences_after(series, after, budget or Budget()), min(count, OCCURRENCES_MAX))
        )
    except ExpansionBoundError:
        return found
    return found


def occurrences_after(series: Series, key: str | None, budget: Budget) -> Iterator[Occurrence]:
    """Occurrences whose keys come after `key`, from the start without one. Raises ExpansionBoundError."""
    floor = series.start
    if key is not None:
        passed = series.last_moment_of(key)
        if passed.year > LAST_YEAR:
            return iter(())
        floor = passed + _SECOND
    return (one for one in occurrences_from(series, floor, budget) if one.key not in series.exdates)


def occurrences_from(series: Series, floor: datetime, budget: Budget) -> Iterator[Occurrence]:
    """Occurrences whose slots are at or after the naive local time `floor`, exdates too. Raises ExpansionBoundError."""
    grid = Grid(series, budget)
    slots = _paid_for(grid.slots_from(floor), budget)
    if series.all_day:
        return (_all_day(series, grid, slot) for slot in slots)
    return _timed(series, grid, slots)


def _paid_for(slots: Iterator[datetime], budget: Budget) -> Iterator[datetime]:
    for slot in slots:
        budget.spend(UNITS_OF_AN_INSTANT)
        yield slot


def _all_day(series: Series, grid: Grid, slot: datetime) -> Occurrence:
    """A date has no clock to change: only the month's end can move it."""
    day = slot.date()
    return Occurrence(
        key=series.key_of(slot),
        local=day,
        utc=resolve(slot, series.zone).utc,
        adjusted=month_end_adjustment(day, grid.days.beyond_month_end(day)),
    )


def _timed(series: Series, grid: Grid, slots: Iterator[datetime]) -> Iterator[Occurrence]:
    """Slots made instants, in strict order of both.

    A slot that the clocks leave out moves forward, unless a slot that exists lies on the way: then that one stands
    for both, as days that clamping makes equal are one.
    """
    ahead: deque[tuple[datetime, Resolved]] = deque()
    resolved = ((slot, resolve(slot, series.zone)) for slot in slots)
    while True:
        slot, instant = ahead.popleft() if ahead else next(resolved, (None, None))
        if slot is None or instant is None:
            return
        if instant.in_gap and (
            series.policies.dst_gap is DstGap.SKIP or _another_stands_for(instant, ahead, resolved)
        ):
            continue
        day = slot.date()
        notes = (
            month_end_adjustment(day, grid.days.beyond_month_end(day)),
            gap_adjustment(slot, instant.local) if instant.in_gap else None,
        )
        yield Occurrence(
            key=series.key_of(slot),
            local=instant.local,
            utc=instant.utc,
            adjusted="; ".join(note for note in notes if note) or None,
        )


def _another_stands_for(
    moved: Resolved,
    ahead: deque[tuple[datetime, Resolved]],
    resolved: Iterator[tuple[datetime, Resolved]],
) -> bool:
    """Whether a slot that exists lies between a slot in the gap and where that moves.

    Reads ahead as far as that, or to the first slot that exists: it is the last of `ahead` then, and one look at it
    tells for every slot of the gap, however many there are.
    """
    while not ahead or (ahead[-1][1].in_gap and ahead[-1][0] <= moved.local):
        following = next(resolved, None)
        if following is None:
            return False
        ahead.append(following)
    slot, instant = ahead[-1]
    return not instant.in_gap and slot <= moved.local
