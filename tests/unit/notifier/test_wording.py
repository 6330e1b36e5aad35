"""What a reminder says of its task's due."""

from __future__ import annotations

from datetime import date

from tests.unit.notifier.samples import START, message


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
