"""What a date says of itself, clock changes before those of tests/vectors, and rules that match never."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from event_contracts.rrule import RuleError
from event_contracts.series import RecurrencePolicies
from recurrence.domain.budget import Budget
from recurrence.domain.occurrences import occurrences
from recurrence.domain.series import Series

BERLIN = "Europe/Berlin"


SKIP = {"month_end": "skip"}


@dataclass(frozen=True)
class Shift:
    """`slots` are written `key>local>UTC`, of days around a change of the clocks."""

    name: str
    rule: str
    start: str
    zone: str
    slots: str
    policies: dict[str, Any] = field(default_factory=dict)


SHIFTS = [
    Shift(
        "Berlin, spring: 09:00 stays 09:00",
        "FREQ=DAILY",
        "2025-03-29T09:00:00",
        BERLIN,
        "2025-03-29T09:00:00>09:00>08:00 2025-03-30T09:00:00>09:00>07:00",
    ),
    Shift(
        "Berlin, gap: 02:30 becomes 03:30, for that day alone",
        "FREQ=DAILY",
        "2025-03-29T02:30:00",
        BERLIN,
        "2025-03-29T02:30:00>02:30>01:30 2025-03-30T02:30:00>03:30>01:30 2025-03-31T02:30:00>02:30>00:30",
    ),
    Shift(
        "Berlin, gap skipped",
        "FREQ=DAILY",
        "2025-03-29T02:30:00",
        BERLIN,
        "2025-03-29T02:30:00>02:30>01:30 2025-03-31T02:30:00>02:30>00:30",
        {"dst_gap": "skip"},
    ),
    Shift(
        "Berlin, autumn: of two 02:30 the first",
        "FREQ=DAILY",
        "2025-10-25T02:30:00",
        BERLIN,
        "2025-10-25T02:30:00>02:30>00:30 2025-10-26T02:30:00>02:30>00:30 2025-10-27T02:30:00>02:30>01:30",
    ),
    Shift(
        "Berlin, hourly in spring: 02:00 and 03:00 are one",
        "FREQ=HOURLY",
        "2025-03-30T01:00:00",
        BERLIN,
        "2025-03-30T01:00:00>01:00>00:00 2025-03-30T03:00:00>03:00>01:00 2025-03-30T04:00:00>04:00>02:00",
    ),
    Shift(
        "Berlin, 02:30 and 03:00: the one that exists stands for both",
        "FREQ=DAILY;BYHOUR=2,3;BYMINUTE=0,30",
        "2025-03-30T01:00:00",
        BERLIN,
        "2025-03-30T03:00:00>03:00>01:00 2025-03-30T03:30:00>03:30>01:30 2025-03-31T02:00:00>02:00>00:00",
    ),
    Shift(
        "Berlin, two slots in the gap keep their distance",
        "FREQ=DAILY;BYHOUR=2;BYMINUTE=10,40",
        "2025-03-30T00:00:00",
        BERLIN,
        "2025-03-30T02:10:00>03:10>01:10 2025-03-30T02:40:00>03:40>01:40 2025-03-31T02:10:00>02:10>00:10",
    ),
    Shift(
        "New York, spring",
        "FREQ=DAILY",
        "2025-03-08T02:15:00",
        "America/New_York",
        "2025-03-08T02:15:00>02:15>07:15 2025-03-09T02:15:00>03:15>07:15 2025-03-10T02:15:00>02:15>06:15",
    ),
    Shift(
        "New York, autumn",
        "FREQ=WEEKLY",
        "2025-10-26T01:30:00",
        "America/New_York",
        "2025-10-26T01:30:00>01:30>05:30 2025-11-02T01:30:00>01:30>05:30 2025-11-09T01:30:00>01:30>06:30",
    ),
    Shift(
        "Lord Howe moves by half an hour",
        "FREQ=DAILY",
        "2025-10-04T02:15:00",
        "Australia/Lord_Howe",
        "2025-10-04T02:15:00>02:15>15:45 2025-10-05T02:15:00>02:45>15:45 2025-10-06T02:15:00>02:15>15:15",
    ),
    Shift(
        "Lord Howe, autumn: 01:45 comes twice",
        "FREQ=DAILY",
        "2025-04-05T01:45:00",
        "Australia/Lord_Howe",
        "2025-04-05T01:45:00>01:45>14:45 2025-04-06T01:45:00>01:45>14:45 2025-04-07T01:45:00>01:45>15:15",
    ),
    Shift(
        "Auckland, spring in September",
        "FREQ=DAILY",
        "2025-09-27T02:30:00",
        "Pacific/Auckland",
        "2025-09-27T02:30:00>02:30>14:30 2025-09-28T02:30:00>03:30>14:30 2025-09-29T02:30:00>02:30>13:30",
    ),
    Shift(
        "Sao Paulo, where midnight itself was left out",
        "FREQ=DAILY",
        "2018-11-03T00:00:00",
        "America/Sao_Paulo",
        "2018-11-03T00:00:00>00:00>03:00 2018-11-04T00:00:00>01:00>03:00 2018-11-05T00:00:00>00:00>02:00",
    ),
    Shift(
        "Apia, where a whole day was left out: it is the next day's",
        "FREQ=DAILY",
        "2011-12-29T09:00:00",
        "Pacific/Apia",
        "2011-12-29T09:00:00>09:00>19:00 2011-12-31T09:00:00>09:00>19:00",
    ),
]


@pytest.mark.parametrize("shift", SHIFTS, ids=lambda shift: shift.name)
def test_wall_clock_across_changes_of_the_clocks(shift: Shift) -> None:
    series = Series.read(
        shift.rule, shift.start, shift.zone, RecurrencePolicies.model_validate(shift.policies)
    )
    expected = shift.slots.split()
    found = occurrences(series, len(expected))
    assert [f"{one.key}>{one.local:%H:%M}>{one.utc:%H:%M}" for one in found] == expected
    assert all(one.utc.tzinfo is UTC for one in found)


def test_all_day_occurrences_are_dates_and_begin_with_their_local_day() -> None:
    series = Series.read("FREQ=DAILY", "2018-11-04", "America/Sao_Paulo")
    (first,) = occurrences(series, 1)
    assert first.local == date(2018, 11, 4)
    assert first.utc == datetime(2018, 11, 4, 3, tzinfo=UTC)  # 00:00 does not exist: the day begins at 01:00
    assert first.adjusted is None


@pytest.mark.parametrize(
    ("rule", "start", "sentences"),
    [
        (
            "FREQ=MONTHLY",
            "2025-03-31",
            [None, "31 April does not exist: moved to 30 April", None],
        ),
        (
            "FREQ=YEARLY",
            "2024-02-29",
            [None, "29 February does not exist in 2025: moved to 28 February"],
        ),
        ("FREQ=MONTHLY;BYMONTHDAY=30,31", "2025-04-01", [None, None, None]),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", "2025-02-01", [None, None]),
        (
            "FREQ=DAILY",
            "2025-03-29T02:30:00",
            [None, "02:30 does not exist on Sunday 30 March 2025: moved to 03:30", None],
        ),
        (
            "FREQ=MONTHLY;BYMONTHDAY=31;BYHOUR=2;BYMINUTE=30",
            "2025-04-01T00:00:00",
            ["31 April does not exist: moved to 30 April"],
        ),
    ],
)
def test_each_adjustment_is_said_in_a_sentence(rule: str, start: str, sentences: list[str | None]) -> None:
    found = occurrences(Series.read(rule, start, BERLIN), len(sentences))
    assert [one.adjusted for one in found] == sentences


NEVER = [
    ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "2025-01-01T09:00:00", True),
    ("FREQ=YEARLY;BYMONTH=2;BYYEARDAY=300", "2025-01-01T09:00:00", True),
    ("FREQ=DAILY;BYMONTH=4;BYMONTHDAY=31", "2025-01-01T09:00:00", True),
    ("FREQ=YEARLY;BYMONTH=12;BYDAY=20MO", "2025-01-01T09:00:00", True),
    ("FREQ=HOURLY;INTERVAL=2;BYHOUR=8", "2025-01-01T09:00:00", False),
    ("FREQ=MINUTELY;INTERVAL=60;BYMINUTE=7", "2025-01-01T09:00:00", False),
    ("FREQ=SECONDLY;INTERVAL=60;BYSECOND=7", "2025-01-01T09:00:00", False),
    ("FREQ=DAILY;BYHOUR=9;BYSETPOS=2", "2025-01-01T09:00:00", False),
    ("FREQ=MONTHLY;BYDAY=MO;BYMONTHDAY=1;BYSETPOS=2", "2025-01-01T09:00:00", False),
    ("FREQ=WEEKLY;BYDAY=MO;BYSETPOS=2", "2025-01-01T09:00:00", False),
]


@pytest.mark.parametrize(("rule", "start", "is_known"), NEVER)
def test_a_rule_that_never_matches_is_known_or_given_up(rule: str, start: str, is_known: bool) -> None:
    """Where few days are chosen the whole calendar is looked through: then it is over, not given up."""
    budget = Budget()
    series = Series.read(rule, start, BERLIN, RecurrencePolicies.model_validate(SKIP))
    assert occurrences(series, 1, budget=budget) == []
    assert budget.exhausted is not is_known


def test_a_placed_weekday_that_no_month_has_stands_beside_one_that_it_has() -> None:
    series = Series.read("FREQ=YEARLY;BYMONTH=12;BYDAY=1MO,20MO,-30MO", "2025-01-01", BERLIN)
    assert [one.key for one in occurrences(series, 2)] == ["2025-12-01", "2026-12-07"]


def test_the_seconds_that_the_clocks_leave_out_are_not_looked_through_for_each_other() -> None:
    every_second = Series.read("FREQ=SECONDLY", "2026-01-01T00:00:00", BERLIN)
    found = occurrences(every_second, 2, after="2026-03-29T01:59:58")
    assert [one.key for one in found] == ["2026-03-29T01:59:59", "2026-03-29T03:00:00"]
    seconds = ",".join(map(str, range(60)))
    in_the_gap = Series.read(f"FREQ=DAILY;BYHOUR=2;BYSECOND={seconds}", "2026-03-29T00:30:00", BERLIN)
    assert [f"{one.local:%H:%M:%S}" for one in occurrences(in_the_gap, 3)] == [
        "03:30:00",
        "03:30:01",
        "03:30:02",
    ]


def test_a_rule_that_matches_after_forty_years_is_found() -> None:
    rule = "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=SU"
    series = Series.read(rule, "2088-02-29", "UTC", RecurrencePolicies.model_validate(SKIP))
    # 2100 is no leap year, which breaks the cycle of 28.
    assert [one.key for one in occurrences(series, 2)] == ["2088-02-29", "2128-02-29"]


def test_no_more_than_a_hundred_are_given() -> None:
    assert len(occurrences(Series.read("FREQ=DAILY", "2025-01-01", BERLIN), 5_000)) == 100


@pytest.mark.parametrize("key", ["0001-01-01", "9999-12-31", "9999-12-31T23:59:59"])
def test_keys_at_the_ends_of_the_calendar_are_answered(key: str) -> None:
    found = occurrences(Series.read("FREQ=DAILY", "0001-01-01T00:00:00", "Asia/Tokyo"), 1, after=key)
    assert len(found) == (1 if key < "9" else 0)


def test_keys_of_the_other_form_use_up_their_day() -> None:
    timed = Series.read("FREQ=DAILY", "2025-01-01T09:00:00", BERLIN)
    assert occurrences(timed, 1, after="2025-03-24")[0].key == "2025-03-25T09:00:00"
    all_day = Series.read("FREQ=DAILY", "2025-01-01", BERLIN)
    assert occurrences(all_day, 1, after="2025-03-24T09:00:00")[0].key == "2025-03-25"


def test_an_all_day_series_takes_no_hours() -> None:
    with pytest.raises(RuleError):
        Series.read("FREQ=HOURLY", "2025-01-01", BERLIN)


def test_the_zone_is_the_databases_own() -> None:
    assert Series.read("FREQ=DAILY", "2025-01-01", BERLIN).zone == ZoneInfo(BERLIN)
