"""The document survives its storage, and merging forgets nothing that was heard."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.reminders.conftest import START, completed, later, reminder, snapshot

from event_contracts.reminders import ScheduleReason
from event_contracts.tasks import ReminderDefinition, TaskSnapshot
from reminders.domain.document import Document, State, merge, to_instant, to_ms
from reminders.domain.member import Member

IDS = [uuid4() for _ in range(3)]


@st.composite
def versions(draw: st.DrawFn) -> list[TaskSnapshot]:
    """The versions of one task, in order: reminders come, move and go, the task closes and opens again."""
    task = snapshot()
    found = []
    for version in range(1, draw(st.integers(2, 6)) + 1):
        reminders: list[ReminderDefinition] = [
            reminder(reminder_id=one, at=START + timedelta(minutes=draw(st.integers(-3, 9))))
            for one in draw(st.lists(st.sampled_from(IDS), unique=True))
        ]
        now = later(task, version, reminders=tuple(reminders))
        found.append(completed(now, version) if draw(st.booleans()) else now)
    return found


@given(versions())
def test_the_stored_form_loses_nothing(history: list[TaskSnapshot]) -> None:
    document = None
    for task in history:
        document = merge(document, task)
        assert Document.load(document.task_id, document.dump()) == document


@given(versions())
def test_merging_a_version_again_changes_nothing(history: list[TaskSnapshot]) -> None:
    document = None
    for task in history:
        document = merge(document, task)
        assert merge(document, task) == document


@given(versions(), st.data())
def test_what_fired_is_not_pending_while_its_time_stands(
    history: list[TaskSnapshot], data: st.DataObject
) -> None:
    document: Document | None = None
    fired: set[tuple[UUID, int]] = set()
    for task in history:
        document = merge(document, task)
        # Forgotten is what the task no longer has at that time; it fires anew when it is set anew.
        fired &= {(entry.reminder_id, entry.fire_ms) for entry in document.entries}
        pending = {(entry.reminder_id, entry.fire_ms) for entry in document.pending()}
        assert not pending & fired
        now = {one for one in sorted(pending) if data.draw(st.booleans())}
        document = document.with_fired(now)
        fired |= now


def test_closed_and_reopened_what_fired_stays_fired() -> None:
    task = snapshot(reminders=(reminder(at=START + timedelta(minutes=1)),))
    document = merge(None, task)
    (entry,) = document.pending()
    document = document.with_fired({(entry.reminder_id, entry.fire_ms)})
    document = merge(document, completed(task, 2))
    assert list(document.pending()) == []
    reopened = merge(document, later(task, 3))
    assert [one.state for one in reopened.entries] == [State.FIRED]


def test_a_moved_reminder_begins_anew() -> None:
    one = reminder(at=START + timedelta(minutes=1))
    document = merge(None, snapshot(reminders=(one,)))
    (entry,) = document.pending()
    document = document.with_announced().with_fired({(entry.reminder_id, entry.fire_ms)})
    moved = one.model_copy(update={"at": START + timedelta(minutes=5)})
    document = merge(document, snapshot(version=2, reminders=(moved,)))
    (entry,) = document.pending()
    assert entry.state is State.PENDING
    assert list(document.unannounced()) == [entry]


def test_a_rebuild_knows_from_task_api_what_fired() -> None:
    at = START + timedelta(minutes=1)
    assert merge(None, snapshot(reminders=(reminder(at=at, fired_for=at),))).entries[0].state is State.FIRED


def test_a_rebuild_knows_from_task_api_what_was_told() -> None:
    at = START + timedelta(minutes=1)
    known = merge(None, snapshot(version=7, reminders=(reminder(at=at, scheduled_for=at),)))
    assert list(known.unannounced()) == []
    moved = merge(None, snapshot(reminders=(reminder(at=at, scheduled_for=START),)))
    assert [(one.reason, one.fire_ms) for one in moved.unannounced()] == [(ScheduleReason.MOVED, to_ms(at))]


def test_an_acknowledged_reminder_does_not_fire() -> None:
    one = reminder(at=START + timedelta(minutes=1), acknowledged_at=START)
    assert list(merge(None, snapshot(reminders=(one,))).pending()) == []


def test_a_deleted_task_keeps_no_reminder() -> None:
    task = snapshot(reminders=(reminder(at=START + timedelta(minutes=1)),))
    gone = merge(merge(None, task), later(completed(task, 2), 2, deleted_at=START))
    assert gone.is_deleted
    assert gone.entries == ()


@given(st.uuids(), st.uuids(), st.integers(0, 2**42))
def test_members_read_back(task_id: object, reminder_id: object, fire_ms: int) -> None:
    member = Member(task_id, reminder_id, fire_ms)  # type: ignore[arg-type]
    assert Member.parse(str(member)) == member
    assert len(str(member)) <= 63


def test_milliseconds_round_up() -> None:
    instant = START + timedelta(microseconds=1)
    assert to_instant(to_ms(instant)) == START + timedelta(milliseconds=1)
    assert to_ms(START) == to_ms(to_instant(to_ms(START)))


NOON = START + timedelta(hours=3)


def heard_and_moved(before: ReminderDefinition, after: ReminderDefinition, **due: datetime) -> State:
    """The state of a reminder that had fired and that is moved at noon."""
    document = merge(None, snapshot(due_at=due["old"], reminders=(before,)))
    document = document.with_fired({(entry.reminder_id, entry.fire_ms) for entry in document.entries})
    again = after.model_copy(update={"set_at": NOON, "fired_for": to_instant(document.entries[0].fire_ms)})
    (entry,) = merge(document, snapshot(version=2, due_at=due["new"], reminders=(again,))).entries
    return entry.state


def test_what_was_heard_is_not_heard_again_for_a_due_that_moves_it_within_the_past() -> None:
    """As a new start of the day does to every all-day task at once."""
    day, hour = timedelta(days=1), timedelta(hours=1)
    one = reminder(offset=day, set_at=START - day)
    old = NOON + day - 2 * hour
    assert heard_and_moved(one, one, old=old, new=old + hour) is State.MISSED
    assert heard_and_moved(one, one, old=old, new=old + 3 * hour) is State.PENDING


def test_a_reminder_that_is_itself_given_another_time_is_asked_for_anew() -> None:
    """That time may be past by when it is written, as after an outage; the task is not due yet, so it goes out once."""
    hour = timedelta(hours=1)
    one = reminder(at=NOON - 2 * hour, set_at=START - timedelta(days=1))
    again = one.model_copy(update={"at": NOON - timedelta(seconds=8)})
    assert heard_and_moved(one, again, old=NOON + 9 * hour, new=NOON + 9 * hour) is State.PENDING


def test_one_that_was_moved_and_closed_before_its_new_time_goes_out_when_it_is_opened_again() -> None:
    """It was heard at the time before; at the new one its task was closed, and it is not due yet."""
    due, minute = NOON + timedelta(hours=9), timedelta(minutes=1)
    one = reminder(at=START + minute, set_at=START)
    document = merge(None, snapshot(due_at=due, reminders=(one,)))
    document = document.with_fired({(entry.reminder_id, entry.fire_ms) for entry in document.entries})
    moved = one.model_copy(
        update={"at": START + 3 * minute, "set_at": START + 2 * minute, "fired_for": one.at}
    )
    for task in (
        snapshot(version=2, due_at=due, reminders=(moved,)),
        completed(snapshot(due_at=due, reminders=(moved,)), 3),
        snapshot(version=4, due_at=due, reminders=(moved.model_copy(update={"set_at": NOON}),)),
    ):
        document = merge(document, task)
    assert [entry.state for entry in document.entries] == [State.PENDING]


def test_what_was_due_and_not_heard_is_heard_after_a_move_to_another_past() -> None:
    """The service was away since before it fell due; by its new time alone it would count as missed."""
    due = START + timedelta(hours=1)
    one = reminder(at=START + timedelta(minutes=1), set_at=START)
    document = merge(None, snapshot(due_at=due, reminders=(one,)))
    again = one.model_copy(update={"at": START + timedelta(minutes=2), "set_at": NOON})
    moved = merge(document, snapshot(version=2, due_at=due, reminders=(again,)))
    assert [entry.state for entry in moved.entries] == [State.PENDING]
    closed = merge(document, completed(snapshot(due_at=due, reminders=(one,)), 2))
    reopened = merge(closed, snapshot(version=3, due_at=due, reminders=(again,)))
    assert [entry.state for entry in reopened.entries] == [State.MISSED], (
        "closed meanwhile, nobody waits for it"
    )
