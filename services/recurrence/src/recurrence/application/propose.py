"""Compute the successor of a closed instance and propose it to task-api, which decides."""

from __future__ import annotations

from time import perf_counter

import structlog

from event_contracts.recurrence import GenerationReason, RecurringTaskGenerated
from event_contracts.rrule import RuleError
from event_contracts.values import ClosedBy
from recurrence import metrics
from recurrence.application.ports import Checks, Clock, Publisher
from recurrence.domain.budget import Budget
from recurrence.domain.checks import CHECK_AFTER, Check
from recurrence.domain.position import Closing, KnownSeries, Position
from recurrence.domain.successor import Next, next_slot

_log = structlog.get_logger(__name__)


class Proposer:
    """Proposes successors. What it proposes depends on the series and the closed instance alone."""

    def __init__(self, publisher: Publisher, checks: Checks, clock: Clock) -> None:
        self._publisher = publisher
        self._checks = checks
        self._clock = clock

    async def propose(
        self, series: KnownSeries, position: Position, why: GenerationReason | None = None
    ) -> bool:
        """Publish the successor of `position` and have the sweep see that it comes to be.

        False when there is none: the instance is open or has no successor by the way it was closed, the series is
        paused, ended or used up, or its rule cannot be read (which is logged and counted).
        """
        closing = position.closing
        if closing is None or not series.generates:
            return False
        following = _following(series, position, closing)
        if following is None:
            return False
        now = await self._clock.now()
        # First the check: should this process die before the event is out, nobody else would look after it.
        await self._checks.expect(
            Check(series.series_id, position.task_id, closing.version), now + CHECK_AFTER
        )
        reason = why or _reason(closing)
        await self._publisher.occurrence_generated(
            RecurringTaskGenerated(
                series_id=series.series_id,
                series_version=series.version,
                user_id=series.user_id,
                predecessor_task_id=position.task_id,
                predecessor_closed_version=closing.version,
                occurrence_key=following.occurrence_key,
                due_at=following.due_at,
                due_date=following.due_date,
                timezone=series.timezone,
                why=reason,
                sentence=following.sentence,
                generated_at=now,
            )
        )
        metrics.occurrences_generated.labels(reason.value).inc()
        return True


def _reason(closing: Closing) -> GenerationReason:
    return GenerationReason.SKIPPED if closing.closed_by is ClosedBy.SKIPPED else GenerationReason.COMPLETED


def _following(series: KnownSeries, position: Position, closing: Closing) -> Next | None:
    named = {"series_id": str(series.series_id), "task_id": str(position.task_id)}
    budget = Budget()
    began = perf_counter()
    try:
        following = next_slot(series.grid(), position.occurrence_key, closing.at, series.resumed_at, budget)
    except (RuleError, ValueError) as error:
        metrics.unusable_series.inc()
        _log.error("series_cannot_be_read", **named, error=str(error))
        return None
    metrics.evaluation_seconds.observe(perf_counter() - began)
    if budget.exhausted:
        metrics.expansion_bound.inc()
        _log.warning("expansion_bound_hit", **named, rrule=series.rrule)
    elif following is None:
        _log.info("series_is_over", **named, after=position.occurrence_key)
    if following is None:
        metrics.series_over.inc()
    return following
