"""A task as it was at a moment of the past, from what its history says was changed since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import takewhile
from uuid import UUID

from event_contracts.values import TaskStatus
from task_api.application.ports import Revision, TaskReader, TaskView
from task_api.application.take_back import with_old_values
from task_api.domain.errors import TaskNotFound
from task_api.domain.task import Task


async def task_as_of(reader: TaskReader, user_id: UUID, task_id: UUID, moment: datetime) -> TaskView:
    """Read the task as it was. Raises TaskNotFound, also for a moment before it was made or while it was deleted.

    The recurrence is not shown: it belongs to the series, whose history is another.
    """
    found = await reader.revisions(user_id, task_id)
    if found is None:
        raise TaskNotFound("there is no such task")
    now, revisions = found
    # Replicas' clocks differ: a later version may say that it was made earlier. What counts is the order of versions.
    known = list(takewhile(lambda revision: revision.at <= moment, revisions))
    if not known:
        raise TaskNotFound("there was no such task at that time")
    task = now
    for revision in reversed(revisions[len(known) :]):
        task = with_old_values(revision.changes, task)
    if task.deleted_at is not None:
        raise TaskNotFound("the task was deleted at that time")
    last = known[-1]
    completed_at = _completed_at(task, known, revisions)
    return TaskView(replace(task, version=last.version, updated_at=last.at, completed_at=completed_at), None)


def _completed_at(task: Task, known: Sequence[Revision], all_of_them: Sequence[Revision]) -> datetime | None:
    if task.status is not TaskStatus.COMPLETED:
        return None
    for revision in reversed(known):
        change = revision.changes.get("status")
        if change is not None and change.new == TaskStatus.COMPLETED:
            return revision.at
    if any("status" in revision.changes for revision in all_of_them):
        # It was brought in as completed, and what it has now is of another completion, or none.
        return None
    return task.completed_at
