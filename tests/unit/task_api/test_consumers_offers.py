"""Which offers of a next occurrence hold, and what the next occurrence takes along."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_contracts.recurrence import GenerationReason, RecurringTaskGenerated
from event_contracts.series import PileUp, RecurrencePolicies
from event_contracts.values import Channel, ClosedBy, Priority, TaskStatus
from task_api.application.judge_offer import Chain, Verdict, judge
from task_api.domain.ids import new_id
from task_api.domain.series import Recurrence, Series
from task_api.domain.succession import Slot, revive, succeed
from task_api.domain.task import Reminder, Task

AT = datetime(2026, 1, 12, 9, 30, tzinfo=UTC)
USER, SERIES = new_id(), new_id()


def _series(pile_up: PileUp = PileUp.WAIT, **fields: Any) -> Series:
    recurrence = Recurrence("FREQ=WEEKLY", RecurrencePolicies(pile_up=pile_up))
    made = Series(SERIES, USER, 3, recurrence, "Europe/Berlin", "2026-01-12T09:00:00", AT, AT)
    return replace(made, **fields)


def _task(key: str = "2026-01-12T09:00:00", **fields: Any) -> Task:
    made = Task(
        id=new_id(),
        user_id=USER,
        number=4,
        version=2,
        title="Water the plants",
        timezone="Europe/Berlin",
        created_at=AT,
        updated_at=AT,
        status=TaskStatus.COMPLETED,
        closed_by=ClosedBy.COMPLETED,
        closed_version=2,
        closed_at=AT,
        completed_at=AT,
        due_at=datetime(2026, 1, 12, 8, tzinfo=UTC),
        series_id=SERIES,
        occurrence_key=key,
    )
    return replace(made, **fields)


def _open(task: Task) -> Task:
    nothing: dict[str, Any] = dict.fromkeys(("closed_by", "closed_version", "closed_at", "completed_at"))
    return replace(task, status=TaskStatus.PENDING, **nothing)


def _offer(predecessor: Task, **fields: Any) -> RecurringTaskGenerated:
    return RecurringTaskGenerated.model_validate(
        {
            "series_id": SERIES,
            "series_version": 3,
            "user_id": USER,
            "predecessor_task_id": predecessor.id,
            "predecessor_closed_version": predecessor.closed_version,
            "occurrence_key": "2026-01-19T09:00:00",
            "due_at": datetime(2026, 1, 19, 8, tzinfo=UTC),
            "timezone": "Europe/Berlin",
            "why": GenerationReason.COMPLETED,
            "generated_at": AT,
            **fields,
        }
    )


def _verdict(offer: RecurringTaskGenerated, series: Series, *tasks: Task) -> Verdict:
    return judge(offer, series, Chain.of(tasks, offer)).verdict


def test_an_offer_that_holds_is_inserted() -> None:
    first = _task()
    assert _verdict(_offer(first), _series(), first) is Verdict.INSERTED


@pytest.mark.parametrize("closed_by", [ClosedBy.WITHDRAWN, ClosedBy.ERASED])
def test_nothing_follows_what_was_taken_away(closed_by: ClosedBy) -> None:
    first = _task(closed_by=closed_by)
    for offer in (_offer(first), _offer(first, why="schedule", predecessor_closed_version=None)):
        assert _verdict(offer, _series(PileUp.ALLOW), first) is Verdict.STALE


def test_an_offer_names_how_its_predecessor_was_closed() -> None:
    first = _task(closed_version=5, version=5)
    assert _verdict(_offer(first), _series(), first) is Verdict.INSERTED
    assert _verdict(_offer(first, predecessor_closed_version=4), _series(), first) is Verdict.STALE
    assert _verdict(_offer(first, predecessor_closed_version=6), _series(), first) is Verdict.STALE
    assert _verdict(_offer(first, predecessor_closed_version=None), _series(), first) is Verdict.STALE
    scheduled = _offer(first, predecessor_closed_version=None, why="schedule")
    assert _verdict(scheduled, _series(), first) is Verdict.INSERTED


@pytest.mark.parametrize(
    ("why", "pile_up", "closed_version", "verdict"),
    [
        ("schedule", PileUp.ALLOW, None, Verdict.INSERTED),
        ("schedule", PileUp.WAIT, None, Verdict.STALE),
        ("schedule", PileUp.ALLOW, 2, Verdict.STALE),
        ("completed", PileUp.ALLOW, None, Verdict.STALE),
        ("repair", PileUp.ALLOW, 2, Verdict.STALE),
    ],
)
def test_only_the_schedule_of_a_series_that_piles_up_follows_an_open_task(
    why: str, pile_up: PileUp, closed_version: int | None, verdict: Verdict
) -> None:
    first = _open(_task())
    offer = _offer(first, why=why, predecessor_closed_version=closed_version)
    assert _verdict(offer, _series(pile_up), first) is verdict


def test_the_series_version_decides_before_anything_that_could_be_an_alarm() -> None:
    first, holder = _task(), _task("2026-01-19T09:00:00", predecessor_task_id=uuid4())
    assert _verdict(_offer(first, series_version=2), _series(), first, holder) is Verdict.STALE
    assert _verdict(_offer(first, series_version=4), _series(), first, holder) is Verdict.AHEAD
    assert _verdict(_offer(first), _series(), first, holder) is Verdict.KEY_CONFLICT


def test_a_series_at_rest_makes_nothing() -> None:
    first = _task()
    assert _verdict(_offer(first), _series(paused_at=AT), first) is Verdict.RESTING
    assert _verdict(_offer(first), _series(ended_at=AT), first) is Verdict.RESTING


def test_what_is_there_is_there_whatever_changed_since() -> None:
    first = _task()
    second = _task("2026-01-19T09:00:00", predecessor_task_id=first.id)
    for series in (_series(), _series(version=9), _series(ended_at=AT), _series(version=1)):
        for follower in (second, _open(second)):
            assert _verdict(_offer(first), series, first, follower) is Verdict.ALREADY_THERE
    assert _verdict(_offer(first), _series(), _open(first), second) is Verdict.ALREADY_THERE


def test_a_predecessor_has_one_live_follower() -> None:
    first = _task()
    other = _open(_task("2026-01-26T09:00:00", predecessor_task_id=first.id))
    assert _verdict(_offer(first), _series(), first, other) is Verdict.STALE


def test_a_withdrawn_follower_is_revived_the_newest_of_several() -> None:
    first = _task()
    withdrawn = [
        _task(
            "2026-01-19T09:00:00", predecessor_task_id=first.id, closed_by=ClosedBy.WITHDRAWN, updated_at=at
        )
        for at in (AT + timedelta(hours=1), AT + timedelta(hours=2), AT)
    ]
    offer = _offer(first)
    chain = Chain.of([first, *withdrawn], offer)
    assert judge(offer, _series(), chain).verdict is Verdict.REVIVED
    assert chain.withdrawn is withdrawn[1]
    assert chain.holder is None


def test_an_unknown_predecessor_is_no_error() -> None:
    assert _verdict(_offer(_task()), _series()) is Verdict.UNKNOWN


def test_keys_rise_along_a_chain() -> None:
    first = _task()
    for key in ("2026-01-12T09:00:00", "2026-01-05T09:00:00"):
        assert _verdict(_offer(first, occurrence_key=key), _series(), first) is Verdict.KEY_CONFLICT


# What it takes along


def _slot(**fields: Any) -> Slot:
    return Slot(
        **{
            "key": "2026-01-19T09:00:00",
            "timezone": "Europe/Berlin",
            "due_at": datetime(2026, 1, 19, 8, tzinfo=UTC),
            **fields,
        }
    )


def test_fields_come_along_and_the_state_does_not() -> None:
    first = _task(description="All", priority=Priority.HIGH, tags=("a",), metadata={"room": 1}, updated_at=AT)
    later = AT + timedelta(minutes=1)
    second = succeed(first, _slot(), later)
    assert (second.title, second.description, second.priority, second.tags, second.metadata) == (
        first.title,
        "All",
        Priority.HIGH,
        ("a",),
        {"room": 1},
    )
    assert (second.status, second.closed_by, second.closed_version, second.completed_at) == (
        TaskStatus.PENDING,
        None,
        None,
        None,
    )
    assert (second.version, second.number, second.predecessor_task_id) == (1, 1, first.id)
    assert (second.created_at, second.updated_at) == (later, later)
    assert second.id != first.id


def test_reminders_come_along_as_new() -> None:
    fired = Reminder(
        id=new_id(),
        set_at=AT,
        offset=timedelta(hours=1),
        channels=(Channel.EMAIL,),
        snoozed_until=AT,
        acknowledged_at=AT,
        fired_for=AT,
        scheduled_for=AT,
    )
    (carried,) = succeed(_task(reminders=(fired,)), _slot(), AT + timedelta(minutes=1)).reminders
    assert carried.id != fired.id
    assert carried == Reminder(
        carried.id, AT + timedelta(minutes=1), timedelta(hours=1), channels=(Channel.EMAIL,)
    )


def _shifted(at: datetime, task: dict[str, Any], slot: dict[str, Any]) -> datetime | None:
    reminder = Reminder(id=new_id(), set_at=AT, at=at)
    return succeed(_task(reminders=(reminder,), **task), _slot(**slot), AT).reminders[0].at


def test_an_absolute_reminder_keeps_its_hour_on_the_wall_across_the_clock_change() -> None:
    """29 March 2026: Berlin goes to summer time."""
    moved = _shifted(
        datetime(2026, 3, 26, 17, tzinfo=UTC),
        {"due_at": datetime(2026, 3, 27, 8, tzinfo=UTC)},
        {"due_at": datetime(2026, 4, 3, 7, tzinfo=UTC)},
    )
    assert moved == datetime(2026, 4, 2, 16, tzinfo=UTC)


def test_an_absolute_reminder_in_the_gap_moves_forward() -> None:
    moved = _shifted(
        datetime(2026, 3, 22, 1, 30, tzinfo=UTC),  # 02:30 in Berlin
        {"due_at": None, "due_date": date(2026, 3, 23)},
        {"due_at": None, "due_date": date(2026, 3, 30), "key": "2026-03-30"},
    )
    assert moved == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)  # 03:30 summer time


def test_it_moves_by_what_due_moved_also_when_this_instance_was_postponed() -> None:
    moved = _shifted(
        datetime(2026, 1, 13, 8, tzinfo=UTC), {"due_at": datetime(2026, 1, 13, 8, tzinfo=UTC)}, {}
    )
    assert moved == datetime(2026, 1, 19, 8, tzinfo=UTC)


def test_between_all_day_and_timed_it_moves_by_whole_days() -> None:
    moved = _shifted(
        datetime(2026, 1, 11, 17, tzinfo=UTC), {"due_at": None, "due_date": date(2026, 1, 12)}, {}
    )
    assert moved == datetime(2026, 1, 18, 17, tzinfo=UTC)


def test_without_a_due_the_slots_say_how_far() -> None:
    moved = _shifted(datetime(2026, 1, 11, 17, tzinfo=UTC), {"due_at": None}, {})
    assert moved == datetime(2026, 1, 18, 17, tzinfo=UTC)


def test_the_slots_zone_is_the_new_instances() -> None:
    """The person moved: due and key are meant in the series' new zone, and so is the hour on the wall."""
    tokyo = _slot(timezone="Asia/Tokyo", due_at=datetime(2026, 1, 19, 0, tzinfo=UTC))
    reminder = Reminder(id=new_id(), set_at=AT, at=datetime(2026, 1, 11, 17, tzinfo=UTC))  # 18:00 in Berlin
    second = succeed(_task(reminders=(reminder,)), tokyo, AT)
    assert second.timezone == "Asia/Tokyo"
    assert second.reminders[0].at == datetime(2026, 1, 18, 9, tzinfo=UTC)  # 18:00 in Tokyo


@given(weeks=st.integers(1, 200), hour=st.integers(0, 23), before=st.integers(0, 60 * 24 * 20))
def test_days_between_reminder_and_due_stay_the_same_on_the_wall(weeks: int, hour: int, before: int) -> None:
    """In UTC there are no gaps, so the distance to due is kept to the minute."""
    due = datetime(2026, 1, 12, hour, tzinfo=UTC)
    utc = {"timezone": "UTC"}
    moved = _shifted(
        due - timedelta(minutes=before),
        {**utc, "due_at": due},
        {**utc, "due_at": due + timedelta(weeks=weeks)},
    )
    assert moved == due + timedelta(weeks=weeks) - timedelta(minutes=before)


def test_a_revived_one_is_the_next_version_of_itself() -> None:
    first = _task(title="New title")
    withdrawn = _task(
        "2026-01-19T09:00:00",
        number=5,
        version=2,
        predecessor_task_id=first.id,
        closed_by=ClosedBy.WITHDRAWN,
        deleted_at=AT,
        status=TaskStatus.PENDING,
        completed_at=None,
        created_at=AT - timedelta(days=1),
    )
    revived = revive(withdrawn, first, _slot(key="2026-01-26T09:00:00"), AT)
    assert (revived.id, revived.number, revived.version) == (withdrawn.id, 5, 3)
    assert revived.created_at == withdrawn.created_at
    assert (revived.closed_by, revived.closed_version, revived.closed_at, revived.deleted_at) == (None,) * 4
    assert (revived.title, revived.occurrence_key) == ("New title", "2026-01-26T09:00:00")


def test_ids_are_new_each_time() -> None:
    ids: set[UUID] = {succeed(_task(), _slot(), AT).id for _ in range(5)}
    assert len(ids) == 5
