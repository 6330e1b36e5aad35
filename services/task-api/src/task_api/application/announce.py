"""From a change to what is committed and told: snapshots, announcements, and the rows that carry them."""

from __future__ import annotations

from datetime import time
from typing import Any

from event_contracts.moments import written
from event_contracts.series import SeriesSnapshot, SeriesTip
from event_contracts.tasks import FieldChange, ReminderDefinition, TaskSnapshot
from event_contracts.values import Actor, ClosedBy, TaskStatus
from task_api.application.ports import Announcement, Owner, SeriesWrite, Stamp, TaskWrite
from task_api.domain import series as series_rules
from task_api.domain.ids import new_id
from task_api.domain.series import Series
from task_api.domain.task import Change, Reminder, Task, differences, past_when_set

_NOT_TOLD = frozenset({"metadata"})
"""Kept in history alone: up to 16 KiB of the client's own that no consumer reads."""


def _definition(reminder: Reminder) -> ReminderDefinition:
    return ReminderDefinition(
        reminder_id=reminder.id,
        offset=reminder.offset,
        at=reminder.at,
        channels=reminder.channels,
        set_at=reminder.set_at,
        snoozed_until=reminder.snoozed_until,
        acknowledged_at=reminder.acknowledged_at,
        scheduled_for=reminder.scheduled_for,
        fired_for=reminder.fired_for,
    )


def task_snapshot(
    task: Task,
    owner: Owner,
    series_version: int | None,
    actor: Actor,
    changes: dict[str, Change] | None = None,
) -> TaskSnapshot:
    """Give the task as it goes over the wire; `series_version` is None exactly when it has no series."""
    return TaskSnapshot(
        task_id=task.id,
        user_id=task.user_id,
        number=task.number,
        version=task.version,
        epoch=owner.epoch,
        title=task.title,
        description=task.description,
        status=task.status,
        priority=task.priority,
        tags=task.tags,
        closed_by=task.closed_by,
        closed_version=task.closed_version,
        closed_at=task.closed_at,
        due_at=task.due_at,
        due_date=task.due_date,
        timezone=task.timezone,
        day_start=owner.day_start,
        reminders=tuple(_definition(reminder) for reminder in task.reminders),
        series_id=task.series_id,
        series_version=series_version,
        occurrence_key=task.occurrence_key,
        predecessor_task_id=task.predecessor_task_id,
        created_at=task.created_at,
        updated_at=task.updated_at,
        deleted_at=task.deleted_at,
        changes={
            name: FieldChange(old=change.old, new=change.new)
            for name, change in (changes or {}).items()
            if name not in _NOT_TOLD
        },
        actor=actor,
    )


def series_snapshot(series: Series, tip: Task | None, epoch: int, actor: Actor) -> SeriesSnapshot:
    """Give the series as it goes over the wire; `tip` is its open or last closed instance."""
    return SeriesSnapshot(
        series_id=series.id,
        user_id=series.user_id,
        version=series.version,
        epoch=epoch,
        rrule=series.recurrence.rrule,
        policies=series.recurrence.policies,
        timezone=series.timezone,
        start=series.start,
        exdates=series.exdates,
        paused=series.paused_at is not None,
        resumed_at=series.resumed_at,
        ended=series.has_ended,
        tip=_tip(tip),
        updated_at=series.updated_at,
        actor=actor,
    )


def _tip(task: Task | None) -> SeriesTip | None:
    if task is None or task.occurrence_key is None:
        return None
    return SeriesTip(
        task_id=task.id,
        version=task.version,
        occurrence_key=task.occurrence_key,
        is_open=task.is_open,
        closed_by=task.closed_by,
        closed_at=task.closed_at,
        closed_version=task.closed_version,
    )


def _topic(before: Task | None, after: Task) -> str:
    """The topic says what happened to people; consumers act on the snapshot's status, whichever topic brings it."""
    if after.deleted_at is not None:
        return "task-deleted"
    if before is None or before.deleted_at is not None:
        return "task-created"
    if after.status is TaskStatus.COMPLETED and before.status is not TaskStatus.COMPLETED:
        return "task-completed"
    return "task-updated"


def _kind(before: Task | None, after: Task) -> str:
    if before is None:
        return "created"
    if after.deleted_at is not None:
        return "deleted"
    if before.deleted_at is not None:
        return "restored"
    if before.closed_by is not None and after.closed_by is None:
        return "reopened"
    if before.closed_by is None and after.closed_by is ClosedBy.COMPLETED:
        return "completed"
    if before.closed_by is None and after.closed_by is ClosedBy.SKIPPED:
        return "skipped"
    return "updated"


def task_write(
    before: Task | None,
    after: Task,
    *,
    owner: Owner,
    series_version: int | None,
    stamp: Stamp,
    kind: str | None = None,
    detail: dict[str, Any] | None = None,
    old_day_start: time | None = None,
) -> TaskWrite:
    """Put together what one new version of a task commits: rows of task, history, activity and outbox.

    `kind` is the activity's, where it is not what the two versions say; `old_day_start` the owner's until now, where it
    is not the one of today.
    """
    changes = differences(before, after) if before is not None else {}
    snapshot = task_snapshot(after, owner, series_version, stamp.actor, changes)
    told: dict[str, Any] = {
        "version": after.version,
        "changed": sorted(changes),
        "actor": stamp.actor.kind.value,
    }
    if missed := past_when_set(before, after, owner.day_start, old_day_start):
        told["missed_at_creation"] = [written(moment) for moment in missed]
    return TaskWrite(
        before=before,
        after=after,
        changes=changes,
        stamp=stamp,
        day_start=owner.day_start,
        announcement=Announcement(new_id(), _topic(before, after), stamp.at, snapshot),
        activity_kind=kind or _kind(before, after),
        activity_detail=told | (detail or {}),
    )


def series_write(
    before: Series | None, after: Series, *, tip: Task | None, epoch: int, stamp: Stamp
) -> SeriesWrite:
    """Put together what one new version of a series commits."""
    changes = series_rules.differences(before, after) if before is not None else {}
    snapshot = series_snapshot(after, tip, epoch, stamp.actor)
    return SeriesWrite(
        before, after, changes, stamp, Announcement(new_id(), "series-updated", stamp.at, snapshot)
    )
