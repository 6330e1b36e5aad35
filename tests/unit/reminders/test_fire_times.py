"""When a reminder fires: wall-clock days, exact hours, all-day tasks, clock changes, and what was past when set."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from tests.unit.reminders.conftest import START, reminder, snapshot

from event_contracts.moments import is_past_when_set


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "due", "offset", "fires"),
    [
        ("Europe/Berlin", "2026-03-30T07:00", timedelta(minutes=30), "2026-03-30T06:30"),
        # Sunday 29 March 2026: the clocks go forward in between; Sunday nine o'clock is still nine o'clock.
        ("Europe/Berlin", "2026-03-30T07:00", timedelta(days=1), "2026-03-29T07:00"),
        ("Europe/Berlin", "2026-03-29T07:00", timedelta(days=1), "2026-03-28T08:00"),
        ("Europe/Berlin", "2026-03-29T07:00", timedelta(hours=12), "2026-03-28T19:00"),
        ("Europe/Berlin", "2026-03-29T07:00", timedelta(days=1, hours=2), "2026-03-28T06:00"),
        # A day before 02:30 on the 30th is a time that does not exist: it moves forward by the gap.
        ("Europe/Berlin", "2026-03-30T00:30", timedelta(days=1), "2026-03-29T01:30"),
        # October: 02:30 comes twice on the 25th; the first is meant.
        ("Europe/Berlin", "2026-10-26T01:30", timedelta(days=1), "2026-10-25T00:30"),
        ("Australia/Lord_Howe", "2026-04-04T22:30", timedelta(days=1), "2026-04-03T22:00"),
        ("Asia/Kolkata", "2026-05-02T03:30", timedelta(days=7), "2026-04-25T03:30"),
        ("America/New_York", "2026-11-02T14:00", timedelta(days=1), "2026-11-01T14:00"),
        ("America/New_York", "2026-11-01T14:00", timedelta(days=1), "2026-10-31T13:00"),
    ],
)
def test_offset_before_a_due_instant(zone: str, due: str, offset: timedelta, fires: str) -> None:
    one = reminder(offset=offset)
    task = snapshot(timezone=zone, due_at=utc(due), reminders=(one,))
    assert task.fire_time(one) == utc(fires)


@pytest.mark.parametrize(
    ("zone", "day_start", "fires"),
    [
        ("Europe/Berlin", time(9), "2026-03-29T07:00"),
        ("Asia/Kolkata", time(7, 30), "2026-03-29T02:00"),
        ("Pacific/Auckland", time(9), "2026-03-28T20:00"),
        ("Europe/Berlin", time(2, 30), "2026-03-29T01:30"),
    ],
)
def test_all_day_tasks_count_from_day_start(zone: str, day_start: time, fires: str) -> None:
    one = reminder(offset=timedelta(0))
    task = snapshot(
        timezone=zone, due_at=None, due_date=date(2026, 3, 29), day_start=day_start, reminders=(one,)
    )
    assert task.fire_time(one) == task.due == utc(fires)


def test_absolute_and_snoozed() -> None:
    at, snoozed = utc("2026-02-01T10:00"), utc("2026-02-01T11:00")
    assert snapshot(due_at=None).fire_time(reminder(at=at)) == at
    assert snapshot().fire_time(reminder(at=at, snoozed_until=snoozed)) == snoozed


def test_an_offset_without_a_due_never_fires() -> None:
    assert snapshot(due_at=None).fire_time(reminder(offset=timedelta(hours=1))) is None


@pytest.mark.parametrize(
    ("fire_after_set", "due_after_set", "is_missed"),
    [
        (1, 2, False),
        (0, 1, False),
        (-1, 1, False),
        (0, 0, True),
        (-1, -1, True),
        (-1, None, True),
        (1, None, False),
    ],
)
def test_missed_is_judged_by_when_it_was_set(
    fire_after_set: int, due_after_set: int | None, is_missed: bool
) -> None:
    due = None if due_after_set is None else START + timedelta(seconds=due_after_set)
    assert is_past_when_set(START + timedelta(seconds=fire_after_set), START, due) is is_missed
