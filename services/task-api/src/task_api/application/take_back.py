"""Undo: put back what one change did to tasks and series, all of it or nothing.

A change is taken back only where its fields still are as it made them: what somebody did since is not lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from event_contracts.values import Actor, Channel, ClosedBy, Priority, TaskStatus
from task_api.application.announce import task_write
from task_api.application.close_task import withdraw_successor
from task_api.application.intake import check_whole
from task_api.application.ports import ChangedTask, Locked, Means, Stamp, TaskView, Transaction
from task_api.application.take_back_series import lock_series, restore_series, series_left, write_series
from task_api.domain import task as rules
from task_api.domain.errors import (
    ConcurrentChange,
    InvalidTask,
    InvalidUndoToken,
    SuccessorTouched,
    UndoNotPossible,
)
from task_api.domain.series import Series
from task_api.domain.task import OPEN_STATUSES, Change, Reminder, Task, told

_STATUS_FIELDS = frozenset({"status", "closed_by", "deleted_at"})


@dataclass(frozen=True, slots=True)
class TakenBack:
    """The tasks that an undo touched, as they are now, and the id of the change that it is, if it was one."""

    tasks: Sequence[TaskView]
    change_id: UUID | None


async def take_back(means: Means, actor: Actor, user_id: UUID, change_id: UUID) -> TakenBack:
    """Undo a change of this user; that is a change in turn.

    Raises InvalidUndoToken when the change is not there, UndoNotPossible when something was changed again since,
    ConcurrentChange when a task got its series at the same moment.
    """
    async with means.database.begin() as work:
        await work.lock_account(user_id)  # what was closed may be opened
        rows = _one_a_task(await work.rows_of_change(user_id, change_id))
        edits = await work.series_of_change(user_id, change_id)
        if not rows and not edits:
            raise InvalidUndoToken("there is no such change")
        task_ids = sorted(row.task_id for row in rows)
        series = await lock_series(work, user_id, task_ids, rows, edits)
        locked = {one.task.id: one for one in await work.lock_tasks(user_id, task_ids)}
        if any(one.task.series_id not in (None, *series) for one in locked.values()):
            raise ConcurrentChange("the task became recurring at the same moment")
        await _check_untouched(work, rows, locked)
        stamp = Stamp(actor, await means.now())
        restored = await restore_series(work, rows, edits, series, locked, stamp)
        now = {**series, **restored}
        followed = _followed(rows, locked)
        views = []
        async with work.together():
            for row in rows:
                has_room = row.task_id in followed
                view = await _put_back(work, row, locked[row.task_id], now, stamp, has_room=has_room)
                if view is not None:
                    views.append(view)
        await write_series(work, user_id, series, restored, stamp)
    means.wake()
    return TakenBack(views, stamp.change_id if views or restored else None)


def _one_a_task(rows: Sequence[ChangedTask]) -> list[ChangedTask]:
    """The rows with those of one task put together: an edit of a series writes the instance that it moves twice."""
    whole: dict[UUID, ChangedTask] = {}
    for row in rows:
        later = whole.get(row.task_id)
        if later is None:
            whole[row.task_id] = row
            continue
        changes = dict(row.changes)
        for name, change in later.changes.items():
            changes[name] = Change(changes[name].old if name in changes else change.old, change.new)
        whole[row.task_id] = replace(row, changes=changes)
    return list(whole.values())


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
            touched = set(edited.get(row.task_id, frozenset()))
            # An imported one may have come closed, or into the bin.
            as_made = task.is_open or touched.isdisjoint(_STATUS_FIELDS)
            moved = touched - _STATUS_FIELDS | (set() if as_made else {"status"})
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


def _followed(rows: Sequence[ChangedTask], locked: Mapping[UUID, Locked]) -> frozenset[UUID | None]:
    """The instances whose successor the change touched, too: the two were there side by side."""
    tasks = ((row, locked[row.task_id].task) for row in rows)
    return frozenset(task.predecessor_task_id for row, task in tasks if not _is_withdrawal(row, task))


async def _put_back(
    work: Transaction,
    row: ChangedTask,
    locked: Locked,
    series: Mapping[UUID, Series],
    stamp: Stamp,
    *,
    has_room: bool,
) -> TaskView | None:
    before = locked.task
    if _is_withdrawal(row, before):
        return None
    back = _reversed(row, before, series, stamp.at)
    try:
        check_whole(back)
    except InvalidTask as error:
        raise UndoNotPossible(
            f"with what was changed since, {error.field} would be wrong: {error}"
        ) from error
    after = rules.revise(before, back, stamp.at, locked.owner.day_start)
    if "reminders" in row.changes:
        after = _answered_as(back, after)
    if after is before:
        return TaskView(before, None, stamp.change_id)
    was_in = None if before.series_id is None or has_room else series[before.series_id]
    try:
        await withdraw_successor(work, was_in, before, after, locked.owner, stamp)
    except SuccessorTouched as error:
        raise UndoNotPossible(str(error)) from error
    its_series = None if after.series_id is None else series[after.series_id]
    version = its_series.version if its_series else None
    write = task_write(
        before, after, owner=locked.owner, series_version=version, stamp=stamp, detail={"why": "undo"}
    )
    await work.write(write, locked.owner)
    return TaskView(after, its_series.goes_on if its_series else None, stamp.change_id)


def _reversed(row: ChangedTask, task: Task, series: Mapping[UUID, Series], at: datetime) -> Task:
    if row.version == 1 and task.deleted_at is not None:
        return task
    if row.version == 1:
        return rules.delete(task, at, ClosedBy.ERASED if task.series_id else None)
    old = {name: change.old for name, change in row.changes.items()}
    back = _status_back(row, task, at)
    if "series_id" in old:
        # Rows of an older release do not tell the slot. It was the only instance, or it would not have been taken
        # out: it has the first one.
        left = series_left(row)
        start = None if left is None else series[left].start
        back = replace(back, series_id=left, occurrence_key=start)
    fields = {name: _READ[name](value) for name, value in old.items() if name in _READ}
    if "reminders" in old:
        fields["reminders"] = _reminders(old["reminders"], back)
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
        series_id = changes["series_id"].old
        fields["series_id"] = None if series_id is None else UUID(series_id)
        if series_id is None:
            fields["occurrence_key"] = None
    return replace(task, **fields)


def _status_back(row: ChangedTask, task: Task, at: datetime) -> Task:
    deleted, closed, status = (row.changes.get(name) for name in ("deleted_at", "closed_by", "status"))
    by = None if closed is None or closed.old is None else ClosedBy(closed.old)
    if deleted is not None:
        return rules.restore(task, at) if deleted.old is None else rules.delete(task, at, by)
    old_status = task.status if status is None else TaskStatus(status.old)
    if closed is not None and by is None:
        return rules.reopen(task, at, old_status)
    if old_status is task.status:
        return task
    if old_status is TaskStatus.COMPLETED and task.closed_by is ClosedBy.COMPLETED:
        return replace(task, status=old_status, completed_at=task.closed_at)
    if old_status is TaskStatus.COMPLETED:
        return rules.complete(task, at)
    if old_status is TaskStatus.ARCHIVED:
        archived = rules.archive(task, at)
        return archived if by is None else replace(archived, closed_by=by)
    if task.status in OPEN_STATUSES:
        return replace(task, status=old_status)
    return rules.reopen(task, at, old_status)


def _answered_as(back: Task, revised: Task) -> Task:
    """The answers to reminders as they were: a due that moves back takes away none that it took away before."""
    pairs = zip(revised.reminders, back.reminders, strict=True)
    return replace(
        revised,
        reminders=tuple(
            replace(one, snoozed_until=old.snoozed_until, acknowledged_at=old.acknowledged_at)
            for one, old in pairs
        ),
    )


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
    "occurrence_key": lambda value: value,
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
