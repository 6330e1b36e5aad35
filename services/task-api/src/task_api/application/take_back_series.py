"""Undo of what a change did to a series: its fields go back, and its instances must still stand where it put them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from event_contracts.series import RecurrencePolicies
from task_api.application.announce import series_write
from task_api.application.edit_series import check_grid
from task_api.application.ports import ChangedTask, Locked, Stamp, Transaction
from task_api.domain.errors import AccountNotFound, InvalidTask, UndoNotPossible
from task_api.domain.series import POLICIES, Recurrence, Series, told
from task_api.domain.task import Change, Task

_OWN_FATE = frozenset({"deleted_at", "series_id"})
"""What takes an instance away, or out of its series: it comes back as it was, whatever came after it."""

SeriesChanges = Mapping[UUID, Mapping[str, Change]]
"""What a change did to series, by their ids."""


async def lock_series(
    work: Transaction,
    user_id: UUID,
    task_ids: Sequence[UUID],
    rows: Sequence[ChangedTask],
    edits: SeriesChanges,
) -> dict[UUID, Series]:
    """Lock the series of these tasks, those that the change took tasks out of, and those that it changed itself.

    Raises UndoNotPossible when one of the last is gone.
    """
    found = dict(await work.lock_series_of_tasks(user_id, task_ids))
    left = {left for row in rows if (left := series_left(row)) is not None}
    for series_id in sorted((left | edits.keys()) - found.keys()):
        series = await work.lock_series(series_id)
        if series is not None:
            found[series_id] = series
    if edits.keys() - found.keys():
        raise UndoNotPossible("its series is gone")
    return found


def series_left(row: ChangedTask) -> UUID | None:
    """Give the series that the change took the task out of."""
    change = row.changes.get("series_id")
    return None if change is None or change.old is None else UUID(change.old)


async def restore_series(
    work: Transaction,
    rows: Sequence[ChangedTask],
    edits: SeriesChanges,
    series: Mapping[UUID, Series],
    locked: Mapping[UUID, Locked],
    stamp: Stamp,
) -> dict[UUID, Series]:
    """Give what is to be written: the series that the change began, ended now, and those that it changed, as they were.

    Raises UndoNotPossible when one was changed again since, or has gone on.
    """
    back: dict[UUID, Series] = {}
    touched = {row.task_id for row in rows}
    for row in rows:
        task = locked[row.task_id].task
        series_id = task.series_id or series_left(row)
        if series_id is None or series_id in back:
            continue
        its_series = series[series_id]
        if row.version == 1 or ("series_id" in row.changes and series_left(row) is None):
            await _check_as_begun(work, row, its_series, touched)
            back[series_id] = its_series.ended(stamp.at)
        elif series_id in edits:
            await _check_place(work, row, its_series, task)
        elif its_series.ended_at == row.at:
            # The release before this one kept no history of series: its undo tokens are good for a day.
            back[series_id] = its_series.going_on(stamp.at)
    for series_id in edits.keys() - back.keys():
        back[series_id] = _taken_back(series[series_id], edits[series_id], stamp.at)
    return {series_id: now for series_id, now in back.items() if now is not series[series_id]}


async def _check_as_begun(
    work: Transaction, row: ChangedTask, series: Series, touched: Collection[UUID]
) -> None:
    """Raise UndoNotPossible unless the newest instance is one of those that the change `touched`: keys only grow."""
    if not series.has_ended and series.updated_at != row.at:
        raise UndoNotPossible("its series was changed since")
    tip = await work.tip(series.id)
    if tip is not None and tip.id not in touched:
        raise UndoNotPossible("its series has gone on since")


async def write_series(
    work: Transaction,
    user_id: UUID,
    before: Mapping[UUID, Series],
    restored: Mapping[UUID, Series],
    stamp: Stamp,
) -> None:
    """Write the series that are taken back, after their instances: each tells which one is its newest."""
    owner = await work.owner(user_id) if restored else None
    for series_id, after in restored.items():
        if owner is None:
            raise AccountNotFound("the account is gone")
        tip = await work.tip(series_id)
        await work.write_series(
            series_write(before[series_id], after, tip=tip, epoch=owner.epoch, stamp=stamp)
        )


def _taken_back(series: Series, changes: Mapping[str, Change], at: datetime) -> Series:
    """Give the series with the old values of these changes; itself when they change nothing.

    Raises UndoNotPossible when one of the fields was changed since, or does not go with what was.
    """
    moved = sorted(name for name, change in changes.items() if told(series, name) != change.new)
    if moved:
        raise UndoNotPossible(f"its series was changed again since: {', '.join(moved)}")
    back = _with_old_values(series, changes)
    if back == series:
        return series
    try:
        check_grid(back)
    except InvalidTask as error:
        raise UndoNotPossible(f"with what was changed since, its series would be wrong: {error}") from error
    return replace(back, version=series.version + 1, updated_at=at)


async def _check_place(work: Transaction, row: ChangedTask, series: Series, task: Task) -> None:
    """Raise UndoNotPossible when an instance that was changed along with its series is not the newest one any more, or
    has a slot of the grid that is to go and is closed: closed slots never move."""
    if not _OWN_FATE.isdisjoint(row.changes):
        return
    tip = await work.tip(series.id)
    if tip is None or tip.id != task.id:
        raise UndoNotPossible("its series has gone on since")
    if "occurrence_key" in row.changes and not task.is_open:
        raise UndoNotPossible("the occurrence that it moved was closed since")


def _with_old_values(series: Series, changes: Mapping[str, Change]) -> Series:
    old = {name: change.old for name, change in changes.items()}
    policies = series.recurrence.policies.model_dump() | {name: old[name] for name in POLICIES if name in old}
    recurrence = Recurrence(
        old.get("rrule", series.recurrence.rrule), RecurrencePolicies.model_validate(policies)
    )
    own = {name: read(old[name]) for name, read in _READ.items() if name in old}
    return replace(series, recurrence=recurrence, **own)


def _instant(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


_READ: dict[str, Callable[[Any], Any]] = {
    "timezone": str,
    "start": str,
    "exdates": tuple,
    "paused_at": _instant,
    "resumed_at": _instant,
    "ended_at": _instant,
}
