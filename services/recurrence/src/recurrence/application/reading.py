"""From task-api's snapshots to what is kept of them."""

from __future__ import annotations

from event_contracts.series import SeriesSnapshot
from event_contracts.tasks import TaskSnapshot
from recurrence.domain.position import KnownSeries, Position


def position_of(task: TaskSnapshot) -> Position | None:
    """Give the position of an instance; None for a task that belongs to no series."""
    if task.series_id is None or task.series_version is None or task.occurrence_key is None:
        return None
    return Position(
        task_id=task.task_id,
        series_id=task.series_id,
        user_id=task.user_id,
        epoch=task.epoch,
        version=task.version,
        series_version=task.series_version,
        occurrence_key=task.occurrence_key,
        is_open=task.is_open,
        closed_by=task.closed_by,
        closed_version=task.closed_version,
        closed_at=task.closed_at,
    )


def known(series: SeriesSnapshot) -> KnownSeries:
    """Give what is kept of a series, its tip included."""
    return KnownSeries(
        series_id=series.series_id,
        user_id=series.user_id,
        epoch=series.epoch,
        version=series.version,
        rrule=series.rrule,
        start=series.start,
        timezone=series.timezone,
        policies=series.policies,
        exdates=series.exdates,
        paused=series.paused,
        ended=series.ended,
        resumed_at=series.resumed_at,
        tip=_tip_of(series),
    )


def _tip_of(series: SeriesSnapshot) -> Position | None:
    tip = series.tip
    if tip is None:
        return None
    return Position(
        task_id=tip.task_id,
        series_id=series.series_id,
        user_id=series.user_id,
        epoch=series.epoch,
        version=tip.version,
        series_version=series.version,
        occurrence_key=tip.occurrence_key,
        is_open=tip.is_open,
        closed_by=tip.closed_by,
        closed_version=tip.closed_version,
        closed_at=tip.closed_at,
    )
