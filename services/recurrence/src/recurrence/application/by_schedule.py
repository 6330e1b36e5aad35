"""Instances that come by their dates: those that pile up are made when their time comes, the one before open or not."""

from __future__ import annotations

from datetime import datetime, timedelta

from recurrence import metrics
from recurrence.application.evaluate import Evaluation
from recurrence.application.keep_complete import DerivedState
from recurrence.application.ports import Answer, AwaitedOccurrences, Clock, TaskApi
from recurrence.application.propose import Occasion, Outcome
from recurrence.application.reading import known
from recurrence.domain.checks import GIVEN_UP_AGAIN_AFTER, Awaited
from recurrence.domain.position import KnownSeries

LONGEST_PAUSE = timedelta(minutes=65)
"""The hourly tick comes before. daprd asks once, at its start, whether the binding is wanted; should that fail, no tick
would ever come."""
SHORTEST_PAUSE = timedelta(seconds=1)
"""What cannot be done now is asked no faster than this."""


class BySchedule:
    """Asks task-api, not the documents: what they say of the newest instance may be late.

    Between two ticks an alarm is set for the earliest date, so that an instance is there when its time comes and not
    at the next full hour.
    """

    def __init__(
        self,
        awaited: AwaitedOccurrences,
        task_api: TaskApi,
        evaluation: Evaluation,
        state: DerivedState,
        clock: Clock,
    ) -> None:
        self._awaited = awaited
        self._task_api = task_api
        self._evaluation = evaluation
        self._state = state
        self._clock = clock
        self._set_for: datetime | None = None

    async def sweep(self) -> None:
        """Make all whose time has come; nothing while the documents are being rebuilt."""
        if self._state.is_complete:
            await self._awaited.sweep(self._look_at)

    async def ring(self) -> timedelta:
        """Sweep; how long to wait until the next look."""
        self._set_for = None
        await self.sweep()
        following, now = await self._awaited.next_due(), await self._clock.now()
        wait = LONGEST_PAUSE if following is None else following - now
        wait = min(max(wait, SHORTEST_PAUSE), LONGEST_PAUSE)
        self._set_for = now + wait
        return wait

    def is_later_than(self, moment: datetime) -> bool:
        """Whether the alarm is set for later than `moment`, so that it has to be set anew."""
        return self._set_for is None or moment < self._set_for

    async def _look_at(self, awaited: Awaited, now: datetime) -> Answer:
        snapshot = await self._task_api.series(awaited.series_id)
        series = None if snapshot is None else known(snapshot)
        if snapshot is None or series is None or not _is_as_then(series, awaited):
            # Gone, at rest, or changed: with a change comes an event, and with that what is awaited from then on.
            metrics.awaited_looks.labels("settled").inc()
            return True
        outcome = await self._evaluation.on_series(snapshot, Occasion(now=now))
        if outcome is Outcome.GIVEN_UP:
            metrics.awaited_looks.labels("given_up").inc()
            return GIVEN_UP_AGAIN_AFTER
        if outcome is Outcome.PROPOSED:
            metrics.awaited_looks.labels("made").inc()
        return False


def _is_as_then(series: KnownSeries, awaited: Awaited) -> bool:
    tip = series.tip
    return (
        tip is not None
        and tip.is_open
        and series.makes_by_schedule
        and (series.version, tip.task_id, tip.version)
        == (awaited.series_version, awaited.task_id, awaited.task_version)
    )
