"""What is said of the slot after a closed one; which one it is, tests/vectors/successors.json tells."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from event_contracts.series import Overdue, RecurrencePolicies
from recurrence.domain.budget import ExpansionBoundError
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
def test_a_rule_that_never_matches_ends_the_series_and_a_search_that_is_given_up_does_not(
    anchor: str,
) -> None:
    policies = RecurrencePolicies.model_validate({"month_end": "skip", "anchor": anchor})
    never = Series.read("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "2025-01-01", BERLIN, policies)
    assert next_slot(never, "2025-01-01", _instant("2025-01-01T12:00:00Z")) is None
    costly = Series.read("FREQ=WEEKLY;BYDAY=MO;BYSETPOS=2", "2025-01-01", BERLIN, policies)
    with pytest.raises(ExpansionBoundError):
        next_slot(costly, "2025-01-01", _instant("2025-01-01T12:00:00Z"))


def test_an_end_that_is_said_is_an_end_however_rare_the_rule() -> None:
    """UNTIL bounds the search: beyond it nothing has to be looked for."""
    series = Series.read("FREQ=WEEKLY;BYDAY=MO;BYSETPOS=2;UNTIL=20300101", "2025-01-01", BERLIN)
    assert next_slot(series, "2025-01-01", _instant("2025-01-01T12:00:00Z")) is None


LONG_COUNTS = [
    ("FREQ=HOURLY;BYMINUTE=0;BYSETPOS=1;COUNT=100000", "2036-05-29T00:00:00", "2036-05-29T01:00:00"),
    ("FREQ=HOURLY;BYMINUTE=0;BYSETPOS=1;COUNT=100000", "2036-05-29T15:00:00", None),
    ("FREQ=HOURLY;BYMINUTE=0,30;BYSETPOS=-1;COUNT=100000", "2036-05-29T15:30:00", None),
    ("FREQ=DAILY;BYHOUR=8,9;BYSETPOS=2;COUNT=100000", "2298-10-15T09:00:00", "2298-10-16T09:00:00"),
    ("FREQ=DAILY;BYHOUR=8,9;BYSETPOS=2;COUNT=100000", "2298-10-16T09:00:00", None),
    ("FREQ=DAILY;COUNT=100000", "2298-10-16T09:00:00", None),
    (
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;COUNT=1200",
        "2124-11-30T09:00:00",
        "2124-12-29T09:00:00",
    ),
    ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;COUNT=1200", "2124-12-29T09:00:00", None),
]


@pytest.mark.parametrize(("rule", "key", "expected"), LONG_COUNTS)
def test_a_series_goes_on_to_the_last_of_its_count(rule: str, key: str, expected: str | None) -> None:
    """After a hundred thousand hours, after three human lives: the count is the rule's, not the engine's patience."""
    start = "2025-01-01T00:00:00" if "HOURLY" in rule else "2025-01-01T09:00:00"
    found = next_slot(Series.read(rule, start, "UTC"), key, _instant(key + "Z"))
    assert (None if found is None else found.occurrence_key) == expected


@pytest.mark.parametrize("end", ["", ";COUNT=100000"])
@pytest.mark.parametrize("years", [2, 3, 9])
def test_catching_up_goes_on_after_a_pause_of_years(years: int, end: str) -> None:
    """What fell into the pause is not walked through, however many hours it had."""
    series = Series.read(
        f"FREQ=HOURLY{end}", "2025-01-01T00:00:00", BERLIN, RecurrencePolicies(overdue=Overdue.CATCH_UP)
    )
    resumed_at = datetime(2025 + years, 6, 1, 10, 30, tzinfo=UTC)
    found = next_slot(series, "2025-01-02T00:00:00", _instant("2025-01-02T00:00:00Z"), resumed_at)
    assert found is not None
    assert found.due_at == resumed_at.replace(hour=11, minute=0)
    # A pause that is long over has no say: the first missed slot comes.
    late = next_slot(series, "2036-01-01T00:00:00", _instant("2036-05-01T00:00:00Z"), resumed_at)
    assert late is not None
    assert late.occurrence_key == "2036-01-01T01:00:00"


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
