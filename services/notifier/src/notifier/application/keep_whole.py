"""Keep what this service derives whole. Pages of what task-api knows go through `RestoreAnnounced`, which may meet
events and other replicas at any point. While it builds, no news of reminders is taken either, for a copy could not be
told from the first.

task-api may itself be behind when it is asked: what it had yet to hear from the bus is missing in its answer. So what
was announced since some minutes before the loss is gone through some more times afterwards, and in the end whatever
could still be queued.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from notifier import metrics
from notifier.application.errors import NotReady, TaskApiUnavailable
from notifier.application.ports import Clock, TaskApi
from notifier.application.restore import RestoreAnnounced
from service_kit.asked_together import AskedTogether
from service_kit.marker import MARKER_KEY, Marker
from service_kit.rebuild import IN_PROGRESS, Lock, Markers, Rebuilder, Store, Taken
from service_kit.state_store import StateUnavailable

log = structlog.get_logger(__name__)

LATECOMERS_AFTER = (timedelta(seconds=15), timedelta(minutes=1))
"""When to ask task-api again for what it may have heard too late."""
LATECOMERS_SINCE = timedelta(minutes=6)
"""How long before the loss they begin."""
CAUGHT_UP_AFTER = (timedelta(minutes=5), timedelta(minutes=30))
"""When to ask it for all that may have been queued: if it was away for hours before the loss, it hears only now of what
fired in them."""


class Past(Protocol):
    """What was told, as far as it is kept here. Raises RedisError when it is away."""

    async def forget_before(self, epoch: int) -> bool:
        """Forget all of it unless that was done for this epoch; False when the lock was lost on the way."""
        ...


class KeepWhole(Rebuilder):
    """Inboxes, what is queued, and what is known to be sent. `back_to` is how far an inbox goes.

    What fired longer ago than `horizon` is not queued any more; all else may have been queued just before a loss, after
    it had waited in a backlog.
    """

    def __init__(
        self,
        markers: Markers,
        task_api: TaskApi,
        lock: Lock,
        store: Store,
        past: Past,
        restore: RestoreAnnounced,
        clock: Clock,
        *,
        back_to: timedelta,
        horizon: timedelta,
    ) -> None:
        super().__init__(
            markers,
            lock,
            store,
            clock,
            away=TaskApiUnavailable,
            causes=metrics.rebuilds,
            lost_at_most=horizon,
        )
        self._task_api = task_api
        self._past = past
        self._restore = restore
        self._back_to = back_to
        self._horizon = horizon
        # Each reminder asks for itself, and those that come side by side get one answer.
        self._readings = AskedTogether(self._read_marker, at_most=1)
        self._whole: tuple[str, str] | None = None
        self._lost_at: datetime | None = None
        self._latecomers: list[tuple[datetime, datetime]] = []
        """When to ask for them, and since when they were announced."""

    async def check(self) -> None:
        """For readiness. Raises NotReady."""
        if not self.is_ready():
            raise NotReady("what was lost is being put back")

    async def require(self) -> None:
        """For what must not be done while anything is missing: asks the store too, for this process may not have seen
        yet that all of it is gone. Raises NotReady."""
        await self.check()
        try:
            marker = await self._readings.one(MARKER_KEY)
        except StateUnavailable as error:
            raise NotReady(str(error)) from error
        if marker is None or marker.run_id == IN_PROGRESS:
            self._ready = False
            raise NotReady("what was lost is being put back")

    async def _read_marker(self, keys: Sequence[str]) -> Mapping[str, Marker]:
        marker = await self._markers.read()
        return {} if marker is None else dict.fromkeys(keys, marker)

    async def _ask_epoch(self) -> int:
        return await self._task_api.epoch()

    async def _forget_before(self, epoch: int) -> bool:
        # Inboxes and what is known to be sent may tell of a future that never happened. Of the same PostgreSQL they
        # are kept: they know more than it does of what is on its way.
        return await self._past.forget_before(epoch)

    async def _take_up(self, cursor: str | None, since: datetime | None) -> Taken:
        page = await self._task_api.announced(cursor, since or await self._clock.now() - self._back_to)
        await self._restore.take_up(page.items)
        return Taken(len(page.items), page.next_cursor)

    def _found_lost(self, seen: datetime) -> None:
        # The first word on a loss stands: while task-api is away there is no other moment to go back to.
        self._lost_at = min(seen, self._lost_at or seen)

    async def _found_whole(self, marker: Marker, now: datetime) -> None:
        # Latecomers, of a loss that this process has seen. Every replica does so: one may not live long enough.
        whole = (marker.generation, marker.run_id)
        if self._lost_at is not None or self._whole not in (None, whole):
            lately = (self._lost_at or now) - LATECOMERS_SINCE
            queued = min(lately, now - self._horizon)
            self._latecomers += [(now + after, lately) for after in LATECOMERS_AFTER]
            self._latecomers += [(now + after, queued) for after in CAUGHT_UP_AFTER]
        self._whole, self._lost_at = whole, None
        due = [since for at, since in self._latecomers if at <= now]
        if not due:
            return
        try:
            await self._alone(lambda: self._take_latecomers(min(due), now))
        except TaskApiUnavailable as error:
            log.warning("latecomers_not_asked_for", error=str(error))

    async def _take_latecomers(self, since: datetime, now: datetime) -> None:
        if await self._take_up_all(since, gives_way=True) is not None:
            self._latecomers = [(at, since) for at, since in self._latecomers if at > now]
