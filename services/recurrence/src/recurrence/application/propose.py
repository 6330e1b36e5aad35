"""Compute what follows an instance and propose it to task-api, which decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from time import perf_counter
from typing import TypeVar

import structlog

from event_contracts.recurrence import GenerationReason, ProposedOccurrence, RecurringTaskGenerated
from event_contracts.rrule import RuleError
from event_contracts.values import ClosedBy
from recurrence import metrics
from recurrence.application.ports import AwaitedOccurrences, Checks, Clock, Publisher
from recurrence.domain.budget import Budget, ExpansionBoundError
from recurrence.domain.checks import CHECK_AFTER, CHECK_AGAIN_AFTER, GIVEN_UP_AGAIN_AFTER, Awaited, Check
from recurrence.domain.position import Closing, KnownSeries, Position
from recurrence.domain.schedule import scheduled
from recurrence.domain.series import Series
from recurrence.domain.successor import Next, next_slot

FoundT = TypeVar("FoundT")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Occasion:
    """What has an instance looked at: a sweep for a reason of its own (`why`), at a moment of Redis (`now`), or an
    event. Only where the whole series is looked at is something made by the schedule (`makes`); an event of an
    instance says no more than that there is a date to await."""

    makes: bool = True
    why: GenerationReason | None = None
    now: datetime | None = None


EVENT = Occasion()
"""An event of a series, or a pass over all of them."""


class Outcome(Enum):
    """What became of the question what follows."""

    NOTHING = auto()
    PROPOSED = auto()
    GIVEN_UP = auto()


class Proposer:
    """Proposes what follows an instance: its successor once it is closed, or by the schedule while it is open.

    Which slot that is, the series and the closed instance alone decide. Of an open one the clock has a say too, for
    there is no closing to count from; task-api takes one follower an instance, whichever is offered first.
    """

    def __init__(
        self, publisher: Publisher, checks: Checks, awaited: AwaitedOccurrences, clock: Clock
    ) -> None:
        self._publisher = publisher
        self._checks = checks
        self._awaited = awaited
        self._clock = clock

    async def propose(self, series: KnownSeries, position: Position, occasion: Occasion) -> Outcome:
        """Publish what follows `position` and have a sweep see that it comes to be.

        NOTHING when there is nothing to propose: it is open and the next date is still to come, or instances do not
        pile up; it has no successor by the way it was closed; the series is paused, ended or used up, or its rule
        cannot be read (which is logged and counted). GIVEN_UP when that is not known, for the search cost too much: it
        is logged, counted and asked again each day, for a series that nobody looks after any more has ended in silence.
        """
        try:
            if position.closing is not None and series.generates:
                return await self._after_closing(series, position, position.closing, occasion.why)
            if position.is_open and series.makes_by_schedule:
                return await self._by_schedule(series, position, occasion)
        except ExpansionBoundError:
            await self._keep_asking(series, position)
            return Outcome.GIVEN_UP
        return Outcome.NOTHING

    async def _keep_asking(self, series: KnownSeries, position: Position) -> None:
        at = await self._clock.now() + GIVEN_UP_AGAIN_AFTER
        if position.closing is not None:
            check = Check(series.series_id, position.task_id, position.closing.version)
            await self._checks.expect(check, at)
        else:
            await self._awaited.expect(_awaited(series, position), at)

    async def _after_closing(
        self, series: KnownSeries, position: Position, closing: Closing, why: GenerationReason | None
    ) -> Outcome:
        following = _asked(
            series,
            position,
            lambda grid, budget: next_slot(
                grid, position.occurrence_key, closing.at, series.resumed_at, budget
            ),
        )
        if following is None:
            return Outcome.NOTHING
        now = await self._clock.now()
        # First the check: should this process die before the event is out, nobody else would look after it.
        await self._checks.expect(
            Check(series.series_id, position.task_id, closing.version), now + CHECK_AFTER
        )
        await self._publish(series, position, closing.version, [following], why or _reason(closing), now)
        return Outcome.PROPOSED

    async def _by_schedule(self, series: KnownSeries, position: Position, occasion: Occasion) -> Outcome:
        now = occasion.now or await self._clock.now()
        ahead = position.ahead or timedelta()
        found = _asked(
            series,
            position,
            lambda grid, budget: scheduled(
                grid, position.occurrence_key, ahead, now, series.resumed_at, budget
            ),
        )
        if found is None:
            return Outcome.NOTHING
        awaited = _awaited(series, position)
        if not found.made:
            await self._awaited.expect(awaited, found.at)
            return Outcome.NOTHING
        if not occasion.makes:
            # What is behind goes on with the next sweep, or else all that was missed would come in one go.
            await self._awaited.expect(awaited, now + CHECK_AGAIN_AFTER if position.is_new else found.at)
            return Outcome.NOTHING
        await self._awaited.expect(awaited, now + CHECK_AFTER)
        await self._publish(series, position, None, found.made, GenerationReason.SCHEDULE, now)
        return Outcome.PROPOSED

    async def _publish(
        self,
        series: KnownSeries,
        position: Position,
        closed_version: int | None,
        slots: Sequence[Next],
        why: GenerationReason,
        now: datetime,
    ) -> None:
        first, *further = slots
        await self._publisher.occurrence_generated(
            RecurringTaskGenerated(
                series_id=series.series_id,
                series_version=series.version,
                user_id=series.user_id,
                predecessor_task_id=position.task_id,
                predecessor_closed_version=closed_version,
                occurrence_key=first.occurrence_key,
                due_at=first.due_at,
                due_date=first.due_date,
                timezone=series.timezone,
                why=why,
                sentence=first.sentence,
                further=tuple(
                    ProposedOccurrence(
                        occurrence_key=one.occurrence_key,
                        due_at=one.due_at,
                        due_date=one.due_date,
                        sentence=one.sentence,
                    )
                    for one in further
                ),
                generated_at=now,
            )
        )
        metrics.occurrences_generated.labels(why.value).inc(len(slots))


def _awaited(series: KnownSeries, position: Position) -> Awaited:
    return Awaited(series.series_id, series.version, position.task_id, position.version)


def _reason(closing: Closing) -> GenerationReason:
    return GenerationReason.SKIPPED if closing.closed_by is ClosedBy.SKIPPED else GenerationReason.COMPLETED


def _asked(
    series: KnownSeries, position: Position, question: Callable[[Series, Budget], FoundT | None]
) -> FoundT | None:
    """The rule engine's answer, measured; None, which is logged and counted, when there is none.

    Raises ExpansionBoundError, logged and counted too, when it is not known.
    """
    named = {"series_id": str(series.series_id), "task_id": str(position.task_id)}
    began = perf_counter()
    try:
        found = question(series.grid(), Budget())
    except ExpansionBoundError:
        metrics.expansion_bound.inc()
        _log.warning("expansion_bound_hit", **named, rrule=series.rrule)
        raise
    except (RuleError, ValueError) as error:
        metrics.unusable_series.inc()
        _log.error("series_cannot_be_read", **named, error=str(error))
        return None
    finally:
        metrics.evaluation_seconds.observe(perf_counter() - began)
    if found is None:
        metrics.series_over.inc()
        _log.info("series_is_over", **named, after=position.occurrence_key)
    return found
