"""Make a task: one read of the owner's settings, one statement that writes everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

from event_contracts.values import Actor, Priority, TaskStatus
from task_api.application.announce import series_write, task_write
from task_api.application.intake import ReminderRequest, begin_series, check_due, check_whole, merge_reminders
from task_api.application.ports import (
    KeptAnswer,
    Means,
    NewTasks,
    Once,
    Owner,
    SeriesWrite,
    Stamp,
    TaskView,
    TaskWrite,
)
from task_api.domain.errors import AccountNotFound, ConcurrentChange, InvalidTask
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
    """Make the task, and the series when it recurs. Raises InvalidTask, DueInPast, AccountNotFound."""
    view = await _create(means.new_tasks, means, actor, user_id, request)
    means.wake()
    return view


async def create_task_once(
    means: Means,
    actor: Actor,
    user_id: UUID,
    request: NewTask,
    once: Once,
    answer_of: Callable[[TaskView], KeptAnswer],
) -> tuple[KeptAnswer, bool]:
    """Make the task unless that was done under this key; the answer, and whether it is one given before.

    The key, the task and the answer are committed together, and a second request under the key waits for the first.
    Raises KeyReused, and what create_task raises, after which the key is free again.
    """
    async with means.database.begin() as work:
        given = await work.claim_key(user_id, once.key, once.fingerprint, await means.now())
        if given is not None:
            return given, True
        answer = answer_of(await _create(work, means, actor, user_id, request))
        await work.keep_answer(user_id, once.key, answer)
    means.wake()
    return answer, False


async def _create(work: NewTasks, means: Means, actor: Actor, user_id: UUID, request: NewTask) -> TaskView:
    # The owner's settings are remembered or read first, and the statement writes only while they are still the same:
    # no snapshot speaks of a day's start that was changed since.
    remembered = means.owners.recall(user_id)
    for _ in range(_TRIES):
        owner = remembered or await work.owner(user_id)
        if owner is None:
            raise AccountNotFound("the account is gone")
        try:
            write, series = first_write(owner, request, Stamp(actor, await means.now()))
        except InvalidTask:
            if remembered is None:
                raise
            remembered = None  # by the settings of today it may be valid
            continue
        remembered = None
        stored = await work.write(write, owner, series)
        if stored is not None:
            means.owners.keep(owner)
            return TaskView(stored, request.recurrence, write.stamp.change_id)
    raise ConcurrentChange("the account's settings keep changing")


def first_write(
    owner: Owner, request: NewTask, stamp: Stamp, number: int = 1
) -> tuple[TaskWrite, SeriesWrite | None]:
    """Give what has to be written for a new task, and for its series when it recurs. Raises InvalidTask."""
    task, series = begin_task(owner, request, stamp.at, number)
    version = series.version if series else None
    write = task_write(None, task, owner=owner, series_version=version, stamp=stamp)
    if series is None:
        return write, None
    return write, series_write(None, series, tip=task, epoch=owner.epoch, stamp=stamp)


def begin_task(owner: Owner, request: NewTask, at: datetime, number: int = 1) -> tuple[Task, Series | None]:
    """Give the first version of a task, with its series when it recurs. Raises InvalidTask."""
    zone = request.timezone or owner.timezone
    if not request.allow_past:
        check_due(request.due_at, request.due_date, zone, at)
    task = Task(
        id=new_id(),
        user_id=owner.user_id,
        number=number,
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
