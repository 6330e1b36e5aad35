"""Undo: put back what one change did, all of it or nothing.

A change is taken back only where its fields still are as it made them: what somebody did since is not lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from event_contracts.values import Actor, Channel, ClosedBy, Priority, TaskStatus
from task_api.application.announce import series_write, task_write
from task_api.application.close_task import withdraw_successor
from task_api.application.ports import ChangedTask, Locked, Means, Stamp, TaskView, Transaction
from task_api.domain import task as rules
from task_api.domain.errors import InvalidUndoToken, SuccessorTouched, UndoNotPossible
from task_api.domain.series import Series
from task_api.domain.task import OPEN_STATUSES, Change, Reminder, Task, told

_STATUS_FIELDS = frozenset({"status", "closed_by", "deleted_at"})


async def take_back(means: Means, actor: Actor, user_id: UUID, change_id: UUID) -> list[TaskView]:
    """Undo a change of this user; that is a change in turn. The tasks as they are now, all with its id.

    Raises InvalidUndoToken when the change is not there, UndoNotPossible when something was changed again since.
    """
    async with means.database.begin() as work:
        rows = await work.rows_of_change(user_id, change_id)
        if not rows:
            raise InvalidUndoToken("there is no such change")
        task_ids = sorted({row.task_id for row in rows})
        series = await work.lock_series_of_tasks(user_id, task_ids)
        locked = {one.task.id: one for one in await work.lock_tasks(user_id, task_ids)}
        await _check_untouched(work, rows, locked)
        stamp = Stamp(actor, await means.now())
        ended = await _restore_series(work, rows, series, locked, stamp)
        views = []
        async with work.together():
            for row in rows:
                view = await _put_back(work, row, locked[row.task_id], {**series, **ended}, stamp)
                if view is not None:
                    views.append(view)
        for changed in ended.values():
            owner = locked[task_ids[0]].owner
            write = series_write(
                series[changed.id], changed, tip=await work.tip(changed.id), epoch=owner.epoch, stamp=stamp
            )
            await work.write_series(write)
    means.wake()
    return views


async def _check_untouched(
    work: Transaction, rows: Sequence[ChangedTask], locked: Mapping[UUID, Locked]
) -> None:
    if any(row.task_id not in locked for row in rows):
        raise UndoNotPossible("the task was purged since")
    made = [row for row in rows if row.version == 1]
    edited = await work.fields_changed_after(made) if made else {}
    for row in rows:
        task = locked[row.task_id].task
        if row.version == 1:
            others = set(edited.get(row.task_id, frozenset())) - _STATUS_FIELDS
            moved = others if task.is_open else others | {"status"}
        elif _is_withdrawal(row, task):
            continue
        else:
            moved = {name for name, change in row.changes.items() if told(task, name) != change.new}
        if moved:
            raise UndoNotPossible(f"changed again since: {', '.join(sorted(moved))}")


def _is_withdrawal(row: ChangedTask, task: Task) -> bool:
    """A successor that its reopened predecessor took away: it comes back when that one is closed again."""
    closed = row.changes.get("closed_by")
    return task.series_id is not None and closed is not None and closed.new == ClosedBy.WITHDRAWN


async def _restore_series(
    work: Transaction,
    rows: Sequence[ChangedTask],
    series: Mapping[UUID, Series],
    locked: Mapping[UUID, Locked],
    stamp: Stamp,
) -> dict[UUID, Series]:
    """The series that the change began, ended now; and those that it ended, going on."""
    changed = {}
    for row in rows:
        series_id = locked[row.task_id].task.series_id
        if series_id is None:
            continue
        its_series = series[series_id]
        if row.version == 1 or "series_id" in row.changes:
            if not its_series.has_ended:
                changed[its_series.id] = its_series.ended(stamp.at)
        elif its_series.ended_at == row.at:
            changed[its_series.id] = its_series.going_on(stamp.at)
    return changed


async def _put_back(
    work: Transaction, row: ChangedTask, locked: Locked, series: Mapping[UUID, Series], stamp: Stamp
) -> TaskView | None:
    before = locked.task
    its_series = None if before.series_id is None else series[before.series_id]
    if _is_withdrawal(row, before):
        return None
    after = _reversed(row, before, stamp.at)
    after = rules.revise(before, after, stamp.at, locked.owner.day_start)
    if after is before:
        return TaskView(before, None, stamp.change_id)
    try:
        await withdraw_successor(work, its_series, before, after, locked.owner, stamp)
    except SuccessorTouched as error:
        raise UndoNotPossible(str(error)) from error
    version = None if after.series_id is None or its_series is None else its_series.version
    write = task_write(
        before, after, owner=locked.owner, series_version=version, stamp=stamp, detail={"why": "undo"}
    )
    await work.write(write, locked.owner)
    recurrence = its_series.recurrence if its_series and after.series_id else None
    return TaskView(after, recurrence, stamp.change_id)


def _reversed(row: ChangedTask, task: Task, at: datetime) -> Task:
    if row.version == 1:
        return rules.delete(task, at, ClosedBy.ERASED if task.series_id else None)
    old = {name: change.old for name, change in row.changes.items()}
    back = _status_back(row, task, at)
    if "series_id" in old:
        back = replace(back, series_id=None, occurrence_key=None)
    fields = {name: _READ[name](value) for name, value in old.items() if name in _READ}
    if "reminders" in old:
        fields["reminders"] = _reminders(old["reminders"], task)
    return replace(back, **fields)


def with_old_values(changes: Mapping[str, Change], task: Task) -> Task:
    """Give the task with the old values of these changes, whatever the rules would say of them."""
    fields: dict[str, Any] = {
        name: _READ[name](change.old) for name, change in changes.items() if name in _READ
    }
    if "reminders" in changes:
        fields["reminders"] = _reminders(changes["reminders"].old, task)
    if "status" in changes:
        fields["status"] = TaskStatus(changes["status"].old)
    if "deleted_at" in changes:
        fields["deleted_at"] = _instant(changes["deleted_at"].old)
    if "series_id" in changes:
        fields |= {"series_id": None, "occurrence_key": None}
    return replace(task, **fields)


def _status_back(row: ChangedTask, task: Task, at: datetime) -> Task:
    deleted, closed, status = (row.changes.get(name) for name in ("deleted_at", "closed_by", "status"))
    if deleted is not None:
        return rules.restore(task, at) if deleted.old is None else rules.delete(task, at)
    old_status = task.status if status is None else TaskStatus(status.old)
    if closed is not None and closed.old is None:
        return rules.reopen(task, at, old_status)
    if old_status is task.status:
        return task
    if old_status is TaskStatus.COMPLETED:
        return rules.complete(task, at)
    if old_status is TaskStatus.ARCHIVED:
        return rules.archive(task, at)
    if task.status in OPEN_STATUSES:
        return replace(task, status=old_status)
    return rules.reopen(task, at, old_status)


def _instant(value: Any) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


_READ: dict[str, Any] = {
    "title": str,
    "description": lambda value: value,
    "priority": Priority,
    "tags": tuple,
    "due_at": _instant,
    "due_date": lambda value: None if value is None else date.fromisoformat(value),
    "timezone": str,
    "metadata": lambda value: value,
}


def _reminders(listed: Sequence[Mapping[str, Any]], task: Task) -> tuple[Reminder, ...]:
    """The reminders as the history tells them; what was reported of one since stays with it."""
    known = {str(reminder.id): reminder for reminder in task.reminders}
    return tuple(_reminder(one, known.get(one["id"]), task) for one in listed)


def _reminder(one: Mapping[str, Any], known: Reminder | None, task: Task) -> Reminder:
    offset = one.get("offset_seconds")
    said: dict[str, Any] = {
        "offset": None if offset is None else timedelta(seconds=offset),
        "at": _instant(one.get("at")),
        "channels": tuple(Channel(channel) for channel in one.get("channels", ())),
        "snoozed_until": _instant(one.get("snoozed_until")),
        "acknowledged_at": _instant(one.get("acknowledged_at")),
    }
    if known is not None:
        return replace(known, **said)
    return Reminder(id=UUID(one["id"]), set_at=task.updated_at, **said)
