"""Quiet hours follow the person's wall clock, whatever clocks do, and always end."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from notifier.domain.timing import QuietHours, is_too_late

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietHours(time(22), time(7))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-01-05T20:59:59", None),
        ("2026-01-05T21:00:00", "2026-01-06T06:00:00"),
        ("2026-01-06T05:59:59", "2026-01-06T06:00:00"),
        ("2026-01-06T06:00:00", None),
        # Clocks go forward in this night, and back in that one.
        ("2026-03-28T22:00:00", "2026-03-29T05:00:00"),
        ("2026-10-24T21:00:00", "2026-10-25T06:00:00"),
    ],
)
def test_a_night_in_berlin(now: str, end: str | None) -> None:
    assert NIGHT.end(utc(now), BERLIN) == (None if end is None else utc(end))


def test_a_quiet_noon() -> None:
    noon = QuietHours(time(12), time(14))
    assert noon.end(utc("2026-01-05T11:30:00"), BERLIN) == utc("2026-01-05T13:00:00")
    assert noon.end(utc("2026-01-05T13:00:00"), BERLIN) is None


def test_an_end_that_the_change_skips_or_repeats() -> None:
    night = QuietHours(time(22), time(2, 30))
    assert night.end(utc("2026-03-28T22:00:00"), BERLIN) == utc("2026-03-29T01:30:00")
    assert night.end(utc("2026-10-24T22:00:00"), BERLIN) == utc("2026-10-25T00:30:00")
    # 02:30 was; at 02:00 the clock shows 02:00 again.
    assert night.end(utc("2026-10-25T00:45:00"), BERLIN) is None
    assert night.end(utc("2026-10-25T01:10:00"), BERLIN) == utc("2026-10-25T01:30:00")


@example(now=utc("2024-03-30T23:30:00"), start=time(2, 0, 0, 1), until=time(2, fold=1), zone="Europe/Berlin")
@given(
    now=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    start=st.times(),
    until=st.times(),
    zone=st.sampled_from(
        [
            "Europe/Berlin",
            "America/New_York",
            "Australia/Lord_Howe",
            "Asia/Kolkata",
            "Antarctica/Troll",
            "UTC",
        ]
    ),
)
def test_they_always_end_in_a_moment_that_is_not_quiet(
    now: datetime, start: time, until: time, zone: str
) -> None:
    hours, where = QuietHours(start, until), ZoneInfo(zone)
    end = hours.end(now, where)
    assume(end is not None)
    assert end is not None
    assert now < end < now + timedelta(hours=27)
    again = hours.end(end, where)
    assert again is None or again > end


def test_late_is_what_the_person_calls_late() -> None:
    now = utc("2026-01-05T09:00:00")
    hour = timedelta(hours=1)
    assert not is_too_late(now - hour, now, None)
    assert not is_too_late(now - hour, now, hour)
    assert is_too_late(now - hour - timedelta(seconds=1), now, hour)
