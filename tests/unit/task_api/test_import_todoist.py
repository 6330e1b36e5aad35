"""Todoist's CSV as tasks, and its dates in words."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_contracts.values import Priority
from task_api.entrypoints.http import import_items
from task_api.entrypoints.http.import_items import Reading, UnreadableFile
from task_api.entrypoints.http.import_todoist import read_todoist
from task_api.entrypoints.http.todoist_dates import first_slot, read_date, read_phrase

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)  # a Monday, 10:00 in Berlin
ZONE = "Europe/Berlin"
COLUMNS = "TYPE,CONTENT,DESCRIPTION,PRIORITY,INDENT,AUTHOR,RESPONSIBLE,DATE,DATE_LANG,TIMEZONE"


def read(*rows: str) -> Reading:
    return read_todoist("\r\n".join([COLUMNS, *rows, ""]).encode("utf-8-sig"), ZONE, NOW)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2026-03-01", date(2026, 3, 1)),
        ("2026-03-01 09:30", datetime(2026, 3, 1, 9, 30)),
        ("2026-03-01T09:30:00", datetime(2026, 3, 1, 9, 30)),
        ("1 Mar 2026", date(2026, 3, 1)),
        ("1 Mar 2026 9:00", datetime(2026, 3, 1, 9)),
        ("March 1st, 2026 at 9pm", datetime(2026, 3, 1, 21)),
        ("Mar 1 2026 12am", datetime(2026, 3, 1, 0)),
        ("31 Feb 2026", None),
        ("1 Mar 2026 25:00", None),
        ("1 Mar 2026 13pm", None),
        ("tomorrow", None),
        ("", None),
    ],
)
def test_a_date(said: str, meant: date | None) -> None:
    assert read_date(said) == meant


@pytest.mark.parametrize(
    ("said", "rrule", "first"),
    [
        ("every day", "FREQ=DAILY", date(2026, 1, 5)),
        ("daily", "FREQ=DAILY", date(2026, 1, 5)),
        ("every day at 9", "FREQ=DAILY", datetime(2026, 1, 6, 9)),
        ("every day at 10:30", "FREQ=DAILY", datetime(2026, 1, 5, 10, 30)),
        ("Every Day at 9pm", "FREQ=DAILY", datetime(2026, 1, 5, 21)),
        ("ev 3 days", "FREQ=DAILY;INTERVAL=3", date(2026, 1, 5)),
        ("every other week", "FREQ=WEEKLY;INTERVAL=2", date(2026, 1, 5)),
        ("every weekday", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", date(2026, 1, 5)),
        ("every friday", "FREQ=WEEKLY;BYDAY=FR", date(2026, 1, 9)),
        ("every fri, tue and wed at 8:00", "FREQ=WEEKLY;BYDAY=TU,WE,FR", datetime(2026, 1, 6, 8)),
        ("every month", "FREQ=MONTHLY", date(2026, 1, 5)),
        ("every 31st", "FREQ=MONTHLY;BYMONTHDAY=31", date(2026, 1, 31)),
        ("every last day", "FREQ=MONTHLY;BYMONTHDAY=-1", date(2026, 1, 31)),
        ("every 29 feb", "FREQ=YEARLY;BYMONTHDAY=29;BYMONTH=2", date(2028, 2, 29)),
        ("every march 1st", "FREQ=YEARLY;BYMONTHDAY=1;BYMONTH=3", date(2026, 3, 1)),
        ("yearly", "FREQ=YEARLY", date(2026, 1, 5)),
    ],
)
def test_a_recurrence_in_words(said: str, rrule: str, first: date) -> None:
    phrase = read_phrase(said)
    assert phrase is not None
    assert phrase.rrule == rrule
    assert first_slot(phrase, NOW, ZONE) == first


@pytest.mark.parametrize(
    "said",
    [
        "every full moon",
        "every 0 days",
        "every",
        "today",
        "every day at noon",
        "every 32nd",
        "every mon until may",
        "jeden Tag",
    ],
)
def test_what_is_not_clear_is_not_guessed(said: str) -> None:
    assert read_phrase(said) is None


def test_an_exclamation_mark_counts_from_completion() -> None:
    phrase = read_phrase("every! 3 days at 9")
    assert phrase is not None
    assert (phrase.after_completion, phrase.rrule, phrase.at) == (True, "FREQ=DAILY;INTERVAL=3", time(9))


def test_a_whole_file() -> None:
    reading = read(
        'task,"Buy milk, eggs @shop @week",details,1,1,Ada (1),,2026-03-01,en,Asia/Tokyo',
        "note,remember the bag,,,,,,,,",
        ",,,,,,,,,",
        "section,Later,,,,,,,,",
        "task,Call mum@home,,4,2,,,every sunday at 18:00,en,",
        "task,Sing,,,1,,,when it rains,en,",
    )
    assert reading.failed == []
    milk, call, sing = (draft.request for draft in reading.drafts)
    assert (milk.title, milk.tags, milk.priority) == ("Buy milk, eggs", ("shop", "week"), Priority.URGENT)
    assert (milk.description, milk.due_date, milk.timezone) == (
        "details\n\nremember the bag", date(2026, 3, 1), "Asia/Tokyo",
    )  # fmt: skip
    assert (call.title, call.tags, call.priority) == ("Call mum@home", (), Priority.LOW)
    assert call.due_at == datetime(2026, 1, 11, 17, tzinfo=UTC)
    assert call.recurrence is not None
    assert call.metadata == {"todoist": {"section": "Later", "indent": 2}}
    assert sing.description == "Date: when it rains"
    assert [(item, "when it rains" in sentence) for item, sentence in reading.warnings] == [("line 7", True)]


def test_the_same_words_twice_are_two_tasks_and_stay_them_when_they_move() -> None:
    once = {draft.key for draft in read("task,Sing", "task,Sing", "task,Dance").drafts}
    again = {draft.key for draft in read("task,Dance", "task,Sing", "task,Sing").drafts}
    assert once == again
    assert len(once) == 3


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("task,Sing,,7,1,,,,,", "priority"),
        ("task,Sing,,1,1,,,2026-03-01,en,Nowhere", "time zone"),
        (f"task,Sing @{'x' * 51},,1,1,,,,,", "labels"),
        ("note,nobody's,,,,,,,,", "no task"),
    ],
)
def test_what_is_not_kept_is_told(row: str, sentence: str) -> None:
    ((item, said),) = read(row).warnings
    assert item == "line 2"
    assert sentence in said


def test_a_file_of_too_many_tasks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_items, "ITEMS_MAX", 3)
    assert len(read("task,a", "task,b", "task,c").drafts) == 3
    with pytest.raises(UnreadableFile, match="more than 3 tasks"):
        read("task,a", "task,b", "task,c", "task,d")


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"a,b\n1,2\n", b'TYPE,CONTENT\ntask,"open\n'])
def test_a_file_that_is_none(body: bytes) -> None:
    with pytest.raises(UnreadableFile):
        read_todoist(body, ZONE, NOW)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.text(max_size=20) | st.sampled_from(["task", "note"]), max_size=12), max_size=5))
def test_nothing_breaks_it(rows: Any) -> None:
    written = [",".join('"' + cell.replace('"', '""') + '"' for cell in ["task", *row]) for row in rows]
    try:
        read(*written)
    except UnreadableFile as error:
        assert "CSV" in str(error)  # noqa: PT017
