"""Which occurrence follows a closed one: a pure function, so that a redelivery, a replay and a repair agree.

The wall clock has no say: it decides when somebody asks, never what the answer is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from event_contracts.series import Anchor, Overdue
from recurrence.domain.budget import Budget
from recurrence.domain.grid import Grid
from recurrence.domain.occurrences import Occurrence, occurrences_after, occurrences_from
from recurrence.domain.series import Series
from recurrence.domain.times_of_day import UNITS_OF_A_DAY
from recurrence.domain.wall_time import local_time
from recurrence.domain.wording import why_after_completion, why_on_schedule

COUNTED_MAX = 1_000
"""Overdue slots are counted one by one up to here; beyond, it is "more than"."""

_MORE_THAN_ANY_CLOCK_CHANGE = timedelta(days=2)


@dataclass(frozen=True)
class Next:
    """The slot that follows, when it is due (`due_at` an instant, or `due_date`), and in plain English why."""

    occurrence_key: str
    due_at: datetime | None
    due_date: date | None
    sentence: str


def next_slot(
    series: Series,
    predecessor_key: str,
    closed_at: datetime,
    resumed_at: datetime | None = None,
    budget: Budget | None = None,
) -> Next | None:
    """Give the occurrence after the closed one with `predecessor_key`; None when the series is over.

    Counts from the later of `closed_at` and `resumed_at` (aware instants). The key lies after the predecessor's,
    whatever the anchor. A timed slot is overdue when its instant is not after that base; an all-day one once its day
    is over in the series' zone. Raises ExpansionBoundError when the budget is used up before it is known what follows,
    ValueError when `predecessor_key` is no key.
    """
    budget = budget or Budget()
    base = closed_at if resumed_at is None else max(closed_at, resumed_at)
    if series.policies.anchor is Anchor.COMPLETION:
        return _after_completion(series, predecessor_key, base, budget)
    if series.policies.overdue is Overdue.CATCH_UP:
        return _catching_up(series, predecessor_key, resumed_at, budget)
    return _next_future(series, predecessor_key, base, budget)


def _next_future(series: Series, key: str, base: datetime, budget: Budget) -> Next | None:
    passed_over = 0
    for one in occurrences_after(series, key, budget):
        if not is_overdue(series, one, base):
            return as_next(series, one, why_on_schedule(series, key, one.local, one.adjusted, passed_over))
        passed_over += 1
        if passed_over > COUNTED_MAX:
            break
    else:
        return None
    slots = from_about(series, base, budget)
    following = next((one for one in slots if not is_overdue(series, one, base)), None)
    if following is None:
        return None
    why = why_on_schedule(series, key, following.local, following.adjusted, passed_over)
    return as_next(series, following, why)


def from_about(series: Series, base: datetime, budget: Budget) -> Iterator[Occurrence]:
    """Occurrences from a little before the instant `base` on. Raises ExpansionBoundError."""
    near = _a_little_before(series, base)
    return (one for one in occurrences_from(series, near, budget) if one.key not in series.exdates)


def after_pause(
    series: Series, key: str, resumed_at: datetime | None, budget: Budget
) -> Iterator[Occurrence]:
    """Occurrences after `key` that the pause which ended at `resumed_at`, if there was one, did not swallow.

    However long it was, none of them is walked through. Raises ExpansionBoundError, and ValueError for a bad key.
    """
    if resumed_at is None:
        return occurrences_after(series, key, budget)
    if _a_little_before(series, resumed_at) > series.last_moment_of(key):
        slots = from_about(series, resumed_at, budget)
    else:
        slots = occurrences_after(series, key, budget)
    return (one for one in slots if not is_overdue(series, one, resumed_at))


def _a_little_before(series: Series, base: datetime) -> datetime:
    return local_time(base, series.zone).replace(microsecond=0) - _MORE_THAN_ANY_CLOCK_CHANGE


def _catching_up(series: Series, key: str, resumed_at: datetime | None, budget: Budget) -> Next | None:
    """One missed slot at a time; what fell into a pause, or before it, is not made up for."""
    following = next(after_pause(series, key, resumed_at, budget), None)
    if following is None:
        return None
    return as_next(series, following, why_on_schedule(series, key, following.local, following.adjusted, 0))


def _after_completion(series: Series, key: str, base: datetime, budget: Budget) -> Next | None:
    """The rule begun anew on the day of completion: INTERVAL counts from there, and so does what BY parts leave open.

    COUNT counts the slots of the schedule, so such a series ends where they would have.
    """
    closed = local_time(base, series.zone).replace(microsecond=0)
    if series.all_day or series.rule.freq not in UNITS_OF_A_DAY:
        closed = datetime.combine(closed.date(), series.start.time())
    else:
        closed = closed.replace(second=0)
    schedule = Grid(series, budget)
    anew = replace(
        series, start=max(closed, series.start), rule=series.rule.model_copy(update={"count": None})
    )
    for one in occurrences_after(anew, key, budget):
        slot = anew.last_moment_of(one.key)
        if schedule.is_used_up_at(slot):
            return None
        if slot > closed and not is_overdue(anew, one, base):
            return as_next(anew, one, why_after_completion(series, closed.date(), one.local, one.adjusted))
    return None


def is_overdue(series: Series, one: Occurrence, base: datetime) -> bool:
    """Whether a timed occurrence is not after the instant `base`, an all-day one over by then in the series' zone."""
    if not isinstance(one.local, datetime):
        return one.local < local_time(base, series.zone).date()
    return one.utc <= base


def as_next(series: Series, one: Occurrence, sentence: str) -> Next:
    """Give an occurrence with the sentence that says why."""
    timed = isinstance(one.local, datetime)
    return Next(
        occurrence_key=one.key,
        due_at=one.utc if timed else None,
        due_date=None if isinstance(one.local, datetime) else one.local,
        sentence=sentence,
    )
