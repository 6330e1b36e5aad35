"""Change one task in two round trips: read, decide, and write unless it was changed in between.

Locks take six. They are for what concerns more than the task: its place in a series, and days that start elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from event_contracts.values import Actor
from task_api.application.announce import task_write
from task_api.application.locking import Versions
from task_api.application.ports import Means, ReadTask, Stamp, TaskView
from task_api.domain.errors import TaskNotFound, VersionMismatch
from task_api.domain.task import Task

Change = Callable[[ReadTask, datetime], Task | None]
"""Gives the next version of a task at a moment: the task itself when there is nothing to do, and None when that cannot
be said without locks."""


async def change_alone(
    means: Means,
    actor: Actor,
    user_id: UUID,
    task_id: UUID,
    expected: Versions,
    change: Change,
    *,
    kind: str | None = None,
    detail: dict[str, Any] | None = None,
) -> TaskView | None:
    """Change a task that is not deleted; None when it must be done under locks: it was changed in between or is
    being changed, or `change` says so. `kind` and `detail` are as task_write has them.

    Raises TaskNotFound, VersionMismatch, and what `change` raises.
    """
    read = await means.unlocked.read(user_id, task_id)
    if read is None or read.task.deleted_at is not None:
        raise TaskNotFound("there is no such task")
    before = read.task
    if expected is not None and before.version not in expected:
        raise VersionMismatch(before, read.recurrence)
    stamp = Stamp(actor, await means.now())
    after = change(read, stamp.at)
    if after is None:
        return None
    if after is before:
        return TaskView(before, read.recurrence)
    write = task_write(
        before,
        after,
        owner=read.owner,
        series_version=read.series_version,
        stamp=stamp,
        kind=kind,
        detail=detail,
    )
    if not await means.unlocked.write(write):
        return None
    means.wake()
    return TaskView(after, read.recurrence, stamp.change_id)
