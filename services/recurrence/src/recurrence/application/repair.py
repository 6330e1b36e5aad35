"""The hourly repair: whatever was closed and has no successor yet is proposed again."""

from __future__ import annotations

from datetime import datetime

from event_contracts.recurrence import GenerationReason
from recurrence import metrics
from recurrence.application.evaluate import Evaluation
from recurrence.application.keep_complete import DerivedState
from recurrence.application.ports import Answer, Checks, TaskApi
from recurrence.application.propose import Occasion, Outcome
from recurrence.application.reading import known
from recurrence.domain.checks import GIVEN_UP_AGAIN_AFTER, Check


class Repair:
    """Asks task-api, not the documents: they may be what is wrong."""

    def __init__(
        self, checks: Checks, task_api: TaskApi, evaluation: Evaluation, state: DerivedState
    ) -> None:
        self._checks = checks
        self._task_api = task_api
        self._evaluation = evaluation
        self._state = state

    async def sweep(self) -> None:
        """Look at every check that is due; nothing while the documents are being rebuilt."""
        if self._state.is_complete:
            await self._checks.sweep(self._look_at)

    async def _look_at(self, check: Check, _: datetime) -> Answer:
        snapshot = await self._task_api.series(check.series_id)
        if snapshot is not None:
            tip = known(snapshot).tip
            unanswered = (
                tip is not None
                and tip.task_id == check.predecessor_task_id
                and tip.closing is not None
                and tip.closing.version == check.closed_version
            )
            outcome = Outcome.NOTHING
            if unanswered:
                outcome = await self._evaluation.on_series(snapshot, Occasion(why=GenerationReason.REPAIR))
            if outcome is Outcome.PROPOSED:
                metrics.sweep_checks.labels("repaired").inc()
                return False
            if outcome is Outcome.GIVEN_UP:
                metrics.sweep_checks.labels("given_up").inc()
                return GIVEN_UP_AGAIN_AFTER
        # Gone, moved on, or without a successor to come: a later change of the series brings its own event.
        metrics.sweep_checks.labels("settled").inc()
        return True
