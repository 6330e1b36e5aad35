"""Which slot follows a closed one: early, late, replayed, paused, clamped, counted from completion, used up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import pytest

from event_contracts.series import RecurrencePolicies
from recurrence.domain.budget import Budget
from recurrence.domain.series import Series
from recurrence.domain.successor import next_slot

BERLIN = "Europe/Berlin"


@dataclass(frozen=True)
class Case:
    """`closed` and `resumed` are instants in UTC; `key` is what follows, None when the series is over."""

    name: str
    rule: str
    start: str
    predecessor: str
    closed: str
    key: str | None
    resumed: str | None = None
    zone: str = BERLIN
    policies: dict[str, Any] = field(default_factory=dict)
    exdates: tuple[str, ...] = ()


MONDAYS = ("FREQ=WEEKLY;BYDAY=MO", "2025-03-03T09:00:00")
DAILY = ("FREQ=DAILY", "2025-03-01T09:00:00")
ALL_DAY = ("FREQ=DAILY", "2025-03-01")
MONTH_END = ("FREQ=MONTHLY", "2025-01-31")
COMPLETION = {"anchor": "completion"}
CATCH_UP = {"overdue": "catch_up"}

CASES = [
    Case("on time", *MONDAYS, "2025-03-24T09:00:00", "2025-03-24T08:05:00Z", "2025-03-31T09:00:00"),
    Case(
        "early keeps the grid", *MONDAYS, "2025-03-24T09:00:00", "2025-03-19T08:00:00Z", "2025-03-31T09:00:00"
    ),
    Case("a minute early", *MONDAYS, "2025-03-24T09:00:00", "2025-03-24T07:59:00Z", "2025-03-31T09:00:00"),
    Case("weeks early", *MONDAYS, "2025-03-24T09:00:00", "2025-03-01T08:00:00Z", "2025-03-31T09:00:00"),
    Case("late by two days", *MONDAYS, "2025-03-24T09:00:00", "2025-03-26T08:00:00Z", "2025-03-31T09:00:00"),
    Case(
        "late by many slots", *MONDAYS, "2025-03-03T09:00:00", "2025-06-12T08:00:00Z", "2025-06-16T09:00:00"
    ),
    Case("late by years", *DAILY, "2025-03-01T09:00:00", "2033-06-12T08:00:00Z", "2033-06-13T09:00:00"),
    Case(
        "late up to the very slot",
        *DAILY,
        "2025-03-01T09:00:00",
        "2025-03-05T08:00:00Z",
        "2025-03-06T09:00:00",
    ),
    Case(
        "late, a second before the slot",
        *DAILY,
        "2025-03-01T09:00:00",
        "2025-03-05T07:59:59Z",
        "2025-03-05T09:00:00",
    ),
    Case("due 31st, done on the 30th", *MONTH_END, "2025-03-31", "2025-03-30T10:00:00Z", "2025-04-30"),
    Case(
        "after the clamped day comes the 31st again",
        *MONTH_END,
        "2025-04-30",
        "2025-04-30T10:00:00Z",
        "2025-05-31",
    ),
    Case("clamped, done late", *MONTH_END, "2025-02-28", "2025-03-02T10:00:00Z", "2025-03-31"),
    Case(
        "skipped month ends",
        *MONTH_END,
        "2025-03-31",
        "2025-03-31T10:00:00Z",
        "2025-05-31",
        policies={"month_end": "skip"},
    ),
    Case("29 February", "FREQ=YEARLY", "2024-02-29", "2024-02-29", "2024-02-29T10:00:00Z", "2025-02-28"),
    Case(
        "29 February comes back",
        "FREQ=YEARLY",
        "2024-02-29",
        "2027-02-28",
        "2027-02-28T10:00:00Z",
        "2028-02-29",
    ),
    Case("all-day, done that day", *ALL_DAY, "2025-03-10", "2025-03-10T10:00:00Z", "2025-03-11"),
    Case(
        "all-day, done the next day: today is still to come",
        *ALL_DAY,
        "2025-03-10",
        "2025-03-11T10:00:00Z",
        "2025-03-11",
    ),
    Case("all-day, done a week later", *ALL_DAY, "2025-03-10", "2025-03-17T10:00:00Z", "2025-03-17"),
    Case(
        "all-day, the zone's day counts",
        *ALL_DAY,
        "2025-03-10",
        "2025-03-11T10:59:00Z",
        "2025-03-11",
        zone="Pacific/Auckland",
    ),
    Case(
        "all-day, an hour later it is tomorrow there",
        *ALL_DAY,
        "2025-03-10",
        "2025-03-11T11:00:00Z",
        "2025-03-12",
        zone="Pacific/Auckland",
    ),
    Case(
        "paused over three slots",
        *MONDAYS,
        "2025-03-03T09:00:00",
        "2025-03-03T08:00:00Z",
        "2025-03-31T09:00:00",
        resumed="2025-03-25T08:00:00Z",
    ),
    Case(
        "resumed before it was closed",
        *MONDAYS,
        "2025-03-03T09:00:00",
        "2025-03-20T08:00:00Z",
        "2025-03-24T09:00:00",
        resumed="2025-03-04T08:00:00Z",
    ),
    Case(
        "catching up takes one missed slot",
        *MONDAYS,
        "2025-03-03T09:00:00",
        "2025-06-12T08:00:00Z",
        "2025-03-10T09:00:00",
        policies=CATCH_UP,
    ),
    Case(
        "catching up, not what fell into a pause",
        *MONDAYS,
        "2025-03-03T09:00:00",
        "2025-06-12T08:00:00Z",
        "2025-04-07T09:00:00",
        resumed="2025-04-01T08:00:00Z",
        policies=CATCH_UP,
    ),
    Case("COUNT is used up", "FREQ=DAILY;COUNT=3", "2025-03-01", "2025-03-03", "2025-03-03T10:00:00Z", None),
    Case(
        "COUNT has one left",
        "FREQ=DAILY;COUNT=3",
        "2025-03-01",
        "2025-03-02",
        "2025-03-02T10:00:00Z",
        "2025-03-03",
    ),
    Case(
        "COUNT ran out while it was overdue",
        "FREQ=DAILY;COUNT=3",
        "2025-03-01",
        "2025-03-01",
        "2025-03-20T10:00:00Z",
        None,
    ),
    Case(
        "UNTIL is over",
        "FREQ=WEEKLY;UNTIL=20250331",
        "2025-03-03",
        "2025-03-31",
        "2025-03-31T10:00:00Z",
        None,
    ),
    Case(
        "UNTIL is today",
        "FREQ=WEEKLY;UNTIL=20250331",
        "2025-03-03",
        "2025-03-24",
        "2025-03-31T10:00:00Z",
        "2025-03-31",
    ),
    Case(
        "exdates are passed over",
        *MONDAYS,
        "2025-03-24T09:00:00",
        "2025-03-24T08:00:00Z",
        "2025-04-14T09:00:00",
        exdates=("2025-03-31T09:00:00", "2025-04-07T09:00:00"),
    ),
    Case(
        "a key off the grid, left from an edit",
        *MONDAYS,
        "2025-03-26T14:00:00",
        "2025-03-26T14:00:00Z",
        "2025-03-31T09:00:00",
    ),
    Case(
        "a date left from before the series had times",
        *MONDAYS,
        "2025-03-24",
        "2025-03-24T06:00:00Z",
        "2025-03-31T09:00:00",
    ),
    Case(
        "into the gap",
        "FREQ=DAILY",
        "2025-03-01T02:30:00",
        "2025-03-29T02:30:00",
        "2025-03-29T08:00:00Z",
        "2025-03-30T02:30:00",
    ),
    Case(
        "out of the gap",
        "FREQ=DAILY",
        "2025-03-01T02:30:00",
        "2025-03-30T02:30:00",
        "2025-03-30T08:00:00Z",
        "2025-03-31T02:30:00",
    ),
    Case(
        "over the gap",
        "FREQ=DAILY",
        "2025-03-01T02:30:00",
        "2025-03-29T02:30:00",
        "2025-03-29T08:00:00Z",
        "2025-03-31T02:30:00",
        policies={"dst_gap": "skip"},
    ),
    Case(
        "hourly through the gap",
        "FREQ=HOURLY",
        "2025-03-01T00:00:00",
        "2025-03-30T01:00:00",
        "2025-03-30T00:05:00Z",
        "2025-03-30T03:00:00",
    ),
    Case(
        "hourly in the repeated hour",
        "FREQ=HOURLY",
        "2025-03-01T00:00:00",
        "2025-10-26T02:00:00",
        "2025-10-26T00:05:00Z",
        "2025-10-26T03:00:00",
    ),
    Case(
        "hourly in the second of the repeated hours",
        "FREQ=HOURLY",
        "2025-03-01T00:00:00",
        "2025-10-26T02:00:00",
        "2025-10-26T01:30:00Z",
        "2025-10-26T03:00:00",
    ),
    Case(
        "three days after completion",
        "FREQ=DAILY;INTERVAL=3",
        "2025-03-01T09:00:00",
        "2025-03-04T09:00:00",
        "2025-03-06T20:00:00Z",
        "2025-03-09T09:00:00",
        policies=COMPLETION,
    ),
    Case(
        "three days after completion on time",
        "FREQ=DAILY;INTERVAL=3",
        "2025-03-01T09:00:00",
        "2025-03-04T09:00:00",
        "2025-03-04T06:00:00Z",
        "2025-03-07T09:00:00",
        policies=COMPLETION,
    ),
    Case(
        "a week after completion, on that weekday",
        "FREQ=WEEKLY",
        "2025-03-03",
        "2025-03-10",
        "2025-03-12T10:00:00Z",
        "2025-03-19",
        policies=COMPLETION,
    ),
    Case(
        "Monday after next of a fortnightly rule",
        "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO",
        "2025-03-03",
        "2025-03-17",
        "2025-03-19T10:00:00Z",
        "2025-03-31",
        policies=COMPLETION,
    ),
    Case(
        "a month after completion",
        *MONTH_END,
        "2025-01-31",
        "2025-02-15T10:00:00Z",
        "2025-03-15",
        policies=COMPLETION,
    ),
    Case(
        "a month after a completion on the 31st",
        "FREQ=MONTHLY",
        "2025-01-10",
        "2025-01-10",
        "2025-01-31T10:00:00Z",
        "2025-02-28",
        policies=COMPLETION,
    ),
    Case(
        "four hours after completion",
        "FREQ=HOURLY;INTERVAL=4",
        "2025-03-01T09:00:00",
        "2025-03-01T13:00:00",
        "2025-03-01T13:20:40Z",
        "2025-03-01T18:20:00",
        policies=COMPLETION,
    ),
    Case(
        "so early that a week on is not past the key",
        "FREQ=WEEKLY",
        "2025-03-03",
        "2025-03-31",
        "2025-03-20T10:00:00Z",
        "2025-04-03",
        policies=COMPLETION,
    ),
    Case(
        "twice a day after completion",
        "FREQ=DAILY;BYHOUR=9,18",
        "2025-03-01T09:00:00",
        "2025-03-05T09:00:00",
        "2025-03-05T17:30:00Z",
        "2025-03-06T09:00:00",
        policies=COMPLETION,
    ),
    Case(
        "completion in another zone's day",
        "FREQ=DAILY",
        "2025-03-01",
        "2025-03-05",
        "2025-03-06T23:30:00Z",
        "2025-03-08",
        policies=COMPLETION,
    ),
    Case(
        "completed, COUNT's last slot passed",
        "FREQ=DAILY;COUNT=5",
        "2025-03-01",
        "2025-03-04",
        "2025-03-05T10:00:00Z",
        None,
        policies=COMPLETION,
    ),
    Case(
        "completed, within COUNT's last slot",
        "FREQ=DAILY;COUNT=5",
        "2025-03-01",
        "2025-03-03",
        "2025-03-04T10:00:00Z",
        "2025-03-05",
        policies=COMPLETION,
    ),
    Case(
        "completed, UNTIL passed",
        "FREQ=DAILY;UNTIL=20250305",
        "2025-03-01",
        "2025-03-04",
        "2025-03-05T10:00:00Z",
        None,
        policies=COMPLETION,
    ),
]


def _series(case: Case) -> Series:
    return Series.read(
        case.rule, case.start, case.zone, RecurrencePolicies.model_validate(case.policies), case.exdates
    )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_follows(case: Case) -> None:
    resumed = None if case.resumed is None else _instant(case.resumed)
    found = next_slot(_series(case), case.predecessor, _instant(case.closed), resumed)
    assert (None if found is None else found.occurrence_key) == case.key
    assert found is None or (found.due_at is None) != (found.due_date is None)


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
    series = Series.read("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "2025-01-01", BERLIN, policies)
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
