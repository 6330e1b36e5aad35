"""Make a task: one read of the owner's settings, one statement that writes everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

from event_contracts.values import Actor, Priority, TaskStatus
from task_api.application.announce import series_write, task_write
from task_api.application.intake import ReminderRequest, begin_series, check_due, check_whole, merge_reminders
from task_api.application.ports import Means, Owner, SeriesWrite, TaskView
from task_api.domain.errors import AccountNotFound, ConcurrentChange
from task_api.domain.ids import new_id
from task_api.domain.series import Recurrence, Series
from task_api.domain.task import Task

_TRIES = 3


@dataclass(frozen=True, slots=True)
class NewTask:
    """What a person asks for. `timezone` None is the owner's; `reminders` None is the owner's default reminder."""

    title: str
    description: str | None = None
    status: TaskStatus = TaskStatus.PENDING
    priority: Priority = Priority.MEDIUM
    tags: tuple[str, ...] = ()
    due_at: datetime | None = None
    due_date: date | None = None
    timezone: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    reminders: tuple[ReminderRequest, ...] | None = None
    recurrence: Recurrence | None = None
    allow_past: bool = False


async def create_task(means: Means, actor: Actor, user_id: UUID, request: NewTask) -> TaskView:
    """Make the task, and the series when it recurs. Raises InvalidTask, DueInPast, AccountNotFound.

    The owner's settings are read first and the statement writes only while they are still the same, so that no
    snapshot speaks of a day's start that was changed at the same moment.
    """
    async with means.database.single() as work:
        for _ in range(_TRIES):
            owner = await work.owner(user_id)
            if owner is None:
                raise AccountNotFound("the account is gone")
            at = await means.now()
            task, series = _begin(owner, request, at)
            write = task_write(
                None, task, owner=owner, series_version=series.version if series else None, actor=actor, at=at
            )
            stored = await work.write(write, owner, _series(series, task, owner, actor, at))
            if stored is not None:
                means.wake()
                return TaskView(stored, request.recurrence)
    raise ConcurrentChange("the account's settings keep changing")


def _series(
    series: Series | None, task: Task, owner: Owner, actor: Actor, at: datetime
) -> SeriesWrite | None:
    if series is None:
        return None
    return series_write(None, series, tip=task, epoch=owner.epoch, actor=actor, at=at)


def _begin(owner: Owner, request: NewTask, at: datetime) -> tuple[Task, Series | None]:
    zone = request.timezone or owner.timezone
    if not request.allow_past:
        check_due(request.due_at, request.due_date, zone, at)
    task = Task(
        id=new_id(),
        user_id=owner.user_id,
        number=1,
        version=1,
        title=request.title,
        timezone=zone,
        created_at=at,
        updated_at=at,
        description=request.description,
        status=request.status,
        priority=request.priority,
        tags=request.tags,
        due_at=request.due_at,
        due_date=request.due_date,
        metadata=request.metadata,
    )
    task = replace(task, reminders=merge_reminders(_reminders(owner, request, task), (), at))
    series = None
    if request.recurrence is not None:
        series = begin_series(task, request.recurrence, at)
        task = replace(task, series_id=series.id, occurrence_key=series.start)
    check_whole(task)
    return task, series


def _reminders(owner: Owner, request: NewTask, task: Task) -> tuple[ReminderRequest, ...]:
    if request.reminders is not None:
        return request.reminders
    if owner.default_reminder is None or not task.has_due:
        return ()
    return (ReminderRequest(offset=owner.default_reminder),)
