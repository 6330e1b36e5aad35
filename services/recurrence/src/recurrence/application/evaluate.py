"""What follows from a snapshot: the newest word on a task or a series is kept, and its effects are run.

Everything is ordered by (epoch, version). A newer snapshot is stored and acted on; of an equal one the effects run
again, since the process may have died between them; an older one re-asserts those of the stored document. Effects are
the same each time, so that running them once more does no harm.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import structlog

from event_contracts.series import SeriesSnapshot
from event_contracts.tasks import TaskSnapshot
from recurrence.application.errors import DocumentWriteFailed, NotReady
from recurrence.application.ports import Documents, Generation, Held, Known, TaskApi
from recurrence.application.propose import EVENT, Occasion, Outcome, Proposer
from recurrence.application.reading import known, position_of
from recurrence.domain.position import KnownSeries, Position, erased_with

_log = structlog.get_logger(__name__)


class Evaluation:
    """Takes snapshots in any order, any number of times, on any number of replicas.

    Every method raises TryAgain, and whatever the bus or the state store raise when they are away.
    """

    def __init__(self, documents: Documents, task_api: TaskApi, proposer: Proposer) -> None:
        self._documents = documents
        self._task_api = task_api
        self._proposer = proposer

    async def on_task(self, snapshot: TaskSnapshot) -> None:
        """Take up what became of a task; nothing to do for one that belongs to no series."""
        position = position_of(snapshot)
        if position is None:
            return
        generation = await self._generation_for(position.epoch)
        if generation is None:
            return
        found = await self._read(generation, position)
        if found.user_is_erased and not position.is_erased:
            return
        newest = await self._newest_position(generation, position, found.task)
        series = None if found.series is None else found.series.value
        await self._act_on(generation, newest, series, Occasion(makes=False))

    async def on_series(self, snapshot: SeriesSnapshot, occasion: Occasion = EVENT) -> Outcome:
        """Take up what became of a series: its tip is treated like an event of its own, so that an edit, a resume or
        an end that is taken back counts at once."""
        series = known(snapshot)
        generation = await self._generation_for(series.epoch)
        if generation is None:
            return Outcome.NOTHING
        tip_id = None if series.tip is None else series.tip.task_id
        found = await self._documents.read(
            generation.name, task_id=tip_id, series_id=series.series_id, user_id=series.user_id
        )
        if found.user_is_erased or (found.series is not None and found.series.value.outlives(series)):
            return Outcome.NOTHING
        newest = await self._newest_series(generation, series, found.series)
        tip = newest.tip
        if tip is None:
            return Outcome.NOTHING
        if tip.task_id != tip_id:
            found = await self._read(generation, tip)
        position = await self._newest_position(generation, tip, found.task)
        if position.is_open and position.ahead is None and newest.makes_by_schedule:
            position = await self._with_reminders(generation, position)
        return await self._act_on(generation, position, newest, occasion)

    async def on_user_deleted(self, user_id: UUID) -> None:
        """Let nothing of this user be taken up again; the tasks and series leave by their own events."""
        generation = await self._documents.generation()
        if generation is None:
            raise NotReady("there is no marker")
        await self._documents.put_erased_user(generation.name, user_id)

    async def _generation_for(self, epoch: int) -> Generation | None:
        """The valid generation; None when `epoch` is a past one, whose events say nothing any more."""
        generation = await self._documents.generation()
        if generation is None:
            raise NotReady("there is no marker")
        if epoch > generation.epoch:
            raise NotReady(f"epoch {epoch} has begun, the documents are of epoch {generation.epoch}")
        return None if epoch < generation.epoch else generation

    async def _read(self, generation: Generation, position: Position) -> Known:
        return await self._documents.read(
            generation.name,
            task_id=position.task_id,
            series_id=position.series_id,
            user_id=position.user_id,
        )

    async def _newest_position(
        self, generation: Generation, position: Position, held: Held[Position] | None
    ) -> Position:
        """Store `position` unless what is stored is newer; give what is then the newest."""
        if held is not None and held.value.order > position.order:
            return held.value
        if held is not None and held.value.order == position.order and position.ahead is None:
            position = replace(position, ahead=held.value.ahead)
        try:
            await self._documents.put_task(generation.name, position, held)
        except DocumentWriteFailed:
            again = (await self._read(generation, position)).task
            if again is None or again.value.order <= position.order:
                raise
            return again.value
        return position

    async def _with_reminders(self, generation: Generation, tip: Position) -> Position:
        """What only its series told of so far, with what its reminders ask for."""
        snapshot = await self._task_api.task(tip.task_id)
        position = None if snapshot is None else position_of(snapshot)
        if position is None or position.epoch != generation.epoch:
            return tip
        return await self._newest_position(generation, position, (await self._read(generation, tip)).task)

    async def _newest_series(
        self, generation: Generation, series: KnownSeries, held: Held[KnownSeries] | None
    ) -> KnownSeries:
        """Store `series` unless what is stored is newer; give what is then the newest."""
        if held is not None and held.value.order > series.order:
            return held.value
        try:
            await self._documents.put_series(generation.name, series, held)
        except DocumentWriteFailed:
            again = await self._read_series(generation, series)
            if again is None or again.value.order <= series.order:
                raise
            return again.value
        return series

    async def _read_series(
        self, generation: Generation, series: KnownSeries | Position
    ) -> Held[KnownSeries] | None:
        found = await self._documents.read(
            generation.name, task_id=None, series_id=series.series_id, user_id=series.user_id
        )
        return found.series

    async def _act_on(
        self,
        generation: Generation,
        position: Position,
        series: KnownSeries | None,
        occasion: Occasion,
    ) -> Outcome:
        if position.is_erased:
            await self._erase_series(generation, position)
            return Outcome.NOTHING
        if position.closing is None and not position.is_open:
            return Outcome.NOTHING
        newest = await self._series_as_of(generation, position, series)
        return Outcome.NOTHING if newest is None else await self._proposer.propose(newest, position, occasion)

    async def _series_as_of(
        self, generation: Generation, position: Position, series: KnownSeries | None
    ) -> KnownSeries | None:
        """The series, at least as new as the instance says it was; asked of task-api when it is not known so."""
        if series is not None and series.order >= position.series_order:
            return series
        snapshot = await self._task_api.series(position.series_id)
        if snapshot is None:
            _log.warning("series_not_there", series_id=str(position.series_id), task_id=str(position.task_id))
            return None
        if snapshot.epoch != generation.epoch:
            raise NotReady(f"task-api is in epoch {snapshot.epoch}, the documents in {generation.epoch}")
        held = await self._read_series(generation, position)
        return await self._newest_series(generation, known(snapshot), held)

    async def _erase_series(self, generation: Generation, position: Position) -> None:
        """Leave of the series what keeps late events from bringing it back; one that was brought back since stays."""
        held = await self._read_series(generation, position)
        if held is None or (not held.value.is_erased and held.value.order <= position.series_order):
            await self._documents.put_series(generation.name, erased_with(position), held)
