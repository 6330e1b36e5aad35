"""A notification goes out exactly while its moment is the one the person wants; nothing current is ever dropped."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.notifier.samples import (
    START,
    completed,
    contact,
    deleted,
    later,
    notification,
    reminder,
    reopened,
    snapshot,
)

from event_contracts.tasks import ReminderDefinition, TaskSnapshot
from event_contracts.values import Channel, ClosedBy, TaskStatus
from notifier.domain.notifications import Delivery, Notification
from notifier.domain.relevance import why_not

HOUR = timedelta(hours=1)


def reason(
    task: TaskSnapshot | None, fire_at: datetime = START, of: TaskSnapshot | None = None
) -> str | None:
    news = of or task
    assert news is not None
    return why_not(Delivery(notification(news, fire_at), Channel.EMAIL), task, contact())


def with_reminder(**fields: object) -> TaskSnapshot:
    return snapshot(reminders=(reminder(**fields),))


def test_it_matters_while_the_task_is_open_and_the_moment_stands() -> None:
    task = snapshot()
    assert reason(task) is None
    assert reason(later(task, status=TaskStatus.IN_PROGRESS, title="Other words"), of=task) is None
    assert reason(reopened(completed(task)), of=task) is None


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (completed, "task completed"),
        (deleted, "task deleted"),
        (lambda task: later(task, status=TaskStatus.ARCHIVED, closed_by=ClosedBy.WITHDRAWN), "task archived"),
        (lambda task: later(task, closed_by=ClosedBy.SKIPPED), "task skipped"),
        (lambda task: later(task, reminders=()), "reminder removed"),
        (lambda task: later(task, reminders=(reminder(),)), "reminder removed"),
        (lambda _: None, "task not found"),
    ],
)
def test_what_became_of_the_task(now: object, why: str) -> None:
    assert callable(now)
    task = snapshot()
    assert reason(now(task), of=task) == why


def test_another_persons_task_is_never_told_of() -> None:
    task = snapshot()
    stranger = notification(task)
    stranger = Notification(
        stranger.notification_id, task.task_id, stranger.reminder_id, task.task_id, stranger.fire_at
    )
    assert why_not(Delivery(stranger, Channel.INBOX), task, contact()) == "task belongs to someone else"


class TestMoment:
    def test_moved_snoozed_and_back(self) -> None:
        assert reason(with_reminder(at=START + HOUR)) == "reminder moved"
        assert reason(with_reminder(at=START, snoozed_until=START + HOUR)) == "reminder snoozed"
        assert reason(with_reminder(at=START, snoozed_until=START + HOUR), START + HOUR) is None

    def test_set_at_does_not_decide(self) -> None:
        moved_away_before_it_fired = with_reminder(at=START + HOUR, set_at=START - HOUR)
        assert reason(moved_away_before_it_fired) == "reminder moved"
        missed_then_fired_once = with_reminder(at=START, set_at=START + timedelta(minutes=5))
        assert reason(missed_then_fired_once) is None

    def test_the_due_date_went_away(self) -> None:
        task = snapshot(due_at=None, reminders=(reminder(offset=HOUR),))
        assert reason(task) == "task has no due date any more"

    def test_an_acknowledgement_holds_for_its_own_moment(self) -> None:
        assert reason(with_reminder(acknowledged_at=START)) == "reminder acknowledged"
        older = with_reminder(acknowledged_at=START - 2 * HOUR, set_at=START - HOUR)
        assert reason(older) is None

    def test_times_rounded_to_milliseconds_are_the_same_moment(self) -> None:
        task = with_reminder(at=START + timedelta(microseconds=1_499))
        assert reason(task, START + timedelta(milliseconds=2)) is None
        assert reason(task, START + timedelta(milliseconds=1)) is None

    @pytest.mark.parametrize(
        "away", [timedelta(milliseconds=-1), timedelta(milliseconds=1), timedelta(seconds=0.217)]
    )
    def test_one_moved_by_less_than_a_second_is_moved(self, away: timedelta) -> None:
        assert reason(with_reminder(at=START + away)) == "reminder moved"

    def test_a_short_offset_in_the_repeated_hour_is_exact(self) -> None:
        second_coming = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
        task = snapshot(due_at=second_coming, reminders=(reminder(offset=timedelta(minutes=30)),))
        assert reason(task, second_coming - timedelta(minutes=30)) is None
        assert reason(task, second_coming - timedelta(minutes=90)) == "reminder moved"

    @pytest.mark.parametrize(
        ("due", "offset", "fires"),
        [
            (datetime(2026, 3, 29, 7, 0, tzinfo=UTC), "P1D", datetime(2026, 3, 28, 8, 0, tzinfo=UTC)),
            (datetime(2026, 10, 26, 8, 0, tzinfo=UTC), "P7D", datetime(2026, 10, 19, 7, 0, tzinfo=UTC)),
            (datetime(2026, 3, 30, 0, 30, tzinfo=UTC), "P1D", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
            (datetime(2026, 3, 29, 7, 0, tzinfo=UTC), "PT24H", datetime(2026, 3, 28, 8, 0, tzinfo=UTC)),
        ],
    )
    def test_whole_days_are_wall_clock_days(self, due: datetime, offset: str, fires: datetime) -> None:
        task = snapshot(due_at=due, reminders=(reminder(offset=offset),))
        assert reason(task, fires) is None
        assert reason(task, fires - timedelta(hours=6)) == "reminder moved"

    def test_all_day_tasks_are_due_at_day_start(self) -> None:
        task = snapshot(due_at=None, due_date=date(2026, 7, 1), reminders=(reminder(offset=timedelta(0)),))
        assert task.due == datetime(2026, 7, 1, 7, 0, tzinfo=UTC)
        assert reason(task, datetime(2026, 7, 1, 7, 0, tzinfo=UTC)) is None
        assert reason(task, datetime(2026, 7, 1, 9, 0, tzinfo=UTC)) == "reminder moved"
        skipped_hour = snapshot(due_at=None, due_date=date(2026, 3, 29), day_start=time(2, 30))
        assert skipped_hour.due == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)

    @given(st.timedeltas(timedelta(hours=4), timedelta(days=30)), st.booleans())
    def test_another_moment_is_not(self, away: timedelta, before: bool) -> None:
        task = snapshot(reminders=(reminder(offset="P1DT1H"),), due_at=datetime(2026, 3, 30, 8, tzinfo=UTC))
        fires = datetime(2026, 3, 29, 7, tzinfo=UTC)
        assert reason(task, fires) is None
        assert reason(task, fires - away if before else fires + away) == "reminder moved"


class TestChannel:
    def test_the_reminders_own_list_counts_and_else_the_persons(self) -> None:
        task = snapshot()
        inbox_only = contact(channels=(Channel.INBOX,))
        assert why_not(Delivery(notification(task), Channel.EMAIL), task, inbox_only) == "not wanted"
        assert why_not(Delivery(notification(task), Channel.INBOX), task, inbox_only) is None
        asked: ReminderDefinition = reminder(channels=(Channel.EMAIL,))
        by_mail = snapshot(reminders=(asked,))
        assert why_not(Delivery(notification(by_mail), Channel.EMAIL), by_mail, contact()) is None
        assert why_not(Delivery(notification(by_mail), Channel.INBOX), by_mail, contact()) == "not wanted"
        who_ended_mail = why_not(Delivery(notification(by_mail), Channel.EMAIL), by_mail, inbox_only)
        assert who_ended_mail == "not wanted"

    def test_nobody_to_reach(self) -> None:
        task = snapshot()
        assert why_not(Delivery(notification(task), Channel.EMAIL), task, None) == "user not found"
