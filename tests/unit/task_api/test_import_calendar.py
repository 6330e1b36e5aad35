"""VTODOs of other programs, and our own feed, as tasks."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.task_api.test_calendar_text import recurring, task, words

from event_contracts.values import Priority, TaskStatus
from task_api.application.calendar_feed import Dated
from task_api.application.import_tasks import Draft
from task_api.application.intake import ReminderRequest
from task_api.domain.task import Reminder
from task_api.entrypoints.http.calendar_text import calendar_text
from task_api.entrypoints.http.import_calendar import read_calendar
from task_api.entrypoints.http.import_items import Reading, UnreadableFile

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
ZONE = "Europe/Berlin"


def read(*lines: str, ends: str = "\r\n") -> Reading:
    """A calendar with one VTODO of these lines."""
    whole = ["BEGIN:VCALENDAR", "VERSION:2.0", "BEGIN:VTODO", *lines, "END:VTODO", "END:VCALENDAR", ""]
    return read_calendar(ends.join(whole).encode(), ZONE, NOW)


def one(*lines: str) -> Draft:
    reading = read("UID:u", "SUMMARY:s", *lines)
    assert reading.failed == []
    assert reading.warnings == []
    (draft,) = reading.drafts
    return draft


@pytest.mark.parametrize(
    ("line", "due"),
    [
        ("DUE;VALUE=DATE:20260301", (None, date(2026, 3, 1), None)),
        ("DUE:20260301", (None, date(2026, 3, 1), None)),
        ("DUE:20260301T090000Z", (datetime(2026, 3, 1, 9, tzinfo=UTC), None, ZONE)),
        ("DUE:20260301T090000", (datetime(2026, 3, 1, 8, tzinfo=UTC), None, ZONE)),
        ("DUE;TZID=Asia/Tokyo:20260301T090000", (datetime(2026, 3, 1, tzinfo=UTC), None, "Asia/Tokyo")),
        ('DUE;TZID="Asia/Tokyo":20260301T090000', (datetime(2026, 3, 1, tzinfo=UTC), None, "Asia/Tokyo")),
        (
            "DUE;TZID=/freeassociation.sourceforge.net/Asia/Tokyo:20260301T090000",
            (datetime(2026, 3, 1, tzinfo=UTC), None, "Asia/Tokyo"),
        ),
        (
            "DUE;TZID=Tokyo Standard Time:20260301T090000",
            (datetime(2026, 3, 1, tzinfo=UTC), None, "Asia/Tokyo"),
        ),
        ("DTSTART:20260301T090000Z\r\nDURATION:PT1H", (datetime(2026, 3, 1, 10, tzinfo=UTC), None, ZONE)),
        ("DTSTART:20260301T090000Z", (None, None, None)),
    ],
)
def test_a_due(line: str, due: Any) -> None:
    request = one(line).request
    assert (request.due_at, request.due_date, request.timezone) == due


@pytest.mark.parametrize(
    ("number", "priority"),
    [
        (0, "medium"),
        (1, "urgent"),
        (2, "urgent"),
        (3, "high"),
        (4, "high"),
        (5, "medium"),
        (6, "low"),
        (9, "low"),
    ],
)
def test_a_priority(number: int, priority: str) -> None:
    assert one(f"PRIORITY:{number}").request.priority is Priority(priority)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([], "pending"),
        (["STATUS:NEEDS-ACTION"], "pending"),
        (["STATUS:IN-PROCESS"], "in_progress"),
        (["STATUS:COMPLETED"], "completed"),
        (["COMPLETED:20260101T080000Z"], "completed"),
        (["PERCENT-COMPLETE:100"], "completed"),
        (["STATUS:CANCELLED", "COMPLETED:20260101T080000Z"], "archived"),
    ],
)
def test_a_status(lines: list[str], status: str) -> None:
    assert one(*lines).request.status is TaskStatus(status)


def test_texts_and_tags() -> None:
    reading = read(
        "UID:u", "SUMMARY:a\\, b\\; c", "DESCRIPTION:fol", " ded\\nhttps://x.org/?q=1%2C2", "CATEGORIES:a\\,b,c",
        "CATEGORIES:c,d",
    )  # fmt: skip
    (draft,) = reading.drafts
    assert draft.request.title == "a, b; c"
    assert draft.request.description == "folded\nhttps://x.org/?q=1%2C2"
    assert draft.request.tags == ("a,b", "c", "d")


DUE = "DUE:20260301T090000Z"


@pytest.mark.parametrize(
    ("due", "trigger", "reminder"),
    [
        (DUE, "TRIGGER:-PT30M", ReminderRequest(offset=timedelta(minutes=30))),
        (DUE, "TRIGGER;RELATED=END:-P1DT2H", ReminderRequest(offset=timedelta(days=1, hours=2))),
        (DUE, "TRIGGER:PT0S", ReminderRequest(offset=timedelta())),
        (DUE, "TRIGGER:PT30M", ReminderRequest(at=datetime(2026, 3, 1, 9, 30, tzinfo=UTC))),
        (
            DUE,
            "TRIGGER;VALUE=DATE-TIME:20260228T080000Z",
            ReminderRequest(at=datetime(2026, 2, 28, 8, tzinfo=UTC)),
        ),
        (
            f"DTSTART:20260301T080000Z\r\n{DUE}",
            "TRIGGER:-PT30M",
            ReminderRequest(offset=timedelta(minutes=90)),
        ),
        (
            "DUE;VALUE=DATE:20260301",
            "TRIGGER:-PT15H",
            ReminderRequest(at=datetime(2026, 2, 28, 8, tzinfo=UTC)),
        ),
    ],
)
def test_an_alarm(due: str, trigger: str, reminder: ReminderRequest) -> None:
    draft = one(due, "BEGIN:VALARM", "ACTION:DISPLAY", trigger, "END:VALARM")
    assert draft.request.reminders == (reminder,)


def test_a_rule_and_what_ends_it() -> None:
    recurrence = one("DUE;VALUE=DATE:20260131", "RRULE:FREQ=MONTHLY").request.recurrence
    assert recurrence is not None
    assert (recurrence.rrule, recurrence.policies.month_end) == ("FREQ=MONTHLY", "skip")
    assert one("DUE;VALUE=DATE:20260131", "RRULE:FREQ=MONTHLY", "STATUS:COMPLETED").request.recurrence is None


@pytest.mark.parametrize(
    ("lines", "words_of_it"),
    [
        (["RRULE:FREQ=DAILY"], "no due"),
        (["DUE;VALUE=DATE:20260131", "RRULE:FREQ=SOMETIMES"], "FREQ=SOMETIMES"),
        (["DUE;VALUE=DATE:20260131", "RRULE:FREQ=HOURLY"], "HOURLY"),
        (["DUE:20260131T090000Z", "RRULE:FREQ=MINUTELY"], "MINUTELY"),
        (["DUE:tomorrow"], "tomorrow"),
        (["DUE:20261399"], "20261399"),
        (["DUE;TZID=Nowhere/Else:20260301T090000"], "Nowhere/Else"),
        (["PRIORITY:highest"], "highest"),
        (["STATUS:ODD"], "ODD"),
        (["BEGIN:VALARM", "TRIGGER:-PT5M", "END:VALARM"], "alarm"),
        ([DUE, "BEGIN:VALARM", "TRIGGER:soon", "END:VALARM"], "soon"),
        ([DUE, "BEGIN:VALARM", "TRIGGER:P99999999D", "END:VALARM"], "beyond"),
        ([DUE, "BEGIN:VALARM", "TRIGGER:20269999T000000Z", "END:VALARM"], "20269999"),
        (["DTSTART:20260101T000000Z", "DURATION:-P9999999D"], "beyond"),
        (["CATEGORIES:" + "x" * 51], "categories"),
        ([DUE, "RRULE:FREQ=DAILY", "EXDATE:20260302T090000Z"], "left out"),
    ],
)
def test_what_is_not_kept_is_told_and_the_task_is_there(lines: list[str], words_of_it: str) -> None:
    reading = read("UID:u", "SUMMARY:s", *lines)
    assert len(reading.drafts) == 1
    ((item, sentence),) = reading.warnings
    assert item == "u"
    assert words_of_it in sentence


def test_one_without_a_name_is_refused() -> None:
    reading = read("UID:u")
    assert [(item, error.field) for item, error in reading.failed] == [("u", "title")]


def test_the_key_is_the_uid_or_else_what_is_written() -> None:
    assert one().key == "ics:u"
    first, second = read("SUMMARY:a").drafts, read("SUMMARY:a", ends="\n").drafts
    assert first[0].key == second[0].key != read("SUMMARY:b").drafts[0].key


@pytest.mark.parametrize("body", [b"", b"hello", b"\xff\xfe"])
def test_a_file_that_is_none(body: bytes) -> None:
    with pytest.raises(UnreadableFile):
        read_calendar(body, ZONE, NOW)


ODD_LINES = [
    "BEGIN:VCALENDAR",
    "BEGIN:VTODO",
    "END:VTODO",
    "BEGIN:VALARM",
    "END:VALARM",
    "END:VCALENDAR",
    "UID:1",
    "SUMMARY:s",
    DUE,
    "DUE;TZID=:20260101T000000",
    "DUE:99991231T235959",
    "DTSTART:00010101",
    "DURATION:-P9999999D",
    "RRULE:FREQ=DAILY",
    "TRIGGER:-PT5M",
    "TRIGGER:P99999999D",
    "TRIGGER;VALUE=DATE-TIME:20269999T000000Z",
]


def test_a_task_in_a_task_is_none() -> None:
    inner = (
        "BEGIN:VALARM",
        "BEGIN:VTODO",
        "UID:2",
        "SUMMARY:inner",
        "END:VTODO",
        "TRIGGER:-PT5M",
        "END:VALARM",
    )
    assert one(DUE, *inner).request.reminders == (ReminderRequest(offset=timedelta(minutes=5)),)


@settings(max_examples=200, deadline=None)
@given(st.text() | st.lists(st.sampled_from(ODD_LINES)).map("\n".join))
def test_nothing_breaks_it(document: str) -> None:
    with suppress(UnreadableFile):
        read_calendar(f"BEGIN:VCALENDAR\nBEGIN:VTODO\n{document}".encode(errors="replace"), ZONE, NOW)


@settings(max_examples=100, deadline=None)
@given(
    title=words.map(str.strip).filter(bool),
    description=words,
    tag=words.map(lambda word: word[:50].strip()).filter(bool),
)
def test_our_own_feed_comes_back(title: str, description: str, tag: str) -> None:
    reminder = Reminder(task().id, NOW, offset=timedelta(days=1, minutes=5))
    ours = task(
        title=title, description=description, tags=(tag,), priority=Priority.HIGH, reminders=(reminder,)
    )
    reading = read_calendar(calendar_text([Dated(ours)], time(9)).encode(), ZONE, NOW)
    if reading.failed:  # nothing was left of a text of control characters
        return
    (draft,) = reading.drafts
    assert draft.same_as == ours.id
    assert draft.request.due_at == ours.due_at
    assert draft.request.priority is Priority.HIGH
    assert draft.request.reminders == (ReminderRequest(offset=reminder.offset),)
    if title.isprintable():
        assert draft.request.title == title


def test_the_rule_of_our_own_feed_comes_back() -> None:
    item = recurring("FREQ=WEEKLY;BYDAY=MO", task())
    (draft,) = read_calendar(calendar_text([item], time(9)).encode(), ZONE, NOW).drafts
    assert draft.request.recurrence is not None
    assert draft.request.recurrence.rrule == "FREQ=WEEKLY;BYDAY=MO"
