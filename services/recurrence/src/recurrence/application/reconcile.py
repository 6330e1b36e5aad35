"""The slow pass: what no event and no check brought is found by comparing with task-api, and counted."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from event_contracts.series import SeriesSnapshot
from recurrence import metrics
from recurrence.application.errors import TryAgain
from recurrence.application.keep_complete import DerivedState, TakeUp
from recurrence.application.ports import Clock, Documents, Generation, Known, RedisFacts, TaskApi
from recurrence.application.reading import known
from recurrence.domain.checks import CHECK_AFTER
from recurrence.domain.position import KnownSeries

OVERLAP = timedelta(minutes=15)
"""Passes overlap by this much, so that what was committed while one read is seen by the next."""

_log = structlog.get_logger(__name__)


class Reconcile:
    """Compares every series, those that ended since the last pass too; one replica at a time.

    What changed within the last two minutes is left alone: its event may be on its way.
    """

    def __init__(
        self,
        documents: Documents,
        task_api: TaskApi,
        redis: RedisFacts,
        state: DerivedState,
        take_up: TakeUp,
        clock: Clock,
    ) -> None:
        self._documents = documents
        self._task_api = task_api
        self._redis = redis
        self._state = state
        self._take_up = take_up
        self._clock = clock
        self._last_pass: datetime | None = None

    async def step(self) -> None:
        """Make one pass; nothing while the documents are being rebuilt or another replica is at it."""
        generation = await self._documents.generation()
        if generation is None or not self._state.is_complete:
            return
        async with self._redis.rebuild_lock() as mine:
            if not mine:
                return
            began = await self._clock.now()
            try:
                await self._pass_over(generation, None, began)
                if self._last_pass is not None:
                    # Ended series are no longer among all of them.
                    await self._pass_over(generation, self._last_pass - OVERLAP, began)
            except TryAgain as reason:
                _log.warning("reconcile_stopped", reason=str(reason))
                return
        self._last_pass = began
        metrics.rebuilds.labels("reconcile").inc()

    async def _pass_over(self, generation: Generation, since: datetime | None, now: datetime) -> None:
        async for page in self._task_api.all_series(since):
            for snapshot in page:
                what = await self._what_is_missing(generation, snapshot, now - CHECK_AFTER)
                if what is not None:
                    await self._take_up(snapshot)
                    metrics.reconciled.labels(what).inc()
                    _log.warning("reconciled_series", series_id=str(snapshot.series_id), what=what)

    async def _what_is_missing(
        self, generation: Generation, snapshot: SeriesSnapshot, settled_before: datetime
    ) -> str | None:
        """Say which document is not as new as what task-api said long enough ago: `series`, `closing` or None."""
        series = known(snapshot)
        found = await self._documents.read(
            generation.name,
            task_id=None if series.tip is None else series.tip.task_id,
            series_id=series.series_id,
            user_id=series.user_id,
        )
        if found.user_is_erased:
            return None
        if snapshot.updated_at < settled_before and _lacks_series(series, found):
            return "series"
        if _lacks_closing(series, found, settled_before):
            return "closing"
        return "tip" if _lacks_open_tip(series, found) else None


def _lacks_series(series: KnownSeries, found: Known) -> bool:
    return found.series is None or found.series.value.order < series.order


def _lacks_closing(series: KnownSeries, found: Known, settled_before: datetime) -> bool:
    """Whether the tip was closed, is without a successor, and the completion was never heard of."""
    tip = series.tip
    if tip is None or tip.closing is None or tip.closing.at >= settled_before:
        return False
    return found.task is None or found.task.value.order < tip.order


def _lacks_open_tip(series: KnownSeries, found: Known) -> bool:
    """Whether nobody awaits what the schedule makes next: the newest instance was never heard of as it is."""
    tip = series.tip
    if tip is None or not tip.is_open or not series.makes_by_schedule:
        return False
    return found.task is None or found.task.value.order < tip.order
