"""The people's notes: dates of series, and for which moments a reminder was wanted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from tests.chaos.model import LONG_ENOUGH, Every, Rule, Series, Status, Task, Wanted

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("every", "start", "dues"),
    [
        (Every.DAY, date(2026, 3, 28), ["2026-03-28T08", "2026-03-29T07", "2026-03-30T07"]),
        (Every.WEEK, date(2026, 10, 18), ["2026-10-18T07", "2026-10-25T08", "2026-11-01T08"]),
        (Every.MONTH, date(2026, 1, 31), ["2026-01-31T08", "2026-02-28T08", "2026-03-31T07"]),
        (Every.MONTH, date(2027, 12, 31), ["2027-12-31T08", "2028-01-31T08", "2028-02-29T08"]),
    ],
    ids=["over the change to summer time", "and back", "a short month", "a leap year"],
)
def test_dates_keep_the_wall_clock_and_the_last_of_the_month(
    every: Every, start: date, dues: list[str]
) -> None:
    rule = Rule(every, start, 9, "Europe/Berlin")
    assert [f"{rule.due(slot):%Y-%m-%dT%H}" for slot in range(3)] == dues


def _task(series: Series | None = None, slot: int = 0) -> Task:
    task = Task(f"t{slot}", "ada", NOW, 1, _wanted(5), series, slot)
    task.acknowledge(task.wanted, 1, NOW, "created")
    return task


def _wanted(seconds: int) -> Wanted:
    return Wanted("Feed the cat", "medium", Status.OPEN, {"r": NOW + timedelta(seconds=seconds)})


def test_a_reminder_that_was_moved_away_and_back_is_wanted_again() -> None:
    task = _task()
    first, second = ("r", NOW + timedelta(seconds=5)), ("r", NOW + timedelta(seconds=9))
    task.acknowledge(_wanted(9), 2, NOW + timedelta(seconds=1), "updated")
    assert list(task.must_not_be_heard()) == [first]
    assert list(task.must_be_heard(NOW + timedelta(seconds=60))) == [second]
    task.acknowledge(_wanted(5), 3, NOW + timedelta(seconds=2), "updated")
    assert list(task.must_not_be_heard()) == [second]
    assert list(task.must_be_heard(NOW + timedelta(seconds=60))) == [first]
    assert list(task.must_be_heard(NOW + timedelta(seconds=4))) == [], "not yet"


@pytest.mark.parametrize(
    ("wanted_since", "asked", "acknowledged", "owed"),
    [(0, 96, 96, True), (0, 94, 96, False), (0, 94, 94, False), (7, 96, 96, False)],
    ids=["long after", "maybe done before", "soon after", "long after its time, not after it was wanted"],
)
def test_what_is_given_up_long_after_its_time_must_have_been_heard(
    wanted_since: int, asked: int, acknowledged: int, owed: bool
) -> None:
    task = Task("t", "ada", NOW, 1, _wanted(5))
    task.acknowledge(task.wanted, 1, NOW + timedelta(seconds=wanted_since), "created")
    at, since = (NOW + timedelta(seconds=one) for one in (acknowledged, asked))
    task.acknowledge(_wanted(300), 2, at, "updated", since)
    assert task.must_be_heard(at) == ({("r", NOW + timedelta(seconds=5))} if owed else set())
    assert not task.still_wanted(at)


def test_what_is_owed_stays_so_when_it_is_wanted_again_and_given_up_soon() -> None:
    task, late = _task(), 5 + int(LONG_ENOUGH.total_seconds())
    for version, (fire, seconds) in enumerate(((900, late + 1), (5, late + 2), (900, late + 3)), start=2):
        task.acknowledge(_wanted(fire), version, NOW + timedelta(seconds=seconds), "updated")
    assert task.must_be_heard(NOW + timedelta(seconds=200)) == {("r", NOW + timedelta(seconds=5))}


def test_an_instance_that_is_opened_again_takes_those_after_it_away() -> None:
    series = Series("s", Rule(Every.DAY, date(2026, 3, 3), 9, "UTC"))
    first, second = _task(series), _task(series, 1)
    series.instances += [first, second]
    first.acknowledge(replace(first.wanted, status=Status.COMPLETED), 2, NOW, "completed")
    series.withdraw_after(first, NOW)
    assert series.tip is first
    assert second.wanted.status is Status.WITHDRAWN
    assert not list(second.must_be_heard(NOW + timedelta(days=1)))
