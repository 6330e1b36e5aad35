"""What may be asked for: dues that go together with reminders and rules, reminders by id."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest

from event_contracts.values import Channel
from task_api.application.intake import (
    ReminderRequest,
    begin_series,
    check_due,
    check_whole,
    merge_reminders,
)
from task_api.domain.errors import DueInPast, InvalidTask
from task_api.domain.series import Recurrence
from task_api.domain.task import Reminder, Task

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)
TASK = Task(uuid4(), uuid4(), 1, 1, "Water the plants", "Pacific/Auckland", NOW, NOW)


def test_a_due_instant_may_not_be_over() -> None:
    check_due(NOW, None, "UTC", NOW)
    with pytest.raises(DueInPast):
        check_due(NOW - timedelta(seconds=1), None, "UTC", NOW)


def test_a_due_date_is_over_when_its_day_is_in_the_zone() -> None:
    late = datetime(2026, 1, 5, 12, tzinfo=UTC)  # already the 6th in Auckland
    check_due(None, date(2026, 1, 5), "Europe/Berlin", late)
    with pytest.raises(DueInPast) as refused:
        check_due(None, date(2026, 1, 5), "Pacific/Auckland", late)
    assert refused.value.field == "due_date"


def test_an_offset_needs_a_due() -> None:
    before_due = Reminder(uuid4(), NOW, HALF_HOUR)
    check_whole(replace(TASK, reminders=(Reminder(uuid4(), NOW, at=NOW),)))
    check_whole(replace(TASK, due_at=NOW, reminders=(before_due,)))
    with pytest.raises(InvalidTask) as refused:
        check_whole(replace(TASK, reminders=(Reminder(uuid4(), NOW, at=NOW), before_due)))
    assert (refused.value.field, refused.value.code) == ("reminders.1.offset", "due_required")


def test_a_series_needs_a_due() -> None:
    with pytest.raises(InvalidTask):
        check_whole(replace(TASK, series_id=uuid4(), occurrence_key="2026-01-05"))
    with pytest.raises(InvalidTask):
        check_whole(replace(TASK, due_at=NOW, due_date=NOW.date()))
    with pytest.raises(InvalidTask):
        begin_series(TASK, Recurrence("FREQ=DAILY"), NOW)


def test_a_series_starts_at_the_local_due() -> None:
    timed = begin_series(replace(TASK, due_at=NOW), Recurrence("FREQ=DAILY"), NOW)
    assert (timed.start, timed.timezone, timed.is_all_day) == (
        "2026-01-05T22:00:00",
        "Pacific/Auckland",
        False,
    )
    all_day = begin_series(replace(TASK, due_date=date(2026, 1, 5)), Recurrence("FREQ=DAILY"), NOW)
    assert (all_day.start, all_day.is_all_day) == ("2026-01-05", True)


def test_an_all_day_series_has_no_hours() -> None:
    with pytest.raises(InvalidTask, match="HOURLY") as refused:
        begin_series(replace(TASK, due_date=date(2026, 1, 5)), Recurrence("FREQ=HOURLY"), NOW)
    assert refused.value.field == "recurrence.rrule"


def test_reminders_are_merged_by_id() -> None:
    kept = Reminder(uuid4(), NOW, HALF_HOUR, snoozed_until=NOW, fired_for=NOW)
    gone = Reminder(uuid4(), NOW, HALF_HOUR)
    merged = merge_reminders(
        [ReminderRequest(at=NOW), ReminderRequest(kept.id, HALF_HOUR, channels=(Channel.EMAIL,))],
        [gone, kept],
        NOW + HALF_HOUR,
    )
    assert [reminder.at for reminder in merged] == [NOW, None]
    assert merged[0].set_at == NOW + HALF_HOUR
    assert merged[1] == replace(kept, channels=(Channel.EMAIL,))


def test_a_reminder_of_another_task_is_refused() -> None:
    known = Reminder(uuid4(), NOW, HALF_HOUR)
    with pytest.raises(InvalidTask) as refused:
        merge_reminders([ReminderRequest(uuid4(), HALF_HOUR)], [known], NOW)
    assert refused.value.field == "reminders.0.id"
    with pytest.raises(InvalidTask):
        merge_reminders([ReminderRequest(known.id, HALF_HOUR)] * 2, [known], NOW)


def test_a_reminder_without_id_is_the_one_that_says_the_same() -> None:
    rang = Reminder(uuid4(), NOW, HALF_HOUR, channels=(Channel.EMAIL,), acknowledged_at=NOW, fired_for=NOW)
    at = Reminder(uuid4(), NOW, at=NOW)
    asked = [ReminderRequest(at=NOW), ReminderRequest(offset=HALF_HOUR, channels=(Channel.EMAIL,))]
    assert merge_reminders(asked, [rang, at], NOW + HALF_HOUR) == (at, rang)
    (other,) = merge_reminders([ReminderRequest(offset=HALF_HOUR)], [rang, at], NOW + HALF_HOUR)
    both = Reminder(uuid4(), NOW, HALF_HOUR, channels=(Channel.EMAIL, Channel.PUSH))
    turned = ReminderRequest(offset=HALF_HOUR, channels=(Channel.PUSH, Channel.EMAIL))
    assert merge_reminders([turned], [both], NOW + HALF_HOUR) == (both,), "in whatever order"
    assert other.id not in {rang.id, at.id}, "other channels, another reminder"


def test_each_of_two_equal_reminders_is_taken_once() -> None:
    one, two = Reminder(uuid4(), NOW, HALF_HOUR), Reminder(uuid4(), NOW, HALF_HOUR)
    same = ReminderRequest(offset=HALF_HOUR)
    assert merge_reminders([same, same], [one, two], NOW) == (one, two)
    first, second = merge_reminders([same, same], [one], NOW)
    assert (first, second.id == one.id) == (one, False)
    # What another item names by its id is that item's, wherever it stands.
    first, second = merge_reminders([same, ReminderRequest(one.id, HALF_HOUR)], [one], NOW)
    assert (first.id == one.id, second) == (False, one)
