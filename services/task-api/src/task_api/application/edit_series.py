"""Change a series: its rule, policies and zone, pause, resume, end. The past is never touched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from event_contracts.moments import resolve
from event_contracts.rrule import RuleError, check_start, parse_rrule
from event_contracts.values import Actor, parse_local
from task_api.application.announce import series_write, task_write
from task_api.application.edit_task import TaskEdit, apply_edit
from task_api.application.locking import Versions, lock_for_status
from task_api.application.ports import Locked, Means, Owner, Stamp, TaskView, Transaction
from task_api.domain.errors import (
    AccountNotFound,
    ConcurrentChange,
    InvalidTask,
    LaterInstances,
    NotRecurring,
    SeriesDateTaken,
    SeriesNotFound,
    SeriesVersionMismatch,
)
from task_api.domain.moments import slot_of
from task_api.domain.series import Recurrence, Series
from task_api.domain.task import Task, revise


@dataclass(frozen=True, slots=True)
class SeriesEdit:
    """What is to change; None stays. `policies` holds the named policies, `exdates` all slots that are left out, in
    order and each once."""

    rrule: str | None = None
    policies: dict[str, Any] | None = None
    timezone: str | None = None
    exdates: tuple[str, ...] | None = None

    def of(self, series: Series, at: datetime) -> Series:
        """Give the series with the edit merged in; itself when nothing differs."""
        policies = series.recurrence.policies.model_copy(update=self.policies or {})
        recurrence = Recurrence(self.rrule or series.recurrence.rrule, policies)
        return series.edited(recurrence, self.timezone or series.timezone, at, self.exdates)


@dataclass(frozen=True, slots=True)
class SeriesView:
    """A series as it is shown, with its newest instance, and the id of the change that was made, if one was."""

    series: Series
    tip: Task | None
    change_id: UUID | None = None


async def read_series(means: Means, user_id: UUID, series_id: UUID) -> SeriesView:
    """Read a series of this user. Raises SeriesNotFound."""
    async with means.database.begin() as work:
        series = await work.series(series_id)
        if series is None or series.user_id != user_id:
            raise SeriesNotFound("there is no such series")
        return SeriesView(series, await work.tip(series_id))


async def edit_series(
    means: Means, actor: Actor, user_id: UUID, series_id: UUID, edit: SeriesEdit, expected: Versions = None
) -> SeriesView:
    """Merge the edit into the series; it counts from the open instance on, which keeps its date, left out or not.

    Raises SeriesNotFound, SeriesVersionMismatch, SeriesDateTaken, InvalidTask.
    """

    async def change(work: Transaction, series: Series, owner: Owner, stamp: Stamp) -> Series:
        after = edit.of(series, stamp.at)
        if after is series:
            return series
        after = await _carried_over(work, series, after, owner, stamp)
        if edit.exdates is not None:
            _check_exdates(after)
        return after

    return await _change(means, actor, user_id, series_id, expected, change)


async def pause_series(means: Means, actor: Actor, user_id: UUID, series_id: UUID) -> SeriesView:
    """Let no further instances come; the open one stays. Raises SeriesNotFound."""
    return await _simply(means, actor, user_id, series_id, Series.paused)


async def resume_series(means: Means, actor: Actor, user_id: UUID, series_id: UUID) -> SeriesView:
    """Go on: what fell into the pause is not made up for. Raises SeriesNotFound."""
    return await _simply(means, actor, user_id, series_id, Series.resumed)


async def end_series(means: Means, actor: Actor, user_id: UUID, series_id: UUID) -> SeriesView:
    """Let no further instances come, for good; tasks stay as they are. Raises SeriesNotFound."""
    return await _simply(means, actor, user_id, series_id, Series.ended)


async def edit_series_from_task(
    means: Means, actor: Actor, user_id: UUID, task_id: UUID, edit: TaskEdit, expected: Versions = None
) -> TaskView:
    """Merge an edit into the newest instance and into all that come after it.

    What follows copies its fields from it; a new due is the first slot from now on, a new rule counts from it, and no
    recurrence ends the series; one that has ended goes on with the recurrence that is named.
    Raises NotRecurring, LaterInstances, SeriesDateTaken and other TaskErrors.
    """
    async with means.database.begin() as work:
        # A status may open the task, a recurrence a series that has ended; who moves to another zone looks at neither.
        opens = edit.status is not None or edit.names_recurrence
        series, locked = await lock_for_status(work, user_id, task_id, expected, opens=opens)
        if series is None:
            raise NotRecurring("the task belongs to no series: leave out scope=series")
        stamp = Stamp(actor, await means.now())
        plain = replace(edit, names_recurrence=False, recurrence=None)
        view = await apply_edit(work, series, locked, plain, stamp)
        newest = await work.tip(series.id)
        if newest is not None and newest.id != task_id:
            raise LaterInstances(f"the occurrence of {newest.occurrence_key} is there already: edit that one")
        after = _series_of(edit, series, view.task, stamp.at)
        if after is not series:
            moves = _moves(edit, view.task)
            after = await _carried_over(work, series, after, locked.owner, stamp, moves=moves)
            tip = await work.tip(series.id)
            await work.write_series(
                series_write(series, after, tip=tip, epoch=locked.owner.epoch, stamp=stamp)
            )
        task = (await work.lock_task(user_id, task_id) or Locked(view.task, locked.owner)).task
    means.wake()
    changed = after is not series or view.change_id is not None
    return TaskView(task, after.goes_on, stamp.change_id if changed else None)


def _series_of(edit: TaskEdit, series: Series, task: Task, at: datetime) -> Series:
    if edit.names_recurrence and edit.recurrence is None:
        return series.ended(at)
    recurrence = edit.recurrence if edit.recurrence is not None else series.recurrence
    zone = task.timezone if _names_due(edit) else series.timezone
    if edit.recurrence is not None and series.has_ended:
        return series.begun_again(recurrence, zone, at)
    after = series.edited(recurrence, zone, at)
    if after is series and _moves(edit, task):
        return replace(series, version=series.version + 1, updated_at=at)
    return after


def _names_due(edit: TaskEdit) -> bool:
    return not {"due_at", "due_date", "timezone"}.isdisjoint(edit.fields)


def _moves(edit: TaskEdit, task: Task) -> bool:
    """Whether the grid is to follow the task: what an edit of this instance alone moved before does not count."""
    return _names_due(edit) and task.is_open and _slot(task, task.timezone) != task.occurrence_key


async def _carried_over(
    work: Transaction,
    before: Series,
    after: Series,
    owner: Owner,
    stamp: Stamp,
    *,
    moves: bool = False,
) -> Series:
    """Give the series with its new first slot, and write the open instance on it.

    A new rule or due counts from the open instance: its date is the first slot, above every key there was. Without an
    open one the grid keeps its start, and what follows lies after the last closed key.
    """
    if after.has_ended:
        return after
    opened = await work.lock_open_instances(before.id)
    tip = max(opened, key=lambda task: task.occurrence_key or "", default=None)
    if tip is None:
        check_grid(after)
        return after
    rezoned = _in_zone(tip, before, after)
    anchors_anew = after.recurrence.rrule != before.recurrence.rrule or moves
    key = _slot(rezoned, after.timezone) if anchors_anew else tip.occurrence_key
    if key is None:
        raise InvalidTask("due_at", "due_required", "a recurring task needs due_at or due_date")
    if anchors_anew:
        after = replace(after, start=key)
        taken = await work.greatest_key(before.id, besides=tip.id)
        if taken is not None and key <= taken:
            raise SeriesDateTaken(f"it is due on {key}, and the occurrence of {taken} was there before it")
    check_grid(after)
    keyed = replace(rezoned, occurrence_key=key)
    if keyed != tip or before.version != after.version:
        told = revise(tip, keyed, stamp.at, owner.day_start)
        if told is not tip:
            write = task_write(
                tip, told, owner=owner, series_version=after.version, stamp=stamp, kind="series_changed"
            )
            await work.write(write, owner)
    return after


def _slot(task: Task, zone: str) -> str | None:
    return slot_of(task.due_at, task.due_date, zone)


def _in_zone(task: Task, before: Series, after: Series) -> Task:
    """An instance that is due on its slot keeps its wall-clock time in a new zone."""
    if before.timezone == after.timezone or task.timezone != before.timezone:
        return task
    key = task.occurrence_key
    if task.due_at is None or key is None or _slot(task, task.timezone) != key:
        return replace(task, timezone=after.timezone)
    local = parse_local(key)
    if not isinstance(local, datetime):
        return replace(task, timezone=after.timezone)
    return replace(task, timezone=after.timezone, due_at=resolve(local, after.timezone))


def check_grid(series: Series) -> None:
    """Raise InvalidTask for a rule that does not go with the first slot."""
    try:
        check_start(parse_rrule(series.recurrence.rrule), series.start)
    except RuleError as error:
        raise InvalidTask("rrule", "rrule", str(error)) from error


def _check_exdates(series: Series) -> None:
    """Raise InvalidTask when a slot that is left out is not of the form of its slots, for it would leave out nothing.

    Whether the grid has it is not asked: the rule may change and change back.
    """
    other = [slot for slot in series.exdates if len(slot) != len(series.start)]
    if other:
        form = "a date, YYYY-MM-DD" if series.is_all_day else "a local date-time, YYYY-MM-DDTHH:MM:SS"
        raise InvalidTask("exdates", "exdates", f"{other[0]!r}: each slot of this series is {form}")


async def _simply(
    means: Means,
    actor: Actor,
    user_id: UUID,
    series_id: UUID,
    transition: Callable[[Series, datetime], Series],
) -> SeriesView:
    async def change(_: Transaction, series: Series, __: Owner, stamp: Stamp) -> Series:
        return transition(series, stamp.at)

    return await _change(means, actor, user_id, series_id, None, change)


_Change = Callable[[Transaction, Series, Owner, Stamp], Awaitable[Series]]


async def _change(
    means: Means, actor: Actor, user_id: UUID, series_id: UUID, expected: Versions, change: _Change
) -> SeriesView:
    async with means.database.begin() as work:
        series = await work.lock_series(series_id)
        if series is None or series.user_id != user_id:
            raise SeriesNotFound("there is no such series")
        if expected is not None and series.version not in expected:
            raise SeriesVersionMismatch(series.version)
        owner = await work.owner(user_id)
        if owner is None:
            raise AccountNotFound("the account is gone")
        stamp = Stamp(actor, await means.now())
        after = await change(work, series, owner, stamp)
        tip = await work.tip(series_id)
        if after is not series:
            if after.version != series.version + 1:
                raise ConcurrentChange("the series was changed at the same moment")
            await work.write_series(series_write(series, after, tip=tip, epoch=owner.epoch, stamp=stamp))
    if after is series:
        return SeriesView(series, tip)
    means.wake()
    return SeriesView(after, tip, stamp.change_id)
