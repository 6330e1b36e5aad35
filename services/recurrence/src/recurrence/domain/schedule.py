"""Which occurrences the schedule makes of a series whose instances pile up, the one before being open or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, dropwhile, islice

from event_contracts.recurrence import AT_ONCE_MAX
from event_contracts.series import Anchor, Overdue, PileUp, RecurrencePolicies
from recurrence.domain.budget import Budget, ExpansionBoundError
from recurrence.domain.occurrences import Occurrence
from recurrence.domain.series import Series
from recurrence.domain.successor import COUNTED_MAX, Next, after_pause, as_next, from_about
from recurrence.domain.wording import why_by_schedule

AHEAD_OF_A_REMINDER = timedelta(hours=2)
"""How long before its earliest reminder an instance is there: longer than the hour between two sweeps and the hour by
which clocks change together."""


@dataclass(frozen=True)
class Scheduled:
    """From `at` on the next occurrence is to be there; `made` are those that are to be there now, in order."""

    at: datetime
    made: tuple[Next, ...]


def makes_by_schedule(policies: RecurrencePolicies) -> bool:
    """Whether instances come by their dates alone. Counted from completion there is no date before that."""
    return policies.pile_up is PileUp.ALLOW and policies.anchor is Anchor.SCHEDULE


def scheduled(
    series: Series,
    newest_key: str,
    ahead: timedelta,
    now: datetime,
    resumed_at: datetime | None = None,
    budget: Budget | None = None,
) -> Scheduled | None:
    """Tell what follows the newest instance, which is open; None when the series is over.

    Each slot is to be there `ahead` of its own instant, of an all-day one of the day's begin. Under `catch_up` each
    slot that has come has its turn, under `next_future` those that the next one has caught up with are passed over; at
    most fifty together, or as many as the budget allows. What fell into a pause is not made up for. Raises
    ExpansionBoundError when the budget is used up before the first is found, ValueError when `newest_key` is no key.
    """
    budget = budget or Budget()
    slots = after_pause(series, newest_key, resumed_at, budget)
    first = next(slots, None)
    if first is None:
        return None
    at = first.utc - ahead
    if at > now:
        return Scheduled(at, ())
    slots = chain((first,), _while_it_lasts(slots))
    return Scheduled(at, tuple(islice(_come(series, newest_key, slots, ahead, now, budget), AT_ONCE_MAX)))


def _while_it_lasts(slots: Iterator[Occurrence]) -> Iterator[Occurrence]:
    """The slots up to where the budget is used up: what is found may come, the others are asked for again after it."""
    with suppress(ExpansionBoundError):
        yield from slots


def _come(
    series: Series,
    newest_key: str,
    slots: Iterator[Occurrence],
    ahead: timedelta,
    now: datetime,
    budget: Budget,
) -> Iterator[Next]:
    passed_over = 0
    if series.policies.overdue is Overdue.NEXT_FUTURE:
        slots, passed_over = _without_missed(series, slots, now, budget)
    before = newest_key
    for one in slots:
        if one.utc - ahead > now:
            return
        why = why_by_schedule(series, before, one.local, one.adjusted, passed_over)
        yield as_next(series, one, why)
        before, passed_over = one.key, 0


def _without_missed(
    series: Series, slots: Iterator[Occurrence], now: datetime, budget: Budget
) -> tuple[Iterator[Occurrence], int]:
    """The slots from the last one on that has come, or from the first one if none has; how many were passed over."""
    last = next(slots, None)
    if last is None:
        return iter(()), 0
    passed_over = 0
    while (following := next(slots, None)) is not None and following.utc <= now:
        last = following
        passed_over += 1
        if passed_over == COUNTED_MAX:
            near = _while_it_lasts(from_about(series, now, budget))
            slots = dropwhile(partial(_is_not_after, last.key), near)
    return chain((last,), () if following is None else (following,), slots), passed_over


def _is_not_after(key: str, one: Occurrence) -> bool:
    return one.key <= key
