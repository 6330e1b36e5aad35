"""What a person does about a reminder: put it off, or say that it was heard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from event_contracts.values import Actor
from task_api.application.change_task import Change, change_task
from task_api.application.locking import Versions
from task_api.application.ports import Means, ReadTask, TaskView
from task_api.domain.errors import InvalidTask, ReminderNotFound, TransitionRefused
from task_api.domain.task import Reminder, Task, revise

Answer = Callable[[Reminder, datetime], Reminder]


async def snooze_reminder(
    means: Means,
    actor: Actor,
    user_id: UUID,
    task_id: UUID,
    reminder_id: UUID,
    until: datetime | timedelta,
    expected: Versions = None,
) -> TaskView:
    """Let a reminder fire at `until`, an instant or so long from now. Raises InvalidTask and other TaskErrors."""

    def put_off(reminder: Reminder, at: datetime) -> Reminder:
        moment = until if isinstance(until, datetime) else at + until
        if moment <= at:
            raise InvalidTask("until", "in_past", "is not in the future")
        return replace(reminder, snoozed_until=moment, acknowledged_at=None)

    return await _answer(means, actor, user_id, task_id, reminder_id, expected, put_off, "reminder_snoozed")


async def acknowledge_reminder(
    means: Means,
    actor: Actor,
    user_id: UUID,
    task_id: UUID,
    reminder_id: UUID,
    expected: Versions = None,
) -> TaskView:
    """Note that a reminder was heard; the first time counts. Raises TaskErrors."""

    def heard(reminder: Reminder, at: datetime) -> Reminder:
        return replace(reminder, acknowledged_at=reminder.acknowledged_at or at)

    return await _answer(
        means, actor, user_id, task_id, reminder_id, expected, heard, "reminder_acknowledged"
    )


async def _answer(
    means: Means,
    actor: Actor,
    user_id: UUID,
    task_id: UUID,
    reminder_id: UUID,
    expected: Versions,
    change: Answer,
    kind: str,
) -> TaskView:
    def answered(read: ReadTask, at: datetime) -> Task:
        return revise(read.task, _with(read.task, reminder_id, change, at), at, read.owner.day_start)

    answer = Change(answered, kind, {"reminder_id": str(reminder_id)})
    return await change_task(means, actor, user_id, task_id, expected, answer)


def _with(task: Task, reminder_id: UUID, change: Answer, at: datetime) -> Task:
    if all(reminder.id != reminder_id for reminder in task.reminders):
        raise ReminderNotFound("the task has no such reminder")
    if not task.is_open:
        raise TransitionRefused(task.status, task.status, "a closed task reminds of nothing")
    reminders = (
        change(reminder, at) if reminder.id == reminder_id else reminder for reminder in task.reminders
    )
    return replace(task, reminders=tuple(reminders))
