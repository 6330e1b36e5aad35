"""What the schedule makes of a series whose instances pile up, at a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_contracts.series import RecurrencePolicies
from recurrence.domain.budget import Budget, ExpansionBoundError
from recurrence.domain.schedule import Scheduled, makes_by_schedule, scheduled
from recurrence.domain.series import Series

WEEKLY = ("FREQ=WEEKLY;BYDAY=MO", "2025-03-03T09:00:00")
DAILY = ("FREQ=DAILY", "2025-03-01")
HOURLY = ("FREQ=HOURLY", "2025-03-01T09:00:00")
NONE = timedelta()


def _series(rule: tuple[str, str], **policies: Any) -> Series:
    return Series.read(
        *rule, "Europe/Berlin", RecurrencePolicies.model_validate({"pile_up": "allow", **policies})
    )


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _keys(found: Scheduled | None) -> list[str]:
    assert found is not None
    return [one.occurrence_key[:10] for one in found.made]


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ({"pile_up": "allow"}, True),
        ({"pile_up": "wait"}, False),
        ({"pile_up": "allow", "anchor": "completion"}, False),
    ],
)
def test_dates_alone_make_instances_only_where_they_pile_up_on_a_grid(
    policies: dict[str, str], expected: bool
) -> None:
    assert makes_by_schedule(RecurrencePolicies.model_validate(policies)) is expected


def test_nothing_comes_before_its_date_and_it_comes_at_it() -> None:
    series = _series(WEEKLY)
    before = scheduled(series, "2025-03-24T09:00:00", NONE, _at("2025-03-31T06:59:59"))
    assert before == Scheduled(_at("2025-03-31T07:00:00"), ())
    assert _keys(scheduled(series, "2025-03-24T09:00:00", NONE, before.at)) == ["2025-03-31"]


def test_an_all_day_one_comes_as_its_day_begins() -> None:
    found = scheduled(_series(DAILY), "2025-03-30", NONE, _at("2025-03-30T12:00"))
    assert found == Scheduled(_at("2025-03-30T22:00:00"), ())


def test_reminders_have_it_come_ahead_and_several_when_they_are_far_ahead() -> None:
    series = _series(WEEKLY)
    found = scheduled(series, "2025-03-24T09:00:00", timedelta(days=10), _at("2025-03-24T07:00:00"))
    assert found is not None
    assert found.at == _at("2025-03-21T07:00:00")
    assert _keys(found) == ["2025-03-31"]
    found = scheduled(series, "2025-03-24T09:00:00", timedelta(days=16), _at("2025-03-24T08:00:00"))
    assert _keys(found) == ["2025-03-31", "2025-04-07"]


def test_next_future_passes_over_what_the_next_has_caught_up_with() -> None:
    found = scheduled(_series(WEEKLY), "2025-03-03T09:00:00", NONE, _at("2025-03-26T08:00:00"))
    assert _keys(found) == ["2025-03-24"]
    assert found is not None
    assert found.made[0].sentence == (
        "Every week on Monday: next after 2025-03-03 is Monday 24 March 2025 at 09:00 (Europe/Berlin). "
        "It comes by its date and waits for no other. 2 overdue dates were passed over."
    )
    assert _keys(scheduled(_series(HOURLY), "2025-03-01T09:00:00", NONE, _at("2026-03-01T08:00:01"))) == [
        "2026-03-01"
    ]


def test_after_many_the_search_goes_on_near_the_moment() -> None:
    found = scheduled(_series(HOURLY), "2025-03-01T09:00:00", NONE, _at("2033-06-12T08:30:00"))
    assert found is not None
    (one,) = found.made
    assert one.occurrence_key == "2033-06-12T10:00:00"
    assert "More than 1000 overdue dates were passed over." in one.sentence


def test_catch_up_makes_each_in_turn_fifty_at_once() -> None:
    series = _series(DAILY, overdue="catch_up")
    now = _at("2025-06-30T12:00:00")
    made: list[str] = []
    for expected in (50, 50, 21, 0):
        found = scheduled(series, made[-1] if made else "2025-03-01", NONE, now)
        assert len(_keys(found)) == expected
        made += _keys(found)
    assert made[0] == "2025-03-02"
    assert made[-1] == "2025-06-30"
    assert made == sorted(set(made))


@pytest.mark.parametrize("overdue", ["next_future", "catch_up"])
def test_what_fell_into_a_pause_is_not_made_up_for(overdue: str) -> None:
    series = _series(WEEKLY, overdue=overdue)
    resumed_at = _at("2025-03-24T12:00:00")
    assert scheduled(
        series, "2025-03-03T09:00:00", NONE, _at("2025-03-26T08:00:00"), resumed_at
    ) == Scheduled(_at("2025-03-31T07:00:00"), ())
    assert _keys(scheduled(series, "2025-03-03T09:00:00", NONE, _at("2025-04-08T08:00:00"), resumed_at)) == (
        ["2025-04-07"] if overdue == "next_future" else ["2025-03-31", "2025-04-07"]
    )


def test_a_series_that_is_over_gives_nothing_and_a_search_that_is_given_up_is_another_thing() -> None:
    over = _series(("FREQ=WEEKLY;COUNT=2", "2025-03-03T09:00:00"))
    assert scheduled(over, "2025-03-10T09:00:00", NONE, _at("2026-01-01")) is None
    last = scheduled(over, "2025-03-03T09:00:00", NONE, _at("2026-01-01"))
    assert _keys(last) == ["2025-03-10"]
    never = _series(("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "2025-03-03T09:00:00"), month_end="skip")
    assert scheduled(never, "2025-03-03T09:00:00", NONE, _at("2026-01-01")) is None
    costly = _series(("FREQ=WEEKLY;BYDAY=MO;BYSETPOS=2", "2025-03-03T09:00:00"))
    with pytest.raises(ExpansionBoundError):
        scheduled(costly, "2025-03-03T09:00:00", NONE, _at("2026-01-01"))


@pytest.mark.parametrize("overdue", ["next_future", "catch_up"])
def test_what_is_found_before_the_search_is_given_up_comes(overdue: str) -> None:
    """A small budget finds the first date, not the one after it: asked again from there it goes on."""
    series = _series(("FREQ=YEARLY;INTERVAL=40", "2025-03-03T09:00:00"), overdue=overdue)
    found = scheduled(series, "2025-03-03T09:00:00", NONE, _at("2300-01-01"), None, Budget(1_560))
    assert _keys(found) == ["2065-03-03"]


@pytest.mark.parametrize("overdue", ["next_future", "catch_up"])
def test_a_pause_of_years_is_not_walked_through(overdue: str) -> None:
    series = _series(HOURLY, overdue=overdue)
    resumed_at = _at("2034-03-24T12:30:00")
    found = scheduled(series, "2025-03-03T09:00:00", NONE, resumed_at, resumed_at)
    assert found == Scheduled(_at("2034-03-24T13:00:00"), ())


@given(
    rule=st.sampled_from([WEEKLY, DAILY, HOURLY, ("FREQ=MONTHLY;BYMONTHDAY=31", "2025-03-31T02:30:00")]),
    overdue=st.sampled_from(["next_future", "catch_up"]),
    steps=st.lists(st.timedeltas(timedelta(minutes=1), timedelta(days=40)), min_size=1, max_size=8),
    ahead=st.sampled_from([NONE, timedelta(hours=3), timedelta(days=9)]),
)
def test_keys_rise_none_comes_early_and_catching_up_leaves_none_out(
    rule: tuple[str, str], overdue: str, steps: list[timedelta], ahead: timedelta
) -> None:
    """Whenever it is asked: catching up makes the same chain as asking at the end, the other policy a part of it."""
    series = _series(rule, overdue=overdue)
    now, key = _at("2025-03-31T00:00:00"), series.key_of(series.start)
    asked: list[str] = [key]
    for step in steps:
        now += step
        found = scheduled(series, asked[-1], ahead, now)
        assert found is not None
        assert len(found.made) <= 50
        assert bool(found.made) is (found.at <= now)
        asked += [one.occurrence_key for one in found.made]
    assert asked == sorted(set(asked))
    patient = _series(rule, overdue="catch_up")
    every = [key]
    while len(every) < len(asked) or every[-1] < asked[-1]:
        found = scheduled(patient, every[-1], ahead, now)
        assert found is not None
        if not found.made:
            break
        every += [one.occurrence_key for one in found.made]
    assert set(asked) <= set(every)
    if overdue == "catch_up":
        assert asked == every[: len(asked)]
