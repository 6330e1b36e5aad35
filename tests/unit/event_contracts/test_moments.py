"""Wall clock and instants, where the clock jumps."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_contracts.moments import before_due, due_instant, resolve


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("local", "instant"),
    [
        (datetime(2026, 1, 5, 9), utc(2026, 1, 5, 8)),
        (datetime(2026, 7, 5, 9), utc(2026, 7, 5, 7)),
        # 2026-03-29 02:30 does not exist in Berlin: it moves forward by the gap, to 03:30.
        (datetime(2026, 3, 29, 2, 30), utc(2026, 3, 29, 1, 30)),
        # 2026-10-25 02:30 comes twice: the first.
        (datetime(2026, 10, 25, 2, 30), utc(2026, 10, 25, 0, 30)),
    ],
)
def test_local_time_becomes_an_instant(local: datetime, instant: datetime) -> None:
    assert resolve(local, "Europe/Berlin") == instant


def test_an_all_day_task_is_due_at_the_start_of_the_day() -> None:
    assert due_instant(None, date(2026, 7, 5), "Europe/Berlin", time(8, 30)) == utc(2026, 7, 5, 6, 30)
    assert due_instant(utc(2026, 7, 5), None, "Europe/Berlin", time(8, 30)) == utc(2026, 7, 5)
    assert due_instant(None, None, "Europe/Berlin", time(8, 30)) is None


@pytest.mark.parametrize(
    ("offset", "instant"),
    [
        (timedelta(0), utc(2026, 3, 29, 7)),
        (timedelta(minutes=30), utc(2026, 3, 29, 6, 30)),
        # A day before 09:00 is 09:00 of the day before, though only 23 hours lie between.
        (timedelta(days=1), utc(2026, 3, 28, 8)),
        (timedelta(hours=23), utc(2026, 3, 28, 8)),
        (timedelta(days=1, hours=2), utc(2026, 3, 28, 6)),
    ],
)
def test_whole_days_before_due_are_wall_clock_days(offset: timedelta, instant: datetime) -> None:
    nine_in_berlin = utc(2026, 3, 29, 7)
    assert before_due(nine_in_berlin, offset, "Europe/Berlin") == instant


def test_an_exact_offset_from_the_second_of_two_equal_hours() -> None:
    second_half_past_two = utc(2026, 10, 25, 1, 30)
    assert before_due(second_half_past_two, timedelta(minutes=15), "Europe/Berlin") == utc(
        2026, 10, 25, 1, 15
    )


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)).map(lambda local: local.replace(tzinfo=UTC)),
    st.timedeltas(timedelta(0), timedelta(days=366)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_a_reminder_is_never_after_due_by_more_than_a_clock_change(
    due: datetime, offset: timedelta, zone: str
) -> None:
    fires = before_due(due, offset, zone)
    assert abs((due - offset) - fires) <= timedelta(hours=2)
