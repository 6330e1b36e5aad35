"""Complete, reopen, skip and delete. The series is locked first, so that one completion has one successor."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from event_contracts.values import Actor, ClosedBy
from task_api.application.announce import series_write, task_write
from task_api.application.locking import Versions, lock_for_status
from task_api.application.ports import Means, Owner, TaskView, Transaction
from task_api.domain import task as rules
from task_api.domain.errors import SuccessorTouched
from task_api.domain.series import Series
from task_api.domain.task import Task


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
    return await _change_status(means, actor, user_id, task_id, expected, rules.reopen)


async def _change_status(
    means: Means,
    actor: Actor,
    user_id: UUID,
    task_id: UUID,
    expected: Versions,
    transition: Callable[[Task, datetime], Task],
) -> TaskView:
    async with means.database.begin() as work:
        series, locked = await lock_for_status(work, user_id, task_id, expected)
        before, at = locked.task, await means.now()
        after = transition(before, at)
        if after is not before:
            await withdraw_successor(work, series, before, after, locked.owner, actor, at)
            version = series.version if series else None
            write = task_write(before, after, owner=locked.owner, series_version=version, actor=actor, at=at)
            await work.write(write, locked.owner)
    if after is not before:
        means.wake()
    return TaskView(after, series.recurrence if series else None)


async def withdraw_successor(
    work: Transaction,
    series: Series | None,
    before: Task,
    after: Task,
    owner: Owner,
    actor: Actor,
    at: datetime,
) -> None:
    """Take away the instance that followed a task which is being opened again; else do nothing.

    Raises SuccessorTouched when somebody changed or closed that instance since.
    """
    reopened = before.closed_by is not None and after.closed_by is None
    if series is None or not reopened:
        return
    successor = await work.lock_successor(series.id, before.id)
    if successor is None:
        return
    if not successor.is_open or await work.is_touched(successor.id):
        raise SuccessorTouched("the next instance was changed or closed since; it would be lost")
    withdrawn = rules.delete(successor, at, ClosedBy.WITHDRAWN)
    write = task_write(
        successor,
        withdrawn,
        owner=owner,
        series_version=series.version,
        actor=actor,
        at=at,
        detail={"why": "predecessor_reopened", "predecessor_task_id": str(before.id)},
    )
    await work.write(write, owner)


async def delete_task(
    means: Means, actor: Actor, user_id: UUID, task_id: UUID, expected: Versions = None
) -> None:
    """Take a task away; an open instance of a series counts as skipped, so that the next one comes.

    Raises TaskNotFound, VersionMismatch.
    """
    async with means.database.begin() as work:
        series, locked = await lock_for_status(work, user_id, task_id, expected)
        at = await means.now()
        after = rules.delete(locked.task, at)
        version = series.version if series else None
        write = task_write(locked.task, after, owner=locked.owner, series_version=version, actor=actor, at=at)
        await work.write(write, locked.owner)
    means.wake()


async def delete_series(
    means: Means, actor: Actor, user_id: UUID, task_id: UUID, expected: Versions = None
) -> None:
    """End the series of a task and take it and the open instances away; closed ones stay. Without a series it is
    delete_task. Raises TaskNotFound, VersionMismatch."""
    async with means.database.begin() as work:
        series, locked = await lock_for_status(work, user_id, task_id, expected)
        at = await means.now()
        if series is None:
            doomed, ended, by = [locked.task], None, None
        else:
            others = await work.lock_open_instances(series.id)
            doomed = [locked.task, *(task for task in others if task.id != task_id)]
            ended, by = series.ended(at), ClosedBy.ERASED
        for before in doomed:
            version = ended.version if ended else None
            after = rules.delete(before, at, by)
            await work.write(
                task_write(before, after, owner=locked.owner, series_version=version, actor=actor, at=at),
                locked.owner,
            )
        if series is not None and ended is not None and ended is not series:
            tip, epoch = await work.tip(series.id), locked.owner.epoch
            await work.write_series(series_write(series, ended, tip=tip, epoch=epoch, actor=actor, at=at))
    means.wake()
