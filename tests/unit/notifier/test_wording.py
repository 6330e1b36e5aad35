"""What a reminder says of its task's due, and of coming late."""

from __future__ import annotations

from datetime import date, timedelta
from gettext import NullTranslations

import pytest
from tests.unit.notifier.samples import (
    START,
    later,
    message,
    notification,
    occurrence,
    reminder,
    snapshot,
)

from notifier.domain.occurrences import occurrence_in
from notifier.domain.timing import LATE
from notifier.domain.wording import message_of, reminder_message


def test_a_due_instant_is_told_in_the_tasks_zone() -> None:
    told = message(due_at=START, timezone="America/New_York")
    assert told.body == "Due on Monday, 5 January 2026 at 04:00 (America/New_York)."
    assert told.due == "2026-01-05T09:00:00Z"


def test_an_all_day_due_has_no_time() -> None:
    told = message(due_at=None, due_date=date(2026, 12, 31))
    assert told.body == "Due on Thursday, 31 December 2026."
    assert told.due == "2026-12-31"


def test_a_task_without_due_says_so() -> None:
    told = message(due_at=None)
    assert told.body == "You asked to be reminded of this task."
    assert told.due is None


@pytest.mark.parametrize(
    ("late", "said"),
    [
        (LATE + timedelta(seconds=1), "15 min"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=2, minutes=5), "2 h 5 min"),
        (timedelta(days=1, minutes=59), "1 day"),
        (timedelta(days=3, hours=4, minutes=5), "3 days 4 h"),
    ],
)
def test_a_reminder_that_could_not_fire_in_time_says_how_late_it_is(late: timedelta, said: str) -> None:
    told = message(late=late)
    on_time = message()
    assert told.body == f"{on_time.body} This reminder comes {said} late."
    assert told.late == late
    assert message(late=late, due_at=None).body.endswith(f" This reminder comes {said} late.")
    told = message(late=late + timedelta(milliseconds=999))
    assert told.late == late, "whole seconds"


@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=5), LATE, None])
def test_a_little_late_or_nobody_knows_is_not_worth_a_word(late: timedelta | None) -> None:
    told = message(late=late)
    assert told.late is None
    assert "late" not in told.body


def test_one_that_was_set_when_its_time_was_past_is_late_from_then_on() -> None:
    """A day before the due, set two hours before it: it fires at once, as it should."""
    set_at = START + timedelta(hours=22)
    task = snapshot(due_at=START + timedelta(days=1), reminders=(reminder(set_at=set_at),))
    assert message(task, late=timedelta(hours=22, seconds=1)).late is None
    told = message(task, late=timedelta(hours=23))
    assert told.late == timedelta(hours=1)
    assert told.body.endswith(" This reminder comes 1 h late.")


def test_how_late_is_not_known_of_a_reminder_that_is_gone() -> None:
    task = snapshot()
    told = reminder_message(notification(task, late=2 * LATE), later(task, reminders=()), NullTranslations())
    assert told.late is None


def test_a_new_occurrence_is_not_late() -> None:
    task = occurrence()
    made = occurrence_in(task)
    assert made is not None
    told = message_of(made, task, NullTranslations())
    assert (told.late, "late" in told.body) == (None, False)
