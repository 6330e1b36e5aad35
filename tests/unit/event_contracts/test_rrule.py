"""The rule grammar takes what RFC 5545 allows, refuses the rest by the part's name, and its text is canonical."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from event_contracts.rrule import (
    Frequency,
    RRuleText,
    RuleError,
    TaskRRuleText,
    Weekday,
    check_start,
    parse_rrule,
)

ACCEPTED = [
    ("FREQ=DAILY", "FREQ=DAILY"),
    ("rrule:freq=weekly;byday=we,mo", "FREQ=WEEKLY;BYDAY=MO,WE"),
    ("FREQ=DAILY;INTERVAL=1", "FREQ=DAILY"),
    ("FREQ=MONTHLY;BYDAY=-1FR;COUNT=12", "FREQ=MONTHLY;COUNT=12;BYDAY=-1FR"),
    ("FREQ=MONTHLY;BYMONTHDAY=-1,15,+1", "FREQ=MONTHLY;BYMONTHDAY=-1,1,15"),
    ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "FREQ=YEARLY;BYMONTHDAY=29;BYMONTH=2"),
    ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO;WKST=SU", "FREQ=YEARLY;BYDAY=MO;BYWEEKNO=20;WKST=SU"),
    ("FREQ=DAILY;UNTIL=20261224", "FREQ=DAILY;UNTIL=20261224"),
    ("FREQ=DAILY;UNTIL=19971224T000000Z", "FREQ=DAILY;UNTIL=19971224T000000Z"),
    ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2"),
]

REFUSED = [
    ("", "RRULE"),
    ("BYDAY=MO", "FREQ"),
    ("FREQ=FORTNIGHTLY", "FREQ"),
    ("FREQ=DAILY;FREQ=DAILY", "FREQ"),
    ("FREQ=DAILY;", "RRULE"),
    ("FREQ=DAILY;INTERVAL=0", "INTERVAL"),
    ("FREQ=DAILY;INTERVAL=99999", "INTERVAL"),
    ("FREQ=DAILY;INTERVAL=٢", "INTERVAL"),
    ("FREQ=DAILY;COUNT=0", "COUNT"),
    ("FREQ=DAILY;COUNT=-1", "COUNT"),
    ("FREQ=DAILY;COUNT=2;UNTIL=20260101", "UNTIL"),
    ("FREQ=DAILY;UNTIL=20260230", "UNTIL"),
    ("FREQ=DAILY;UNTIL=tomorrow", "UNTIL"),
    ("FREQ=WEEKLY;BYDAY=2MO", "BYDAY"),
    ("FREQ=WEEKLY;BYDAY=MONDAY", "BYDAY"),
    ("FREQ=MONTHLY;BYDAY=6MO", "BYDAY"),
    ("FREQ=MONTHLY;BYDAY=0MO", "BYDAY"),
    ("FREQ=YEARLY;BYWEEKNO=1;BYDAY=1MO", "BYDAY"),
    ("FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY"),
    ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY"),
    ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY"),
    ("FREQ=MONTHLY;BYYEARDAY=100", "BYYEARDAY"),
    ("FREQ=MONTHLY;BYWEEKNO=3", "BYWEEKNO"),
    ("FREQ=YEARLY;BYMONTH=13", "BYMONTH"),
    ("FREQ=DAILY;BYHOUR=24", "BYHOUR"),
    ("FREQ=DAILY;BYSETPOS=1", "BYSETPOS"),
    ("FREQ=DAILY;BYEASTER=1", "BYEASTER"),
    ("FREQ=DAILY;WKST=XX", "WKST"),
    ("FREQ=DAILY;" + "X" * 600, "RRULE"),
]


@pytest.mark.parametrize(("text", "canonical"), ACCEPTED)
def test_accepts_and_canonicalises(text: str, canonical: str) -> None:
    rule = parse_rrule(text)
    assert str(rule) == canonical
    assert parse_rrule(canonical) == rule


@pytest.mark.parametrize(("text", "part"), REFUSED)
def test_refuses_and_names_the_part(text: str, part: str) -> None:
    with pytest.raises(RuleError) as refused:
        parse_rrule(text)
    assert refused.value.part == part
    assert refused.value.message


@given(
    st.lists(
        st.sampled_from(
            [
                "FREQ=DAILY",
                "FREQ=MONTHLY",
                "COUNT=3",
                "BYDAY=MO,2TU",
                "BYMONTHDAY=31",
                "INTERVAL=2",
                "WKST=SU",
                "=",
                ";",
            ]
        )
        | st.text(max_size=12),
        max_size=8,
    )
)
def test_any_text_is_a_rule_or_a_rule_error(pieces: list[str]) -> None:
    try:
        rule = parse_rrule(";".join(pieces))
    except RuleError:
        return
    assert parse_rrule(str(rule)) == rule


def test_pydantic_error_points_at_the_part() -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(RRuleText).validate_python("FREQ=WEEKLY;BYDAY=2MO")
    (error,) = refused.value.errors()
    assert error["type"] == "rrule"
    assert error["msg"].startswith("BYDAY: ")


def test_tasks_recur_hourly_at_the_most_often() -> None:
    tasks = TypeAdapter(TaskRRuleText)
    assert tasks.validate_python("FREQ=HOURLY;INTERVAL=6") == "FREQ=HOURLY;INTERVAL=6"
    with pytest.raises(ValidationError, match="HOURLY"):
        tasks.validate_python("FREQ=MINUTELY")
    assert TypeAdapter(RRuleText).validate_python("FREQ=MINUTELY") == "FREQ=MINUTELY"


@pytest.mark.parametrize("text", ["FREQ=HOURLY", "FREQ=DAILY;BYHOUR=9", "FREQ=DAILY;BYMINUTE=0,30"])
def test_an_all_day_series_has_no_time_of_day(text: str) -> None:
    rule = parse_rrule(text)
    check_start(rule, "2026-03-23T09:00:00")
    with pytest.raises(RuleError):
        check_start(rule, "2026-03-23")


def test_weekdays_count_like_python() -> None:
    assert [day.number for day in Weekday] == list(range(7))
    assert parse_rrule("FREQ=WEEKLY").wkst is Weekday.MO
    assert parse_rrule("FREQ=WEEKLY").freq is Frequency.WEEKLY
