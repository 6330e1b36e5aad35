"""Which dates a rule gives: a table worked out by hand, from the calendar and the tz database."""

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


@dataclass(frozen=True)
class Case:
    """`keys` are the first occurrences of `rule` from `start`; all of them when `ends`."""

    name: str
    rule: str
    start: str
    keys: str
    zone: str = BERLIN
    ends: bool = False
    policies: dict[str, Any] = field(default_factory=dict)
    exdates: tuple[str, ...] = ()


SKIP = {"month_end": "skip"}

CASES = [
    Case("every day", "FREQ=DAILY", "2025-02-27", "2025-02-27 2025-02-28 2025-03-01"),
    Case("every third day", "FREQ=DAILY;INTERVAL=3", "2025-02-27", "2025-02-27 2025-03-02 2025-03-05"),
    Case("leap day is a day like others", "FREQ=DAILY", "2024-02-28", "2024-02-28 2024-02-29 2024-03-01"),
    Case(
        "working days",
        "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
        "2025-01-30",
        "2025-01-30 2025-01-31 2025-02-03",
    ),
    Case("weekly on the start's day", "FREQ=WEEKLY", "2025-01-30", "2025-01-30 2025-02-06 2025-02-13"),
    Case(
        "start off the grid is no occurrence",
        "FREQ=WEEKLY;BYDAY=MO",
        "2025-01-30",
        "2025-02-03 2025-02-10",
    ),
    # RFC 5545, 3.3.10: the same rule with another WKST, its own example.
    Case(
        "fortnightly, weeks begin on Monday",
        "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO",
        "1997-08-05",
        "1997-08-05 1997-08-10 1997-08-19 1997-08-24",
        ends=True,
    ),
    Case(
        "fortnightly, weeks begin on Sunday",
        "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU",
        "1997-08-05",
        "1997-08-05 1997-08-17 1997-08-19 1997-08-31",
        ends=True,
    ),
    Case(
        "second Tuesday",
        "FREQ=MONTHLY;BYDAY=2TU",
        "2025-01-01",
        "2025-01-14 2025-02-11 2025-03-11 2025-04-08",
    ),
    Case("last Friday", "FREQ=MONTHLY;BYDAY=-1FR", "2025-01-01", "2025-01-31 2025-02-28 2025-03-28"),
    Case(
        "fifth Monday, only where there is one",
        "FREQ=MONTHLY;BYDAY=5MO",
        "2025-01-01",
        "2025-03-31 2025-06-30 2025-09-29",
    ),
    Case(
        "last working day",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
        "2025-05-01",
        "2025-05-30 2025-06-30 2025-07-31 2025-08-29",
    ),
    Case(
        "second working day, the start's own month being over",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=2",
        "2025-05-15",
        "2025-06-03 2025-07-02 2025-08-04",
    ),
    Case(
        "BYSETPOS counts the whole first week",
        "FREQ=WEEKLY;BYDAY=MO,WE,FR;BYSETPOS=2",
        "2025-05-15",  # a Thursday: this week's second is the Wednesday before it
        "2025-05-21 2025-05-28",
    ),
    Case(
        "BYSETPOS of hours",
        "FREQ=DAILY;BYHOUR=8,12,18;BYSETPOS=-1",
        "2025-05-15T09:00:00",
        "2025-05-15T18:00:00 2025-05-16T18:00:00",
    ),
    Case(
        "31st, clamped",
        "FREQ=MONTHLY",
        "2025-01-31",
        "2025-01-31 2025-02-28 2025-03-31 2025-04-30 2025-05-31",
    ),
    Case(
        "31st, clamped in a leap year",
        "FREQ=MONTHLY",
        "2024-01-31",
        "2024-01-31 2024-02-29 2024-03-31 2024-04-30",
    ),
    Case("31st, skipped", "FREQ=MONTHLY", "2025-01-31", "2025-01-31 2025-03-31 2025-05-31", policies=SKIP),
    Case("30th, clamped", "FREQ=MONTHLY", "2025-01-30", "2025-01-30 2025-02-28 2025-03-30 2025-04-30"),
    Case("30th, skipped", "FREQ=MONTHLY", "2025-01-30", "2025-01-30 2025-03-30", policies=SKIP),
    Case("29th, clamped", "FREQ=MONTHLY", "2025-01-29", "2025-01-29 2025-02-28 2025-03-29"),
    Case("29th in a leap year", "FREQ=MONTHLY", "2024-01-29", "2024-01-29 2024-02-29 2024-03-29"),
    Case(
        "days that clamping makes equal are one",
        "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31",
        "2025-02-01",
        "2025-02-28 2025-03-28 2025-03-29 2025-03-30 2025-03-31 2025-04-28 2025-04-29 2025-04-30 2025-05-28",
    ),
    Case(
        "last day of the month",
        "FREQ=MONTHLY;BYMONTHDAY=-1",
        "2025-01-01",
        "2025-01-31 2025-02-28 2025-03-31",
    ),
    Case(
        "COUNT counts what clamping left",
        "FREQ=MONTHLY;BYMONTHDAY=30,31;COUNT=4",
        "2025-01-01",
        "2025-01-30 2025-01-31 2025-02-28 2025-03-30",
        ends=True,
    ),
    Case(
        "every second month on the 31st",
        "FREQ=MONTHLY;INTERVAL=2",
        "2024-12-31",
        "2024-12-31 2025-02-28 2025-04-30 2025-06-30 2025-08-31",
    ),
    Case(
        "quarterly on the last day of May and on",
        "FREQ=MONTHLY;INTERVAL=3",
        "2025-05-31",
        "2025-05-31 2025-08-31 2025-11-30 2026-02-28 2026-05-31",
    ),
    Case(
        "every 18 months",
        "FREQ=MONTHLY;INTERVAL=18",
        "2024-08-31",
        "2024-08-31 2026-02-28 2027-08-31 2029-02-28",
    ),
    Case(
        "29 February, clamped",
        "FREQ=YEARLY",
        "2024-02-29",
        "2024-02-29 2025-02-28 2026-02-28 2027-02-28 2028-02-29",
    ),
    Case(
        "29 February, skipped across 2100",
        "FREQ=YEARLY",
        "2092-02-29",
        "2092-02-29 2096-02-29 2104-02-29",
        policies=SKIP,
    ),
    Case(
        "29 February every fourth year, clamped in 2100",
        "FREQ=YEARLY;INTERVAL=4",
        "2096-02-29",
        "2096-02-29 2100-02-28 2104-02-29",
    ),
    Case(
        "day filter of a daily rule is clamped too",
        "FREQ=DAILY;BYMONTHDAY=31",
        "2025-01-01",
        "2025-01-31 2025-02-28 2025-03-31",
    ),
    Case(
        "Friday the 13th",
        "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13",
        "2025-01-01",
        "2025-06-13 2026-02-13 2026-03-13",
    ),
    Case(
        "fourth Thursday of November",
        "FREQ=YEARLY;BYMONTH=11;BYDAY=4TH",
        "2024-01-01",
        "2024-11-28 2025-11-27 2026-11-26",
    ),
    Case(
        "20th Monday of the year", "FREQ=YEARLY;BYDAY=20MO", "1997-05-19", "1997-05-19 1998-05-18 1999-05-17"
    ),
    Case(
        "100th and last but one day of the year",
        "FREQ=YEARLY;BYYEARDAY=100,-2",
        "2024-01-01",
        "2024-04-09 2024-12-30 2025-04-10 2025-12-30",
    ),
    Case(
        "Monday of week 20",
        "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO",
        "1997-05-12",
        "1997-05-12 1998-05-11 1999-05-17",
    ),
    Case("week 20 on the start's weekday", "FREQ=YEARLY;BYWEEKNO=20", "2025-05-16", "2025-05-16 2026-05-15"),
    Case(
        "quarter ends as months",
        "FREQ=YEARLY;BYMONTH=3,6,9,12;BYMONTHDAY=31",
        "2025-01-01",
        "2025-03-31 2025-06-30 2025-09-30 2025-12-31 2026-03-31",
    ),
    Case(
        "UNTIL on the day is in",
        "FREQ=DAILY;UNTIL=20250203",
        "2025-02-01",
        "2025-02-01 2025-02-02 2025-02-03",
        ends=True,
    ),
    Case(
        "UNTIL as a date takes the whole local day",
        "FREQ=DAILY;UNTIL=20250202",
        "2025-02-01T23:30:00",
        "2025-02-01T23:30:00 2025-02-02T23:30:00",
        ends=True,
    ),
    Case(
        "UNTIL in UTC is an instant",  # 09:00 in Berlin is 08:00 UTC
        "FREQ=DAILY;UNTIL=20250203T080000Z",
        "2025-02-01T09:00:00",
        "2025-02-01T09:00:00 2025-02-02T09:00:00 2025-02-03T09:00:00",
        ends=True,
    ),
    Case(
        "UNTIL in UTC one second earlier",
        "FREQ=DAILY;UNTIL=20250203T075959Z",
        "2025-02-01T09:00:00",
        "2025-02-01T09:00:00 2025-02-02T09:00:00",
        ends=True,
    ),
    Case(
        "UNTIL in local time",
        "FREQ=HOURLY;UNTIL=20250201T110000",
        "2025-02-01T09:00:00",
        "2025-02-01T09:00:00 2025-02-01T10:00:00 2025-02-01T11:00:00",
        ends=True,
    ),
    Case("COUNT", "FREQ=WEEKLY;COUNT=3", "2025-02-01", "2025-02-01 2025-02-08 2025-02-15", ends=True),
    Case(
        "COUNT counts excluded slots",
        "FREQ=DAILY;COUNT=4",
        "2025-02-01",
        "2025-02-01 2025-02-03 2025-02-04",
        ends=True,
        exdates=("2025-02-02",),
    ),
    Case(
        "exdates of a clamped slot name the day it fell on",
        "FREQ=MONTHLY",
        "2025-01-31",
        "2025-01-31 2025-03-31 2025-04-30",
        exdates=("2025-02-28",),
    ),
    Case(
        "every five hours across midnight",
        "FREQ=HOURLY;INTERVAL=5",
        "2025-02-01T18:30:00",
        "2025-02-01T18:30:00 2025-02-01T23:30:00 2025-02-02T04:30:00",
    ),
    Case(
        "hours of an hourly rule",
        "FREQ=HOURLY;BYHOUR=9,10;BYMINUTE=0,30",
        "2025-02-01T09:15:00",
        "2025-02-01T09:30:00 2025-02-01T10:00:00 2025-02-01T10:30:00 2025-02-02T09:00:00",
    ),
    Case(
        "twice a day",
        "FREQ=DAILY;BYHOUR=9,18",
        "2025-02-01T09:00:00",
        "2025-02-01T09:00:00 2025-02-01T18:00:00 2025-02-02T09:00:00",
    ),
    Case(
        "minutes, for the preview",
        "FREQ=MINUTELY;INTERVAL=90",
        "2025-02-01T23:00:00",
        "2025-02-01T23:00:00 2025-02-02T00:30:00 2025-02-02T02:00:00",
    ),
    Case(
        "seconds, for the preview",
        "FREQ=SECONDLY;INTERVAL=45",
        "2025-02-01T23:59:00",
        "2025-02-01T23:59:00 2025-02-01T23:59:45 2025-02-02T00:00:30",
    ),
]


def _series(case: Case) -> Series:
    return Series.read(
        case.rule, case.start, case.zone, RecurrencePolicies.model_validate(case.policies), case.exdates
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_dates_of_a_rule(case: Case) -> None:
    expected = case.keys.split()
    count = len(expected) + (5 if case.ends else 0)
    assert [one.key for one in occurrences(_series(case), count)] == expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_asking_from_a_key_on_gives_the_rest(case: Case) -> None:
    expected = case.keys.split()
    found = occurrences(_series(case), len(expected) - 1, after=expected[0])
    assert [one.key for one in found] == expected[1:]


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
    ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "2025-01-01T09:00:00"),
    ("FREQ=YEARLY;BYMONTH=2;BYYEARDAY=300", "2025-01-01T09:00:00"),
    ("FREQ=DAILY;BYMONTH=4;BYMONTHDAY=31", "2025-01-01T09:00:00"),
    ("FREQ=HOURLY;INTERVAL=2;BYHOUR=8", "2025-01-01T09:00:00"),
    ("FREQ=MINUTELY;INTERVAL=60;BYMINUTE=7", "2025-01-01T09:00:00"),
    ("FREQ=SECONDLY;INTERVAL=60;BYSECOND=7", "2025-01-01T09:00:00"),
    ("FREQ=MONTHLY;BYDAY=MO;BYMONTHDAY=1;BYSETPOS=2", "2025-01-01T09:00:00"),
]


@pytest.mark.parametrize(("rule", "start"), NEVER)
def test_a_rule_that_never_matches_is_given_up(rule: str, start: str) -> None:
    budget = Budget()
    series = Series.read(rule, start, BERLIN, RecurrencePolicies.model_validate(SKIP))
    assert occurrences(series, 1, budget=budget) == []
    assert budget.exhausted


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
