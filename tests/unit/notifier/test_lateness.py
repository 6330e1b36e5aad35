"""Late is what comes more than a quarter of an hour after the moment at which the person should have heard it."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from tests.unit.notifier.samples import (
    ON_TIME,
    START,
    contact,
    later,
    notification,
    occurrence,
    reminder,
    snapshot,
)

from event_contracts.tasks import TaskSnapshot
from event_contracts.values import Channel
from notifier.domain.contact import Contact
from notifier.domain.lateness import late_by
from notifier.domain.notifications import Delivery
from notifier.domain.occurrences import occurrence_in
from notifier.domain.timing import LATE, QuietHours

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
SLEEPER = contact(timezone="UTC", quiet_hours=QuietHours(time(22), time(7)))


def at(day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 1, day, hour, minute, second, tzinfo=UTC)


def late(
    now: datetime,
    fire_at: datetime = START,
    *,
    fired: timedelta | None = ON_TIME,
    task: TaskSnapshot | None = None,
    who: Contact | None = None,
    channel: Channel = Channel.EMAIL,
) -> timedelta | None:
    """How late a reminder for `fire_at` comes when it is tried `now`."""
    task = task or snapshot(reminders=(reminder(at=fire_at),))
    return late_by(Delivery(notification(task, fire_at, fired), channel), task, who or contact(), now)


@pytest.mark.parametrize("after", [timedelta(0), 5 * SECOND, LATE, -SECOND])
def test_a_little_late_is_not_worth_a_word(after: timedelta) -> None:
    assert late(START + after) is None


@pytest.mark.parametrize("fired", [ON_TIME, HOUR, 2 * HOUR])
@pytest.mark.parametrize("channel", Channel)
def test_it_is_late_by_the_moment_of_the_try_whoever_held_it_up(fired: timedelta, channel: Channel) -> None:
    assert late(START + LATE + SECOND, fired=fired, channel=channel) == LATE + SECOND
    said = late(START + 2 * HOUR + timedelta(milliseconds=999), fired=fired, channel=channel)
    assert said == 2 * HOUR, "whole seconds"


def test_one_that_was_set_when_its_time_was_past_is_late_from_then_on() -> None:
    """A day before the due, set two hours before it: it fires at once, as it should."""
    set_at = START + 22 * HOUR
    task = snapshot(due_at=START + 24 * HOUR, reminders=(reminder(set_at=set_at),))
    assert late(set_at + SECOND, task=task) is None
    assert late(set_at + HOUR, task=task) == HOUR


@pytest.mark.parametrize("fired", [ON_TIME, 3 * HOUR])
def test_a_night_that_the_person_wished_is_not_late(fired: timedelta) -> None:
    """Nor what went wrong within it: by the morning, when it is to be heard, that is over."""
    for fire_at in (at(5, 22), at(5, 23), at(6, 6, 59)):
        assert late(at(6, 7, 0, 5), fire_at, fired=fired, who=SLEEPER) is None
        assert late(at(6, 9), fire_at, fired=fired, who=SLEEPER) == 2 * HOUR, "since the morning"


@pytest.mark.parametrize("fired", [ON_TIME, HOUR, 3 * HOUR])
def test_what_should_have_come_before_the_night_is_late_since_then(fired: timedelta) -> None:
    assert late(at(6, 7), at(5, 20), fired=fired, who=SLEEPER) == 11 * HOUR
    assert late(at(6, 8), at(5, 20), fired=fired, who=SLEEPER) == 12 * HOUR


def test_one_that_was_set_in_the_night_waits_for_the_morning() -> None:
    """Its time was past by then, and before the night."""
    task = snapshot(reminders=(reminder(at=at(5, 20), set_at=at(5, 23)),))
    assert late(at(6, 7), at(5, 20), task=task, who=SLEEPER) is None
    assert late(at(6, 8), at(5, 20), task=task, who=SLEEPER) == HOUR


def test_the_inbox_knows_no_night() -> None:
    said = late(at(6, 2), at(5, 23), fired=3 * HOUR, who=SLEEPER, channel=Channel.INBOX)
    assert said == 3 * HOUR


def test_quiet_hours_are_those_of_the_persons_wall_clock() -> None:
    """Nine in the evening of UTC is ten in Berlin."""
    berlin = contact(timezone="Europe/Berlin", quiet_hours=SLEEPER.quiet_hours)
    assert late(at(6, 6), at(5, 21), who=berlin) is None
    assert late(at(6, 7), at(5, 21), who=berlin) == HOUR


def test_what_waited_for_its_task_has_no_moment_to_be_late_of() -> None:
    assert late(START + 24 * HOUR, fired=None) is None


def test_how_late_is_not_known_of_a_reminder_that_is_gone() -> None:
    task = snapshot()
    mail = Delivery(notification(task), Channel.EMAIL)
    assert late_by(mail, later(task, reminders=()), contact(), START + HOUR) is None


def test_a_new_occurrence_is_not_late() -> None:
    task = occurrence()
    made = occurrence_in(task)
    assert made is not None
    assert late_by(Delivery(made, Channel.EMAIL), task, contact(), START + 24 * HOUR) is None


def test_a_person_who_is_not_known_wishes_nothing() -> None:
    task = snapshot()
    assert late_by(Delivery(notification(task), Channel.INBOX), task, None, START + HOUR) == HOUR
