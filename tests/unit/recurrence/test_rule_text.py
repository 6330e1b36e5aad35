"""Rules in plain English."""

from __future__ import annotations

import pytest

from event_contracts.series import RecurrencePolicies
from recurrence.domain.rule_text import describe
from recurrence.domain.series import Series
from recurrence.domain.words import listed, ordinal

TEXTS = [
    ("FREQ=DAILY", "Every day"),
    ("FREQ=DAILY;INTERVAL=2", "Every 2 days"),
    ("FREQ=WEEKLY", "Every week on Friday"),
    ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH", "Every 2 weeks on Monday and Thursday"),
    ("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", "Every weekday"),
    ("FREQ=MONTHLY", "Every month on the 31st or else the month's last day"),
    ("FREQ=MONTHLY;BYMONTHDAY=1,15", "Every month on the 1st and 15th"),
    ("FREQ=MONTHLY;BYMONTHDAY=-1", "Every month on the last day"),
    ("FREQ=MONTHLY;BYMONTHDAY=-2", "Every month on the 2nd last day"),
    ("FREQ=MONTHLY;INTERVAL=3;BYDAY=2TU", "Every 3 months on the 2nd Tuesday"),
    ("FREQ=MONTHLY;BYDAY=-1FR", "Every month on the last Friday"),
    ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "Every month on the last weekday"),
    ("FREQ=MONTHLY;BYDAY=TU,TH;BYSETPOS=3", "Every month on Tuesday and Thursday, of these the 3rd"),
    ("FREQ=YEARLY", "Every year on 31 January"),
    ("FREQ=YEARLY;BYMONTH=11;BYDAY=4TH", "Every year on the 4th Thursday in November"),
    ("FREQ=YEARLY;BYDAY=20MO", "Every year on the 20th Monday of the year"),
    ("FREQ=YEARLY;BYMONTH=3,9;BYMONTHDAY=1", "Every year on the 1st in March and September"),
    ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "Every year on Monday in week 20"),
    ("FREQ=YEARLY;BYYEARDAY=100,-1", "Every year on the last day and day 100 of the year"),
    ("FREQ=DAILY;BYMONTH=1", "Every day in January"),
    ("FREQ=DAILY;BYHOUR=9,18", "Every day at 09:00 and 18:00"),
    ("FREQ=DAILY;BYSECOND=15,45", "Every day at 09:00:15 and 09:00:45"),
    ("FREQ=DAILY;BYHOUR=9;BYMINUTE=30;BYSECOND=0,60", "Every day at 09:30:00"),
    ("FREQ=DAILY;BYSECOND=60", "Every day at leap seconds alone"),
    (
        "FREQ=DAILY;BYHOUR=9,10;BYMINUTE=0,30;BYSECOND=0,30",
        "Every day at 09:00:00, 09:00:30, 09:30:00, 09:30:30, 10:00:00, 10:00:30 and 2 more times",
    ),
    ("FREQ=HOURLY;BYMINUTE=15,45;BYSECOND=30", "Every hour at the minutes 15 and 45 at the second 30"),
    ("FREQ=HOURLY;BYHOUR=9;BYSECOND=5,60", "Every hour in the hours 09 at the second 05"),
    ("FREQ=MINUTELY;BYSECOND=60", "Every minute at leap seconds alone"),
    ("FREQ=HOURLY;INTERVAL=6", "Every 6 hours"),
    ("FREQ=HOURLY;BYHOUR=9,10", "Every hour in the hours 09 and 10"),
    ("FREQ=DAILY;COUNT=5", "Every day, 5 times"),
    ("FREQ=DAILY;COUNT=1", "Every day, once"),
    ("FREQ=DAILY;UNTIL=20261224T170000Z", "Every day, until 24 December 2026"),
]


@pytest.mark.parametrize(("rule", "text"), TEXTS)
def test_text_of_a_rule(rule: str, text: str) -> None:
    assert describe(Series.read(rule, "2025-01-31T09:00:00", "Europe/Berlin")) == text


def test_skipping_month_ends_says_nothing_of_a_last_day() -> None:
    series = Series.read(
        "FREQ=MONTHLY", "2025-01-31", "UTC", RecurrencePolicies.model_validate({"month_end": "skip"})
    )
    assert describe(series) == "Every month on the 31st"


def test_counted_from_completion_the_start_fills_in_nothing() -> None:
    series = Series.read(
        "FREQ=MONTHLY", "2025-01-31", "UTC", RecurrencePolicies.model_validate({"anchor": "completion"})
    )
    assert describe(series) == "Every month"


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (11, "11th"),
        (12, "12th"),
        (13, "13th"),
        (21, "21st"),
        (112, "112th"),
        (-1, "last"),
        (-3, "3rd last"),
    ],
)
def test_ordinals(number: int, word: str) -> None:
    assert ordinal(number) == word


def test_long_lists_are_cut() -> None:
    assert listed([str(number) for number in range(10)]) == "0, 1, 2, 3, 4, 5, 6 and 3 more"
