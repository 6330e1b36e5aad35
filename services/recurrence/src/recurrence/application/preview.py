"""What a rule would give, before it is a series."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time

from event_contracts.rrule import RRule
from event_contracts.series import Anchor, PileUp, RecurrencePolicies
from recurrence.domain.budget import Budget
from recurrence.domain.occurrences import Occurrence, occurrences
from recurrence.domain.rule_text import describe
from recurrence.domain.series import Series
from recurrence.domain.times_of_day import UNITS_OF_A_DAY

_ANY_START = "2024-01-01T00:00:00"
_GIVEN_UP = "The rule matches never, or so rarely that the search was given up after {count} dates."
_NEVER = "The rule gives no date at all from its start on."
_OFF_THE_GRID = "The start {start} is not on the rule's grid: it is no occurrence."
_FROM_COMPLETION = "Counted from completion: the dates hold when each is done on its day."
_NO_PILING = "Counted from completion: each waits until the one before is done, whatever pile_up says."
_TOO_OFTEN = "A task recurs HOURLY at the most often: this rule is for the preview alone."


@dataclass(frozen=True)
class Preview:
    """The occurrences, the rule in plain English, and what is to be known before it is used."""

    occurrences: tuple[Occurrence, ...]
    text: str
    warnings: tuple[str, ...]


def preview(series: Series, count: int, after: str | None = None) -> Preview:
    """Give the first `count` (at most 100) occurrences, those after the key `after` if it is given.

    The work is bounded by one budget. Raises ValueError when `after` is no key.
    """
    budget = Budget()
    found = occurrences(series, count, after, budget)
    text = describe(series)
    return Preview(tuple(found), text[0].lower() + text[1:], tuple(_warnings(series, found, after, budget)))


def sentence_of(rule: RRule, at: time | None = None) -> str:
    """Tell a rule that has no start yet in plain English; `at` is the time that its start will have."""
    # Counted from completion nothing is filled in from the start, so that any start will do.
    policies = RecurrencePolicies(anchor=Anchor.COMPLETION)
    text = describe(Series.read(str(rule), _ANY_START, "UTC", policies))
    return text[0].lower() + text[1:] + (f" at {at:%H:%M}" if at else "")


def _warnings(series: Series, found: list[Occurrence], after: str | None, budget: Budget) -> list[str]:
    said = []
    start = series.key_of(series.start)
    if after is None and found and found[0].key != start and start not in series.exdates:
        said.append(_OFF_THE_GRID.format(start=start))
    if budget.exhausted:
        said.append(_GIVEN_UP.format(count=len(found)))
    elif after is None and not found:
        said.append(_NEVER)
    if series.policies.anchor is Anchor.COMPLETION:
        said.append(_NO_PILING if series.policies.pile_up is PileUp.ALLOW else _FROM_COMPLETION)
    if UNITS_OF_A_DAY.get(series.rule.freq, 0) > 24:
        said.append(_TOO_OFTEN)
    return said
