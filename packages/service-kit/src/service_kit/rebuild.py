"""Keep what a service derives whole: without a marker or with another epoch it is built again, after a restart of Redis
mended.

One replica does it under a lock, page by page of what task-api keeps. While it builds, the marker names no Redis:
readiness is red, and nothing is claimed. A Redis that was started again has lost a second or so; meanwhile everything
goes on, and whatever was lost is asked for again.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter
from typing import Protocol

from prometheus_client import Counter

from service_kit.clock import Clock
from service_kit.logs import get_logger
from service_kit.marker import Marker

_log = get_logger(__name__)

IN_PROGRESS = "rebuilding"
LOST_AT_ONCE = timedelta(seconds=15)
"""What a kill takes from Redis (it writes its file each second), and news that were just on their way."""
LOST_AT_MOST = timedelta(minutes=15)
"""Longer than what a power loss takes from Redis, and news are on their way for, but for those of a backlog."""

_REST = 2.0
"""Seconds of pause for each second of work that gives way."""
_REST_AT_MOST = 5.0

_LOOK_AGAIN_AFTER = timedelta(milliseconds=500)
_NOW_AND_THEN = 30
"""Steps between two questions for the epoch, and between two notes that Redis was seen whole."""


async def give_way(began: float) -> None:
    """Pause twice as long as it is since `began` (of perf_counter), 5 s at most.

    For work that is to be sure rather than quick: after a restart of everything there is more urgent work to do.
    """
    await asyncio.sleep(min(_REST_AT_MOST, _REST * (perf_counter() - began)))


class Markers(Protocol):
    """The marker of the valid generation, in the state store. Raises StateUnavailable, StateConflict."""

    async def read(self) -> Marker | None: ...

    async def create(self, epoch: int, run_id: str, began: datetime) -> Marker: ...

    async def renew_run_id(self, marker: Marker, run_id: str) -> Marker: ...


class Lock(Protocol):
    """Lets one replica work at a time; it expires by itself, 30 s after its holder died."""

    async def take(self) -> bool: ...

    async def keep(self) -> bool:
        """Prolong it; False when it was lost."""
        ...

    async def give_back(self) -> None: ...


class Store(Protocol):
    """The Redis in which everything lives. Raises RedisError when it is away."""

    async def run_id(self) -> str:
        """Another one after each start of it."""
        ...

    async def last_look(self) -> datetime | None:
        """When it was last noted that nothing was missing in it."""
        ...

    async def note_look(self, at: datetime) -> None: ...

    async def clear_other_generations(self, kept: str) -> None:
        """Remove the documents of all generations but this one, which the marker names."""
        ...


@dataclass(frozen=True, slots=True)
class Taken:
    """How many were on a page, and where the next one begins; None after the last."""

    count: int
    next_cursor: str | None


class Rebuilder(ABC):
    """`step` is run every second by a loop; `is_ready` is what it last found.

    `away` is what is raised while task-api does not answer, and `causes` counts rebuilds by what asked for them. After
    a restart of Redis it is asked for what changed within `lost_at_most` before.
    """

    def __init__(
        self,
        markers: Markers,
        lock: Lock,
        store: Store,
        clock: Clock,
        *,
        away: type[Exception],
        causes: Counter,
        lost_at_most: timedelta = LOST_AT_MOST,
    ) -> None:
        self._markers = markers
        self._lock = lock
        self._store = store
        self._clock = clock
        self._away = away
        self._causes = causes
        self._lost_at_most = lost_at_most
        self._epoch: int | None = None
        self._steps = 0
        self._ready = False

    @abstractmethod
    async def _ask_epoch(self) -> int:
        """Ask task-api for the epoch of its PostgreSQL."""

    @abstractmethod
    async def _take_up(self, cursor: str | None, since: datetime | None) -> Taken | None:
        """Ask task-api for a page of what changed since then, or of all, and take it up, be it once more.

        None when the marker was lost on the way.
        """

    async def _forget_before(self, epoch: int) -> bool:
        """Forget what may be of another epoch, before a rebuild; False when the lock was lost on the way."""
        return True

    def _found_lost(self, seen: datetime) -> None:  # noqa: B027 - not everybody need know
        """Told of each look that found something missing, and when last nothing was."""

    async def _found_whole(self, marker: Marker, now: datetime) -> None:  # noqa: B027 - nor this
        """Told of each look that found nothing missing."""

    def is_ready(self) -> bool:
        """Whether anything may be claimed."""
        return self._ready

    async def step(self) -> timedelta | None:
        """Look at the marker and do what it asks for; how soon to look again when that is sooner than usual.

        Raises what the stores and task-api raise; then it is not ready.
        """
        try:
            marker = await self._valid_marker()
            self._ready = marker is not None
            if marker is None:
                self._found_lost(await self._seen_whole())
                again = await self._alone(self._rebuild)
                self._ready = await self._valid_marker() is not None
                return again
            if marker.run_id != await self._store.run_id():
                self._found_lost(await self._seen_whole())
                return await self._alone(self._reconcile)
            now = await self._clock.now()
            if self._steps % _NOW_AND_THEN == 0:
                await self._store.note_look(now)
            await self._found_whole(marker, now)
        except BaseException:
            self._ready = False
            raise
        return None

    async def _seen_whole(self) -> datetime:
        return await self._store.last_look() or await self._clock.now()

    async def _valid_marker(self) -> Marker | None:
        """The marker of what is whole, but for what a restart of Redis lost; else None."""
        marker = await self._markers.read()
        if marker is None or marker.run_id == IN_PROGRESS or marker.epoch != await self._known_epoch():
            return None
        return marker

    async def _known_epoch(self) -> int:
        """The epoch, asked for now and then: it moves only when PostgreSQL was restored.

        While task-api is away the last one known stands: what is here needs nobody to go on.
        """
        if self._epoch is None:
            self._epoch = await self._ask_epoch()
        elif self._steps % _NOW_AND_THEN == 0:
            try:
                self._epoch = await self._ask_epoch()
            except self._away as error:
                _log.warning("epoch_not_asked_for", error=str(error))
        self._steps += 1
        return self._epoch

    async def _alone(self, work: Callable[[], Awaitable[object]]) -> timedelta | None:
        if not await self._lock.take():
            return _LOOK_AGAIN_AFTER  # another replica is at it
        try:
            await work()
        finally:
            await self._lock.give_back()
        return None

    async def _rebuild(self) -> None:
        if await self._valid_marker() is not None:
            return  # another replica was at it until a moment ago
        run_id = await self._store.run_id()
        self._epoch = await self._ask_epoch()
        marker = await self._markers.read()
        if marker is None or marker.epoch != self._epoch:
            marker = await self._markers.create(self._epoch, IN_PROGRESS, await self._clock.now())
            if await self._lock.keep():
                await self._store.clear_other_generations(marker.generation)
        if not await self._forget_before(self._epoch):
            return
        self._causes.labels("generation").inc()
        now = await self._clock.now()
        count = await self._take_up_all(None)
        if count is not None:
            await self._store.note_look(now)
            await self._markers.renew_run_id(marker, run_id)
            _log.info("rebuilt", count=count, generation=marker.generation, epoch=marker.epoch)

    async def _reconcile(self) -> None:
        """Bring back what Redis lost when it was started again, from before it was last seen whole.

        All that is in it is of the same moment, so what is missing changed lately: most likely just before, which is
        asked for at once; then what changed some minutes before, giving way to what is new. While task-api is away
        everything goes on as it is, and the next step tries again.
        """
        marker, run_id = await self._valid_marker(), await self._store.run_id()
        if marker is None or marker.run_id == run_id:
            return
        seen = await self._seen_whole()
        self._causes.labels("restart").inc()
        try:
            count = await self._take_up_all(seen - LOST_AT_ONCE)
            if count is not None:
                count = await self._take_up_all(seen - self._lost_at_most, gives_way=True)
        except self._away as error:
            _log.warning("not_reconciled", error=str(error))
            return
        if count is not None:
            await self._markers.renew_run_id(marker, run_id)
            _log.info("reconciled", count=count, generation=marker.generation)

    async def _take_up_all(self, since: datetime | None, *, gives_way: bool = False) -> int | None:
        """How many were taken up; None when the lock or the marker was lost on the way."""
        cursor: str | None = None
        count = 0
        while True:
            began = perf_counter()
            taken = await self._take_up(cursor, since)
            if taken is None:
                return None
            count += taken.count
            if taken.next_cursor is None:
                return count
            cursor = taken.next_cursor
            if gives_way:
                await give_way(began)
            if not await self._lock.keep():
                return None
