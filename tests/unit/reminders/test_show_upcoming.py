"""What reminds a person next, in pages, of what the documents stand behind."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from tests.unit.reminders.conftest import START, USER, Rig, completed, later, reminder, snapshot

from event_contracts.tasks import TaskSnapshot
from reminders.application.show_upcoming import ScheduleNotThere, ShowUpcoming, UpcomingReminder
from reminders.domain.document import to_ms
from reminders.domain.member import Member

MINUTE = timedelta(minutes=1)


def show(rig: Rig) -> ShowUpcoming:
    return ShowUpcoming(rig.markers, rig.documents, rig.upcoming, rig.clock)


async def all_of(rig: Rig, limit: int, user_id: UUID = USER) -> list[UpcomingReminder]:
    """Every page's, in order."""
    found: list[UpcomingReminder] = []
    after: Member | None = None
    while True:
        page = await show(rig).page(user_id, after, limit)
        found += page.items
        if not page.more:
            return found
        last = page.items[-1]
        after = Member(last.task_id, last.reminder_id, to_ms(last.fire_at))


def reminded(at: datetime, **fields: object) -> TaskSnapshot:
    return snapshot(reminders=(reminder(at=at),), **fields)


@pytest.mark.parametrize(("limit", "count"), [(1, 45), (50, 230), (200, 230)])
async def test_pages_leave_nothing_out_and_repeat_nothing(rig: Rig, limit: int, count: int) -> None:
    """Many at one moment, as of one day's all-day tasks, and more than are read at once."""
    moments = [START + n // 40 * MINUTE + MINUTE for n in range(count)]
    for at in moments:
        await rig.applier().apply(reminded(at))
    found = await all_of(rig, limit)
    assert len({one.reminder_id for one in found}) == len(found) == len(moments)
    assert [one.fire_at for one in found] == moments


async def test_what_the_documents_do_not_stand_behind_is_not_shown(rig: Rig) -> None:
    kept, moved, closed, foreign = (reminded(START + MINUTE) for _ in range(4))
    foreign = foreign.model_copy(update={"user_id": uuid4()})
    for task in (kept, moved, closed, foreign):
        await rig.applier().apply(task)
    await rig.applier().apply(
        later(moved, 2, reminders=(moved.reminders[0].model_copy(update={"at": START + 2 * MINUTE}),))
    )
    await rig.applier().apply(completed(closed, 2))
    assert [one.task_id for one in await all_of(rig, 50)] == [kept.task_id, moved.task_id]
    # Whoever's index names it: whose task it is the document says.
    rig.upcoming.members[USER] |= rig.upcoming.members[foreign.user_id]
    assert foreign.task_id not in [one.task_id for one in await all_of(rig, 50)]
    rig.clock.advance(MINUTE + timedelta(seconds=1))
    assert [one.task_id for one in await all_of(rig, 50)] == [moved.task_id]


async def test_a_page_full_of_what_is_gone_is_no_end(rig: Rig) -> None:
    """More than one reading of members that nothing stands behind, and then one that something does."""
    for _ in range(205):
        task = reminded(START + MINUTE)
        await rig.applier().apply(task)
        await rig.applier().apply(completed(task, 2))
    last = reminded(START + 2 * MINUTE)
    await rig.applier().apply(last)
    page = await show(rig).page(USER, None, 5)
    assert [one.task_id for one in page.items] == [last.task_id]
    assert not page.more


async def test_while_the_schedule_is_not_there_it_says_so(rig: Rig) -> None:
    rig.state.flush()
    with pytest.raises(ScheduleNotThere):
        await show(rig).page(USER, None, 5)
