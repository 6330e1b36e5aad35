"""Change one task in two round trips: read, decide, and write unless it was changed in between.

Locks take six. They are for who comes at the same moment, and for what concerns more than the task: its place in a
series, and days that start elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from event_contracts.values import Actor
from task_api.application.announce import task_write
from task_api.application.locking import Versions, lock_for_edit
from task_api.application.ports import Means, ReadTask, Stamp, TaskView, TaskWrite
from task_api.domain.errors import TaskNotFound, VersionMismatch
from task_api.domain.task import Task


@dataclass(frozen=True, slots=True)
class Change:
    """`of` gives the next version of a task at a moment, or the task itself when there is nothing to do. `kind` and
    `detail` are as task_write has them."""

    of: Callable[[ReadTask, datetime], Task]
    kind: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    def write(self, read: ReadTask, stamp: Stamp) -> TaskWrite | None:
        """Give what is to be written, if anything is. Raises what `of` raises."""
        after = self.of(read, stamp.at)
        if after is read.task:
            return None
        return task_write(
            read.task,
            after,
            owner=read.owner,
            series_version=read.series_version,
            stamp=stamp,
            kind=self.kind,
            detail=self.detail,
        )


class NeedsLocks(Exception):
    """What a change says of a task that cannot be changed alone."""


async def change_task(
    means: Means,
    actor: Actor,
    user_id: UUID,
    task_id: UUID,
    expected: Versions,
    change: Change,
    *,
    locked: bool = False,
) -> TaskView:
    """Change a task that is not deleted; under its lock where that is asked for, or somebody else changes it at the
    same moment. Raises TaskNotFound, VersionMismatch, and what the change raises."""
    if not locked:
        view = await change_alone(means, actor, user_id, task_id, expected, change)
        if view is not None:
            return view
    async with means.database.begin() as work:
        held = await lock_for_edit(work, user_id, task_id, expected)
        series = None if held.task.series_id is None else await work.series(held.task.series_id)
        recurrence, version = (series.goes_on, series.version) if series else (None, None)
        read = ReadTask(held.task, recurrence, version, held.owner)
        stamp = Stamp(actor, await means.now())
        write = change.write(read, stamp)
        if write is None:
            return TaskView(read.task, recurrence)
        await work.write(write, read.owner)
    means.wake()
    return TaskView(write.after, recurrence, stamp.change_id)


async def change_alone(
    means: Means, actor: Actor, user_id: UUID, task_id: UUID, expected: Versions, change: Change
) -> TaskView | None:
    """Change a task that is not deleted, without locks; None when it was changed in between, or is being changed, or
    the change raises NeedsLocks. Raises TaskNotFound, VersionMismatch, and whatever else the change raises."""
    read = await means.unlocked.read(user_id, task_id)
    if read is None or read.task.deleted_at is not None:
        raise TaskNotFound("there is no such task")
    if expected is not None and read.task.version not in expected:
        raise VersionMismatch(read.task, read.recurrence)
    stamp = Stamp(actor, await means.now())
    try:
        write = change.write(read, stamp)
    except NeedsLocks:
        return None
    if write is None:
        return TaskView(read.task, read.recurrence)
    if not await means.unlocked.write(write):
        return None
    means.wake()
    return TaskView(write.after, read.recurrence, stamp.change_id)
