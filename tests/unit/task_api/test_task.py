"""A task's transitions: which status becomes which, what closing means, when a reminder counts as set anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from event_contracts.values import ClosedBy, TaskStatus
from task_api.domain import task as rules
from task_api.domain.errors import NotRecurring, TransitionRefused
from task_api.domain.task import Change, Reminder, Task, differences, revise

MADE = datetime(2026, 1, 5, 9, tzinfo=UTC)
LATER = MADE + timedelta(hours=1)
NINE = time(9)


def a_reminder(**fields: Any) -> Reminder:
    given = {"offset": timedelta(minutes=30)} if "at" not in fields else {}
    return Reminder(**{"id": uuid4(), "set_at": MADE, **given, **fields})


def a_task(**fields: Any) -> Task:
    values: dict[str, Any] = {
        "id": uuid4(),
        "user_id": uuid4(),
        "number": 1,
        "version": 3,
        "title": "Water the plants",
        "timezone": "Europe/Berlin",
        "created_at": MADE,
        "updated_at": MADE,
        "due_at": datetime(2026, 1, 6, 10, tzinfo=UTC),
    }
    return Task(**(values | fields))


def an_instance(**fields: Any) -> Task:
    return a_task(series_id=uuid4(), occurrence_key="2026-01-06T11:00:00", **fields)


def test_completing_closes_with_the_version_it_makes() -> None:
    done = rules.complete(a_task(), LATER)
    assert (done.status, done.completed_at, done.updated_at) == (TaskStatus.COMPLETED, LATER, LATER)
    assert (done.closed_by, done.closed_version, done.closed_at) == (ClosedBy.COMPLETED, 4, LATER)
    assert done.version == 4
    assert not done.is_open


def test_completing_twice_is_once() -> None:
    done = rules.complete(a_task(), LATER)
    assert rules.complete(done, LATER + timedelta(hours=1)) is done


def test_an_archived_task_is_not_completed() -> None:
    with pytest.raises(TransitionRefused, match="reopen"):
        rules.complete(rules.archive(a_task(), LATER), LATER)


@pytest.mark.parametrize(("task", "by"), [(a_task(), ClosedBy.WITHDRAWN), (an_instance(), ClosedBy.SKIPPED)])
def test_giving_up_an_open_task(task: Task, by: ClosedBy) -> None:
    assert rules.archive(task, LATER).closed_by is by
    gone = rules.delete(task, LATER)
    assert (gone.closed_by, gone.closed_version, gone.deleted_at, gone.version) == (by, 4, LATER, 4)


@pytest.mark.parametrize("give_up", [rules.archive, rules.delete])
def test_what_closed_a_task_first_stays(give_up: Any) -> None:
    done = rules.complete(an_instance(), LATER)
    after = give_up(done, LATER + timedelta(hours=1))
    assert (after.closed_by, after.closed_version, after.closed_at) == (ClosedBy.COMPLETED, 4, LATER)
    assert after.version == 5


def test_an_archived_task_has_no_completion_time() -> None:
    assert rules.archive(rules.complete(a_task(), LATER), LATER).completed_at is None


def test_archiving_twice_is_once() -> None:
    archived = rules.archive(a_task(), LATER)
    assert rules.archive(archived, LATER) is archived


def test_skipping() -> None:
    skipped = rules.skip(an_instance(), LATER)
    assert (skipped.status, skipped.closed_by) == (TaskStatus.ARCHIVED, ClosedBy.SKIPPED)
    assert rules.skip(skipped, LATER) is skipped
    with pytest.raises(NotRecurring):
        rules.skip(a_task(), LATER)
    with pytest.raises(TransitionRefused):
        rules.skip(rules.complete(an_instance(), LATER), LATER)


def test_reopening_clears_the_closing_and_sets_the_reminders_anew() -> None:
    task = a_task(reminders=(a_reminder(snoozed_until=LATER),))
    again = rules.reopen(rules.complete(task, LATER), LATER + timedelta(hours=1), TaskStatus.IN_PROGRESS)
    assert again.is_open
    assert (again.status, again.completed_at, again.version) == (TaskStatus.IN_PROGRESS, None, 5)
    assert (again.closed_by, again.closed_version, again.closed_at) == (None, None, None)
    assert again.reminders[0].set_at == LATER + timedelta(hours=1)
    assert again.reminders[0].snoozed_until == LATER
    assert rules.reopen(again, LATER) is again


def test_an_edit_that_changes_nothing_is_no_version() -> None:
    task = a_task()
    assert revise(task, replace(task), LATER, NINE) is task


@pytest.mark.parametrize(
    ("fields", "moved"),
    [
        ({"title": "Feed the cat"}, False),
        ({"due_at": datetime(2026, 1, 7, 10, tzinfo=UTC)}, True),
        ({"due_at": None, "due_date": date(2026, 1, 6)}, True),
        # An exact offset from an instant does not care for the zone.
        ({"timezone": "Asia/Tokyo"}, False),
    ],
)
def test_a_reminder_is_set_anew_when_its_fire_time_moves(fields: dict[str, Any], moved: bool) -> None:
    reminder = a_reminder(snoozed_until=LATER, acknowledged_at=MADE)
    task = a_task(reminders=(reminder,))
    (after,) = revise(task, replace(task, **fields), LATER, NINE).reminders
    if moved:
        assert after == replace(reminder, set_at=LATER, snoozed_until=None, acknowledged_at=None)
    else:
        assert after == reminder


def test_a_move_to_a_time_that_is_past_asks_for_nothing_new() -> None:
    """Half an hour before noon becomes half an hour before eleven, and it is one o'clock."""
    at, later_today = datetime(2026, 1, 6, 13, tzinfo=UTC), datetime(2026, 1, 6, 18, tzinfo=UTC)
    noon = datetime(2026, 1, 6, 12, tzinfo=UTC)
    snoozed, acknowledged = a_reminder(snoozed_until=later_today), a_reminder(acknowledged_at=noon)
    task = a_task(due_at=noon, reminders=(snoozed, acknowledged))
    moved = revise(task, replace(task, due_at=noon - timedelta(hours=1)), at, NINE)
    assert moved.reminders == (snoozed, replace(acknowledged, set_at=at))


@pytest.mark.parametrize(
    ("before", "now", "due", "told"),
    [
        (None, -1, -1, True),
        (None, -1, 1, False),
        (None, 1, 2, False),
        (1, -1, -1, True),
        (-2, -1, -1, False),
    ],
)
def test_what_is_past_when_it_is_set_is_told(before: int | None, now: int, due: int, told: bool) -> None:
    """The hours are from when it is set: where it was before, where it is now, when the task is due."""

    def hours(number: int) -> datetime:
        return LATER + timedelta(hours=number)

    after = a_task(
        due_at=hours(due), updated_at=LATER, reminders=(a_reminder(offset=None, at=hours(now), set_at=LATER),)
    )
    old = None
    if before is not None:
        reminders = (replace(after.reminders[0], at=hours(before), set_at=MADE),)
        old = replace(after, version=after.version - 1, reminders=reminders)
    assert rules.past_when_set(old, after, NINE) == ([hours(now)] if told else [])


def test_an_absolute_reminder_stays_when_the_due_moves() -> None:
    task = a_task(reminders=(a_reminder(at=datetime(2026, 1, 5, 20, tzinfo=UTC)),))
    moved = revise(task, replace(task, due_at=datetime(2026, 2, 1, tzinfo=UTC)), LATER, NINE)
    assert moved.reminders == task.reminders


@pytest.mark.parametrize("fields", [{"offset": timedelta(hours=1)}, {"offset": None, "at": LATER}])
def test_a_reminder_is_set_anew_when_it_is_itself_changed(fields: dict[str, Any]) -> None:
    task = a_task(reminders=(a_reminder(),))
    changed = replace(task, reminders=(replace(task.reminders[0], **fields),))
    assert revise(task, changed, LATER, NINE).reminders[0].set_at == LATER


def test_a_snooze_moves_the_fire_time() -> None:
    task = a_task(reminders=(a_reminder(),))
    until = LATER + timedelta(minutes=10)
    snoozed = revise(
        task, replace(task, reminders=(replace(task.reminders[0], snoozed_until=until),)), LATER, NINE
    )
    (reminder,) = snoozed.reminders
    assert (reminder.set_at, reminder.snoozed_until) == (LATER, until)
    assert reminder.fire_time(snoozed.due(NINE), snoozed.timezone) == until


def test_a_new_reminder_is_set_now() -> None:
    task = a_task()
    assert revise(task, replace(task, reminders=(a_reminder(),)), LATER, NINE).reminders[0].set_at == LATER


def test_a_new_start_of_the_day_moves_all_day_reminders_alone() -> None:
    all_day = a_task(due_at=None, due_date=date(2026, 1, 6), reminders=(a_reminder(),))
    told = revise(all_day, all_day, LATER, time(8), old_day_start=NINE)
    assert (told.version, told.reminders[0].set_at) == (4, LATER)
    timed = a_task(reminders=(a_reminder(),))
    assert revise(timed, timed, LATER, time(8), old_day_start=NINE).reminders[0].set_at == MADE


def test_an_offset_without_a_due_never_fires() -> None:
    assert a_reminder().fire_time(None, "UTC") is None


def test_what_is_erased_keeps_no_words_and_names_none_as_changed() -> None:
    task = a_task(title="Private", description="words", tags=("mine",), metadata={"note": "mine"})
    erased = rules.erase(task, LATER)
    assert (erased.description, erased.tags, erased.metadata) == (None, (), {})
    assert (erased.title, erased.closed_by, erased.deleted_at) == ("(erased)", ClosedBy.ERASED, LATER)
    assert set(differences(rules.wordless(task), erased)) == {"closed_by", "deleted_at"}


def test_differences_name_what_a_person_would_see() -> None:
    reminder = a_reminder(id=UUID(int=7))
    before = a_task(tags=("home",))
    after = replace(
        before,
        title="Feed the cat",
        tags=(),
        due_at=None,
        due_date=date(2026, 1, 9),
        version=9,
        reminders=(reminder,),
    )
    assert differences(before, after) == {
        "title": Change("Water the plants", "Feed the cat"),
        "tags": Change(["home"], []),
        "due_at": Change("2026-01-06T10:00:00Z", None),
        "due_date": Change(None, "2026-01-09"),
        "reminders": Change([], [{"id": str(UUID(int=7)), "offset_seconds": 1800}]),
    }
    assert differences(before, before) == {}
