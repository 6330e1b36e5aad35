"""Complete, reopen, skip, delete and restore. The series is locked first, so that one completion has one successor."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from event_contracts.series import PileUp
from event_contracts.values import Actor, ClosedBy
from task_api.application.announce import series_write, task_write
from task_api.application.change_task import Change, NeedsLocks, change_alone
from task_api.application.locking import Versions, lock_for_status
from task_api.application.ports import Locked, Means, Owner, ReadTask, Stamp, TaskView, Transaction
from task_api.domain import task as rules
from task_api.domain.errors import SuccessorTouched
from task_api.domain.moments import start_of_slot
from task_api.domain.series import Series
from task_api.domain.task import Task

Transition = Callable[[Task, datetime], Task]


async def complete_task(
    means: Means, actor: Actor, user_id: UUID, task_id: UUID, expected: Versions = None
) -> TaskView:
    """Close a task as done; one that is completed stays as it is. Raises TaskError."""
    return await _change_status(means, actor, user_id, task_id, expected, rules.complete)


async def skip_task(
    means: Means, actor: Actor, user_id: UUID, task_id: UUID, expected: Versions = None
) -> TaskView:
    """Give up this slot of a series, so that the next one comes. Raises TaskError."""
    return await _change_status(means, actor, user_id, task_id, expected, rules.skip)


async def reopen_task(
    means: Means, actor: Actor, user_id: UUID, task_id: UUID, expected: Versions = None
) -> TaskView:
    """Make a task open again and take its untouched successor away. Raises SuccessorTouched and other TaskErrors."""
    return await _change_status(means, actor, user_id, task_id, expected, rules.reopen, opens=True)


async def restore_task(
    means: Means, actor: Actor, user_id: UUID, task_id: UUID, expected: Versions = None
) -> TaskView:
    """Bring a deleted task back as it was; one that is not deleted stays as it is.

    An instance of a series gets its slot back: its untouched successor is taken away. Raises SuccessorTouched,
    TransitionRefused and other TaskErrors.
    """
    return await _change_status(
        means, actor, user_id, task_id, expected, rules.restore, opens=True, deleted_too=True
    )


async def _change_status(
    means: Means,
    actor: Actor,
    user_id: UUID,
    task_id: UUID,
    expected: Versions,
    transition: Transition,
    *,
    opens: bool = False,
    deleted_too: bool = False,
) -> TaskView:
    if not opens:

        def changed(read: ReadTask, at: datetime) -> Task:
            if read.task.series_id is not None:
                raise NeedsLocks
            return transition(read.task, at)

        alone = await change_alone(means, actor, user_id, task_id, expected, Change(changed))
        if alone is not None:
            return alone
    async with means.database.begin() as work:
        series, locked = await lock_for_status(
            work, user_id, task_id, expected, opens=opens, deleted_too=deleted_too
        )
        stamp = Stamp(actor, await means.now())
        after = await change_status(work, series, locked, transition, stamp)
    if after is locked.task:
        return TaskView(after, series.goes_on if series else None)
    means.wake()
    return TaskView(after, series.goes_on if series else None, stamp.change_id)


async def change_status(
    work: Transaction, series: Series | None, locked: Locked, transition: Transition, stamp: Stamp
) -> Task:
    """Bring a locked task, whose series is locked too, to another status; what is so already is not written."""
    before = locked.task
    after = transition(before, stamp.at)
    if after is before:
        return before
    await withdraw_successor(work, series, before, after, locked.owner, stamp)
    version = series.version if series else None
    await work.write(
        task_write(before, after, owner=locked.owner, series_version=version, stamp=stamp), locked.owner
    )
    return after


async def withdraw_successor(
    work: Transaction, series: Series | None, before: Task, after: Task, owner: Owner, stamp: Stamp
) -> None:
    """Take away the instance that followed a task which is being opened again, if it came of the closing; else do
    nothing.

    Raises SuccessorTouched when somebody changed or closed that instance since.
    """
    reopened = before.closed_by is not None and after.closed_by is None
    if series is None or not reopened:
        return
    successor = await work.lock_successor(series.id, before.id)
    if successor is None or successor.closed_by is ClosedBy.ERASED:
        return  # gone with the whole series, so that nothing of it stands in the way
    if await _may_stand_beside(work, series, before, successor, stamp.at):
        return
    if not successor.is_open or await work.is_touched(successor.id):
        raise SuccessorTouched("the next instance was changed or closed since; it would be lost")
    withdrawn = rules.delete(successor, stamp.at, ClosedBy.WITHDRAWN)
    write = task_write(
        successor,
        withdrawn,
        owner=owner,
        series_version=series.version,
        stamp=stamp,
        detail={"why": "predecessor_reopened", "predecessor_task_id": str(before.id)},
    )
    await work.write(write, owner)


async def _may_stand_beside(
    work: Transaction, series: Series, reopened: Task, successor: Task, at: datetime
) -> bool:
    """Whether the two were open side by side, or may be where instances pile up: the schedule made the successor, or
    would have by now, or it has a life of its own."""
    newest = await work.tip(series.id)
    if successor.is_open and newest is not None and newest.id != successor.id:
        return True
    if series.recurrence.policies.pile_up is not PileUp.ALLOW:
        return False
    was_there_before = reopened.closed_at is not None and successor.updated_at < reopened.closed_at
    date_has_come = successor.occurrence_key is not None and at >= start_of_slot(
        successor.occurrence_key, series.timezone
    )
    return was_there_before or date_has_come or not successor.is_open or await work.is_touched(successor.id)


async def delete_task(
    means: Means, actor: Actor, user_id: UUID, task_id: UUID, expected: Versions = None
) -> TaskView:
    """Take a task away; an open instance of a series counts as skipped, so that the next one comes.

    Raises TaskNotFound, VersionMismatch.
    """
    return await _change_status(means, actor, user_id, task_id, expected, rules.delete)


async def delete_series(
    means: Means, actor: Actor, user_id: UUID, task_id: UUID, expected: Versions = None
) -> TaskView:
    """End the series of a task and take it and the open instances away; closed ones stay. Without a series it is
    delete_task. Raises TaskNotFound, VersionMismatch."""
    async with means.database.begin() as work:
        series, locked = await lock_for_status(work, user_id, task_id, expected)
        stamp = Stamp(actor, await means.now())
        if series is None:
            doomed, ended, by = [locked.task], None, None
        else:
            others = await work.lock_open_instances(series.id)
            doomed = [locked.task, *(task for task in others if task.id != task_id)]
            ended, by = series.ended(stamp.at), ClosedBy.ERASED
        for before in doomed:
            version = ended.version if ended else None
            after = rules.delete(before, stamp.at, by)
            await work.write(
                task_write(before, after, owner=locked.owner, series_version=version, stamp=stamp),
                locked.owner,
            )
        if series is not None and ended is not None and ended is not series:
            tip, epoch = await work.tip(series.id), locked.owner.epoch
            await work.write_series(series_write(series, ended, tip=tip, epoch=epoch, stamp=stamp))
    means.wake()
    return TaskView(rules.delete(locked.task, stamp.at, by), None, stamp.change_id)
