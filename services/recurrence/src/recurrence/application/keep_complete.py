"""Keep the derived documents complete: build them anew when they are gone, or of a PostgreSQL that is no more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from time import perf_counter

import structlog

from event_contracts.series import SeriesSnapshot
from recurrence import metrics
from recurrence.application.errors import DocumentWriteFailed, TaskApiAway
from recurrence.application.ports import Documents, Generation, RedisFacts, TaskApi
from service_kit.rebuild import give_way

_log = structlog.get_logger(__name__)

LOOK_AGAIN_AFTER = timedelta(milliseconds=500)
_AT_ONCE = 8
_TRIES = 3

TakeUp = Callable[[SeriesSnapshot], Awaitable[object]]


class DerivedState:
    """Whether the documents are complete, as this replica last saw it."""

    def __init__(self) -> None:
        self.is_complete = False
        self._wake: Callable[[], None] = lambda: None

    def on_doubt(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever a handler found that the documents cannot be trusted."""
        self._wake = wake

    def doubt(self) -> None:
        """Stop working from the documents until they were looked at."""
        self.note(complete=False)
        self._wake()

    def note(self, *, complete: bool) -> None:
        """Note what was seen."""
        self.is_complete = complete
        metrics.ready.set(complete)


class KeepComplete:
    """One replica at a time builds; it takes every series through the same door as the events do."""

    def __init__(
        self,
        documents: Documents,
        task_api: TaskApi,
        redis: RedisFacts,
        state: DerivedState,
        take_up: TakeUp,
    ) -> None:
        self._documents = documents
        self._task_api = task_api
        self._redis = redis
        self._state = state
        self._take_up = take_up

    async def step(self) -> timedelta | None:
        """Look at the marker, at task-api's epoch and at Redis, and mend what does not fit.

        Gives how soon to look again when it is not complete yet: another replica builds, or task-api is away.
        """
        await self._look()
        return None if self._state.is_complete else LOOK_AGAIN_AFTER

    async def _look(self) -> None:
        run_id = await self._redis.run_id()
        epoch = await self._epoch()
        generation = await self._documents.generation()
        if generation is not None and await self._is_valid(generation, epoch):
            self._state.note(complete=True)
            if generation.run_id != run_id:
                await self._reconcile(generation, run_id)
            return
        self._state.note(complete=False)
        if epoch is not None:
            await self._build(epoch, run_id)

    async def _is_valid(self, generation: Generation, epoch: int | None) -> bool:
        same_epoch = epoch is None or generation.epoch == epoch
        return same_epoch and await self._documents.is_complete(generation.name)

    async def _epoch(self) -> int | None:
        """task-api's epoch; None when it is away: what was complete stays so."""
        try:
            return await self._task_api.epoch()
        except TaskApiAway as error:
            _log.warning("task_api_away", error=str(error))
            return None

    async def _build(self, epoch: int, run_id: str) -> None:
        async with self._redis.rebuild_lock() as mine:
            if not mine:
                return
            generation = await self._documents.generation()
            if generation is None or generation.epoch != epoch:
                generation = await self._documents.begin_generation(epoch, run_id)
            _log.info("rebuild_begins", generation=generation.name, epoch=epoch)
            count = await self._pass_over_all("rebuild")
            await self._documents.mark_complete(generation.name)
            _log.info("rebuild_done", generation=generation.name, series=count)
            self._state.note(complete=True)

    async def _reconcile(self, generation: Generation, run_id: str) -> None:
        """Redis was started again: what its last second lost is brought back by one pass, which gives way to what is
        new."""
        async with self._redis.rebuild_lock() as mine:
            if not mine:
                return
            count = await self._pass_over_all("redis_restarted", gives_way=True)
            try:
                await self._documents.renew_run_id(generation, run_id)
            except DocumentWriteFailed:
                return  # the next step looks again
            _log.info("reconciled", generation=generation.name, series=count)

    async def _pass_over_all(self, why: str, *, gives_way: bool = False) -> int:
        count = 0
        async for page in self._task_api.all_series():
            for start in range(0, len(page), _AT_ONCE):
                began = perf_counter()
                await asyncio.gather(*map(self._take_up_one, page[start : start + _AT_ONCE]))
                if gives_way:
                    await give_way(began)
            count += len(page)
        metrics.rebuilds.labels(why).inc()
        return count

    async def _take_up_one(self, snapshot: SeriesSnapshot) -> None:
        """Take up one series; an event of the same one may be written at the same moment, then once more."""
        for _ in range(_TRIES - 1):
            try:
                await self._take_up(snapshot)
            except DocumentWriteFailed:
                continue
            return
        await self._take_up(snapshot)
