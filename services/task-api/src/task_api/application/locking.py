"""How a command comes to the row it changes: account before series before task, the version under the lock."""

from __future__ import annotations

from uuid import UUID

from task_api.application.ports import Locked, Transaction
from task_api.domain.errors import ConcurrentChange, TaskNotFound, VersionMismatch
from task_api.domain.series import Series

Versions = frozenset[int] | None
"""The versions that If-Match allows; None allows any."""


async def lock_for_edit(
    work: Transaction, user_id: UUID, task_id: UUID, expected: Versions, *, deleted_too: bool = False
) -> Locked:
    """Lock a task, a deleted one only when asked to. Raises TaskNotFound, VersionMismatch."""
    locked = await work.lock_task(user_id, task_id)
    if locked is None or (locked.task.deleted_at is not None and not deleted_too):
        raise TaskNotFound("there is no such task")
    if expected is not None and locked.task.version not in expected:
        series_id = locked.task.series_id
        series = None if series_id is None else await work.series(series_id)
        raise VersionMismatch(locked.task, series.goes_on if series else None)
    return locked


async def lock_for_status(
    work: Transaction,
    user_id: UUID,
    task_id: UUID,
    expected: Versions = None,
    *,
    opens: bool = False,
    deleted_too: bool = False,
) -> tuple[Series | None, Locked]:
    """Lock a task's series, if it has one, then the task: every change of a status does.

    What may open the task (`opens`) locks the account before: who gives the day another start looks at open tasks
    only, and waits for those that are about to be. Raises TaskNotFound, VersionMismatch, and ConcurrentChange when the
    task got its series in between.
    """
    if opens:
        await work.lock_account(user_id)
    series = await work.lock_series_of(user_id, task_id)
    locked = await lock_for_edit(work, user_id, task_id, expected, deleted_too=deleted_too)
    if locked.task.series_id != (series.id if series else None):
        raise ConcurrentChange("the task became recurring at the same moment")
    return series, locked
