"""Change a task: what the request names is merged into it, and everything else stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from event_contracts.tasks import REMINDERS_MAX
from event_contracts.values import Actor, TaskStatus
from task_api.application.announce import series_write, task_write
from task_api.application.change_task import Change, change_task
from task_api.application.close_task import withdraw_successor
from task_api.application.intake import ReminderRequest, begin_series, check_due, check_whole, merge_reminders
from task_api.application.locking import Versions, lock_for_status
from task_api.application.ports import Locked, Means, ReadTask, SeriesWrite, Stamp, TaskView, Transaction
from task_api.domain import task as rules
from task_api.domain.errors import InvalidTask, ReminderNotFound, SeriesScopeRequired
from task_api.domain.series import Recurrence, Series
from task_api.domain.task import OPEN_STATUSES, Task

_OF_DUE = frozenset({"due_at", "due_date", "timezone"})


@dataclass(frozen=True, slots=True)
class TaskEdit:
    """What is to change. `fields` holds the named simple fields of Task with their new values, those of due included;
    `reminders` and `status` None are untouched; `names_recurrence` says that recurrence was named at all."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    reminders: tuple[ReminderRequest, ...] | None = None
    status: TaskStatus | None = None
    names_recurrence: bool = False
    recurrence: Recurrence | None = None
    allow_past: bool = False

    @property
    def locks_series(self) -> bool:
        """Whether the series has to be locked before the task."""
        return self.status is not None or self.names_recurrence

    @property
    def moves_due(self) -> bool:
        """Whether another start of the day may move the due as well: who gives one waits for tasks that are locked."""
        return not _OF_DUE.isdisjoint(self.fields)


async def edit_task(
    means: Means, actor: Actor, user_id: UUID, task_id: UUID, edit: TaskEdit, expected: Versions = None
) -> TaskView:
    """Merge the edit into the task; naming what is already so changes nothing. Raises TaskError."""
    if not edit.locks_series:
        return await _edit_fields(
            means, actor, user_id, task_id, expected, lambda _: edit, locked=edit.moves_due
        )
    async with means.database.begin() as work:
        series, locked = await lock_for_status(work, user_id, task_id, expected, opens=True)
        stamp = Stamp(actor, await means.now())
        view = await apply_edit(work, series, locked, edit, stamp)
    if view.change_id is not None:
        means.wake()
    return view


async def _edit_fields(
    means: Means,
    actor: Actor,
    user_id: UUID,
    task_id: UUID,
    expected: Versions,
    edit_of: Callable[[Task], TaskEdit],
    *,
    locked: bool = False,
) -> TaskView:
    """Edit what is the task's own, whatever series it is of."""

    def edited(read: ReadTask, at: datetime) -> Task:
        before = read.task
        return rules.revise(before, _merged(edit_of(before), before, None, at), at, read.owner.day_start)

    return await change_task(means, actor, user_id, task_id, expected, Change(edited), locked=locked)


async def apply_edit(
    work: Transaction, series: Series | None, locked: Locked, edit: TaskEdit, stamp: Stamp
) -> TaskView:
    """Merge an edit into a locked task; its series is locked too where the edit asks for it. Raises TaskError."""
    before = locked.task
    begun = _new_series(edit, series, before, stamp.at)
    after = rules.revise(before, _merged(edit, before, begun, stamp.at), stamp.at, locked.owner.day_start)
    its_series = begun or series
    recurrence = its_series.goes_on if its_series else None
    if after is before:
        return TaskView(before, recurrence)
    await withdraw_successor(work, series, before, after, locked.owner, stamp)
    beside: SeriesWrite | None = None
    if begun is not None:
        beside = series_write(None, begun, tip=after, epoch=locked.owner.epoch, stamp=stamp)
    version = its_series.version if its_series else None
    write = task_write(before, after, owner=locked.owner, series_version=version, stamp=stamp)
    await work.write(write, locked.owner, beside)
    return TaskView(after, recurrence, stamp.change_id)


def _new_series(edit: TaskEdit, series: Series | None, before: Task, at: datetime) -> Series | None:
    """The series that an edit begins. Raises SeriesScopeRequired when it would change one that there is."""
    if not edit.names_recurrence:
        return None
    if series is not None:
        if edit.recurrence != series.goes_on:
            raise SeriesScopeRequired("the rule is the series': an edit of one instance does not change it")
        return None
    if edit.recurrence is None:
        return None
    return begin_series(replace(before, **_fields(edit)), edit.recurrence, at)


def _fields(edit: TaskEdit) -> dict[str, Any]:
    """The named fields; a due in one form takes the place of the other form."""
    fields = dict(edit.fields)
    if fields.get("due_at") is not None:
        fields.setdefault("due_date", None)
    elif fields.get("due_date") is not None:
        fields.setdefault("due_at", None)
    return fields


def _merged(edit: TaskEdit, before: Task, begun: Series | None, at: datetime) -> Task:
    staged = _with_status(before, edit.status, at)
    task = replace(staged, **_fields(edit))
    if edit.reminders is not None:
        task = replace(task, reminders=merge_reminders(edit.reminders, staged.reminders, at))
    if begun is not None:
        task = replace(task, series_id=begun.id, occurrence_key=begun.start)
    if not edit.allow_past:
        check_due(
            task.due_at if task.due_at != before.due_at else None,
            task.due_date if task.due_date != before.due_date else None,
            task.timezone,
            at,
        )
    check_whole(task)
    return task


def _with_status(task: Task, status: TaskStatus | None, at: datetime) -> Task:
    if status is None or status is task.status:
        return task
    if status is TaskStatus.COMPLETED:
        return rules.complete(task, at)
    if status is TaskStatus.ARCHIVED:
        return rules.archive(task, at)
    if task.status in OPEN_STATUSES:
        return replace(task, status=status)
    return rules.reopen(task, at, status)


async def add_reminder(
    means: Means,
    actor: Actor,
    user_id: UUID,
    task_id: UUID,
    request: ReminderRequest,
    expected: Versions = None,
) -> TaskView:
    """Put one more reminder on a task. Raises TaskError."""

    def added(task: Task) -> TaskEdit:
        if len(task.reminders) >= REMINDERS_MAX:
            raise InvalidTask("reminders", "too_many", f"a task has at most {REMINDERS_MAX} reminders")
        return TaskEdit(reminders=(*_requests(task), request))

    return await _edit_fields(means, actor, user_id, task_id, expected, added)


async def remove_reminder(
    means: Means, actor: Actor, user_id: UUID, task_id: UUID, reminder_id: UUID, expected: Versions = None
) -> TaskView:
    """Take one reminder off a task. Raises ReminderNotFound and other TaskErrors."""

    def without(task: Task) -> TaskEdit:
        kept = tuple(request for request in _requests(task) if request.id != reminder_id)
        if len(kept) == len(task.reminders):
            raise ReminderNotFound("the task has no such reminder")
        return TaskEdit(reminders=kept)

    return await _edit_fields(means, actor, user_id, task_id, expected, without)


def _requests(task: Task) -> tuple[ReminderRequest, ...]:
    return tuple(
        ReminderRequest(reminder.id, reminder.offset, reminder.at, reminder.channels)
        for reminder in task.reminders
    )
