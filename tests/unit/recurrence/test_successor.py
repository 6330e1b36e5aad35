"""What is said of the slot after a closed one; which one it is, tests/vectors/successors.json tells."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from event_contracts.series import RecurrencePolicies
from recurrence.domain.budget import Budget
from recurrence.domain.series import Series
from recurrence.domain.successor import next_slot

BERLIN = "Europe/Berlin"


MONDAYS = ("FREQ=WEEKLY;BYDAY=MO", "2025-03-03T09:00:00")
DAILY = ("FREQ=DAILY", "2025-03-01T09:00:00")
MONTH_END = ("FREQ=MONTHLY", "2025-01-31")
COMPLETION = {"anchor": "completion"}


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


SENTENCES = [
    (
        *MONDAYS,
        "2025-03-24T09:00:00",
        "2025-03-24T08:00:00Z",
        {},
        "Every week on Monday: next after 2025-03-24 is Monday 31 March 2025 at 09:00 (Europe/Berlin).",
    ),
    (
        *MONDAYS,
        "2025-03-03T09:00:00",
        "2025-03-12T08:00:00Z",
        {},
        "Every week on Monday: next after 2025-03-03 is Monday 17 March 2025 at 09:00 (Europe/Berlin). "
        "1 overdue date was passed over.",
    ),
    (
        *MONDAYS,
        "2025-03-03T09:00:00",
        "2025-03-26T08:00:00Z",
        {},
        "Every week on Monday: next after 2025-03-03 is Monday 31 March 2025 at 09:00 (Europe/Berlin). "
        "3 overdue dates were passed over.",
    ),
    (
        *DAILY,
        "2025-03-01T09:00:00",
        "2033-06-12T08:00:00Z",
        {},
        "Every day: next after 2025-03-01 is Monday 13 June 2033 at 09:00 (Europe/Berlin). "
        "More than 1000 overdue dates were passed over.",
    ),
    (
        "FREQ=MONTHLY;BYMONTHDAY=31",
        "2025-01-31",
        "2025-03-31",
        "2025-03-31T08:00:00Z",
        {},
        "Every month on the 31st or else the month's last day: next after 2025-03-31 is "
        "Wednesday 30 April 2025. 31 April does not exist: moved to 30 April.",
    ),
    (
        "FREQ=DAILY",
        "2025-03-01T02:30:00",
        "2025-03-29T02:30:00",
        "2025-03-29T08:00:00Z",
        {},
        "Every day: next after 2025-03-29 is Sunday 30 March 2025 at 03:30 (Europe/Berlin). "
        "02:30 does not exist on Sunday 30 March 2025: moved to 03:30.",
    ),
    (
        "FREQ=DAILY;INTERVAL=3",
        "2025-03-01",
        "2025-03-04",
        "2025-03-06T08:00:00Z",
        COMPLETION,
        "Every 3 days, counted from completion: closed on Thursday 6 March 2025, next is Sunday 9 March 2025.",
    ),
    (
        "FREQ=HOURLY;INTERVAL=6",
        "2025-03-01T00:00:00",
        "2025-03-04T06:00:00",
        "2025-03-04T05:00:00Z",
        {},
        "Every 6 hours: next after 2025-03-04 06:00 is Tuesday 4 March 2025 at 12:00 (Europe/Berlin).",
    ),
]


@pytest.mark.parametrize(("rule", "start", "key", "closed", "policies", "sentence"), SENTENCES)
def test_the_sentence_says_why_this_date(
    rule: str, start: str, key: str, closed: str, policies: dict[str, Any], sentence: str
) -> None:
    series = Series.read(rule, start, BERLIN, RecurrencePolicies.model_validate(policies))
    found = next_slot(series, key, _instant(closed))
    assert found is not None
    assert found.sentence == sentence


def test_due_is_an_instant_or_a_date() -> None:
    timed = next_slot(Series.read(*MONDAYS, BERLIN), "2025-03-24T09:00:00", _instant("2025-03-24T08:00:00Z"))
    assert timed is not None
    assert (timed.due_at, timed.due_date) == (datetime(2025, 3, 31, 7, tzinfo=UTC), None)
    all_day = next_slot(Series.read(*MONTH_END, BERLIN), "2025-03-31", _instant("2025-03-31T08:00:00Z"))
    assert all_day is not None
    assert (all_day.due_at, all_day.due_date) == (None, date(2025, 4, 30))


@pytest.mark.parametrize("anchor", ["schedule", "completion"])
def test_a_rule_that_never_matches_ends_the_series_and_says_that_it_was_given_up(anchor: str) -> None:
    policies = RecurrencePolicies.model_validate({"month_end": "skip", "anchor": anchor})
    series = Series.read("FREQ=WEEKLY;BYDAY=MO;BYSETPOS=2", "2025-01-01", BERLIN, policies)
    budget = Budget()
    assert next_slot(series, "2025-01-01", _instant("2025-01-01T12:00:00Z"), budget=budget) is None
    assert budget.exhausted


def test_the_sentence_of_the_longest_rule_stays_short() -> None:
    days = ",".join(str(day) for day in range(1, 120))
    series = Series.read(
        f"FREQ=YEARLY;BYYEARDAY={days}", "2025-01-01T09:00:00", "America/Argentina/ComodRivadavia"
    )
    found = next_slot(series, "2025-01-01T09:00:00", _instant("2026-01-01T00:00:00Z"))
    assert found is not None
    assert len(found.sentence) <= 500


def test_a_key_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError):
        next_slot(Series.read(*MONDAYS, BERLIN), "2025-04-31", _instant("2025-03-24T08:00:00Z"))
