"""What a reminder says of its task's due, and of coming late."""

from __future__ import annotations

from datetime import date, timedelta
from gettext import NullTranslations

import pytest
from tests.unit.notifier.samples import START, message, occurrence

from notifier.domain.occurrences import occurrence_in
from notifier.domain.timing import LATE
from notifier.domain.wording import message_of


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
def test_a_reminder_that_could_not_come_in_time_says_how_late_it_is(late: timedelta, said: str) -> None:
    told = message(late=late)
    on_time = message()
    assert told.body == f"{on_time.body} This reminder comes {said} late."
    assert told.late == late
    assert message(late=late, due_at=None).body.endswith(f" This reminder comes {said} late.")


def test_what_is_not_late_has_no_word_on_it() -> None:
    told = message()
    assert (told.late, "late" in told.body) == (None, False)


def test_a_new_occurrence_is_not_late() -> None:
    task = occurrence()
    made = occurrence_in(task)
    assert made is not None
    told = message_of(made, task, NullTranslations(), 2 * LATE)
    assert (told.late, "late" in told.body) == (None, False)
