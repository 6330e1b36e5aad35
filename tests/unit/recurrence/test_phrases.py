"""Recurrences in words."""

from __future__ import annotations

from datetime import time

import pytest

from event_contracts.rrule import RuleError
from recurrence.domain.phrases import PhraseError, read_phrase

WORKDAYS = "MO,TU,WE,TH,FR"
RULES = [
    ("every day", "FREQ=DAILY"),
    ("Daily", "FREQ=DAILY"),
    ("each day", "FREQ=DAILY"),
    ("every 3 days", "FREQ=DAILY;INTERVAL=3"),
    ("every other day", "FREQ=DAILY;INTERVAL=2"),
    ("every three weeks", "FREQ=WEEKLY;INTERVAL=3"),
    ("every fortnight", "FREQ=WEEKLY;INTERVAL=2"),
    ("every weekday", f"FREQ=WEEKLY;BYDAY={WORKDAYS}"),
    ("every weekend", "FREQ=WEEKLY;BYDAY=SA,SU"),
    ("every Monday and Thursday", "FREQ=WEEKLY;BYDAY=MO,TH"),
    ("every mon, wed and fri", "FREQ=WEEKLY;BYDAY=MO,WE,FR"),
    ("every other tuesday", "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU"),
    ("every 2 weeks on monday, thursday", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH"),
    ("every month", "FREQ=MONTHLY"),
    ("quarterly", "FREQ=MONTHLY;INTERVAL=3"),
    ("every 2nd month on the 15th", "FREQ=MONTHLY;INTERVAL=2;BYMONTHDAY=15"),
    ("every month on the last day", "FREQ=MONTHLY;BYMONTHDAY=-1"),
    ("every month on the 1st and 15th", "FREQ=MONTHLY;BYMONTHDAY=1,15"),
    ("on the 31st of every month", "FREQ=MONTHLY;BYMONTHDAY=31"),
    ("the first Monday of each month", "FREQ=MONTHLY;BYDAY=1MO"),
    ("every first and last friday of the month", "FREQ=MONTHLY;BYDAY=-1FR,1FR"),
    ("every second to last monday of the month", "FREQ=MONTHLY;BYDAY=-2MO"),
    ("every 2nd weekday of the month", f"FREQ=MONTHLY;BYDAY={WORKDAYS};BYSETPOS=2"),
    ("the last working day of the month", f"FREQ=MONTHLY;BYDAY={WORKDAYS};BYSETPOS=-1"),
    ("every year", "FREQ=YEARLY"),
    ("every year on 24 December", "FREQ=YEARLY;BYMONTHDAY=24;BYMONTH=12"),
    ("every december 24th", "FREQ=YEARLY;BYMONTHDAY=24;BYMONTH=12"),
    ("every 4th thursday in november", "FREQ=YEARLY;BYDAY=4TH;BYMONTH=11"),
    ("every 6 hours", "FREQ=HOURLY;INTERVAL=6"),
    ("every day for 10 times", "FREQ=DAILY;COUNT=10"),
    ("every week, 3 times", "FREQ=WEEKLY;COUNT=3"),
    ("every friday until 2026-12-31.", "FREQ=WEEKLY;UNTIL=20261231;BYDAY=FR"),
    ("every day at 9 and 18", "FREQ=DAILY;BYMINUTE=0;BYHOUR=9,18"),
]


@pytest.mark.parametrize(("text", "rule"), RULES)
def test_words_and_their_rule(text: str, rule: str) -> None:
    assert str(read_phrase(text).rule) == rule
    assert read_phrase(f"  {text.upper()} ").rule == read_phrase(text).rule


@pytest.mark.parametrize(
    ("words", "at"),
    [
        ("9", time(9)),
        ("9:30", time(9, 30)),
        ("21:05", time(21, 5)),
        ("5pm", time(17)),
        ("12 am", time(0)),
        ("12pm", time(12)),
        ("noon", time(12)),
        ("midnight", time(0)),
    ],
)
def test_a_time_of_day_is_the_starts(words: str, at: time) -> None:
    phrase = read_phrase(f"every monday at {words}, 4 times")
    assert (str(phrase.rule), phrase.at) == ("FREQ=WEEKLY;COUNT=4;BYDAY=MO", at)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        ("tomorrow", "tomorrow"),
        ("every", "every"),
        ("every munday", "munday"),
        ("every day on monday", "on monday"),
        ("every year on easter", "on easter"),
        ("every first friday and last monday of the month", "first friday"),
        ("every 3rd moon of the month", "moon"),
        ("every month on the payday", "the payday"),
        ("every day at 25", "25"),
        ("every day at 13pm", "13pm"),
        ("every day at 9:00 and 18:30", "9:00 and 18:30"),
    ],
)
def test_what_is_not_understood_is_named(text: str, words: str) -> None:
    with pytest.raises(PhraseError) as caught:
        read_phrase(text)
    assert caught.value.words == words


@pytest.mark.parametrize("text", ["every month on the 99th", "every day until 2026-02-30", "every 0 days"])
def test_a_rule_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(RuleError):
        read_phrase(text)
