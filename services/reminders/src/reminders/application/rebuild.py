"""Keep the schedule whole: without a marker, with another epoch or after a restart of Redis it is built again.

Pages of task-api's snapshot go through the same guarded `apply` as events. One replica does it under a lock. Until
it is done the marker names no Redis, readiness is red, and no replica claims.
"""

from __future__ import annotations

from datetime import timedelta

from reminders.application.apply_snapshot import SnapshotApplier
from reminders.application.ports import Markers, RebuildLock, TaskApi
from reminders.metrics import REBUILDS, REBUILT_TASKS
from service_kit.logs import get_logger
from service_kit.marker import Marker
from service_kit.sidecar import SidecarError

_log = get_logger(__name__)

IN_PROGRESS = "rebuilding"
_EPOCH_EVERY_STEPS = 30


class NotRebuilt(Exception):
    """The schedule is not whole, so nothing may be claimed."""


class Rebuilder:
    """`step` is run every second by a loop; `ready` is what it last found."""

    def __init__(
        self, markers: Markers, task_api: TaskApi, lock: RebuildLock, applier: SnapshotApplier
    ) -> None:
        self._markers = markers
        self._task_api = task_api
        self._lock = lock
        self._applier = applier
        self._epoch: int | None = None
        self._steps = 0
        self.ready = False

    async def check(self) -> None:
        """For readiness. Raises NotRebuilt."""
        if not self.ready:
            raise NotRebuilt("the schedule is being rebuilt")

    async def step(self) -> timedelta | None:
        """Look at the marker and rebuild when it asks for it. Raises what the stores raise; then it is not ready."""
        try:
            self.ready = await self._is_whole()
            if self.ready:
                return None
            if not await self._lock.take():
                return timedelta(milliseconds=500)  # another replica is at it
            try:
                await self._rebuild()
            finally:
                await self._lock.give_back()
            self.ready = await self._is_whole()
        except BaseException:
            self.ready = False
            raise
        return None

    async def _is_whole(self) -> bool:
        marker = await self._markers.read()
        run_id = await self._lock.store_run_id()
        return marker is not None and marker.run_id == run_id and marker.epoch == await self._known_epoch()

    async def _known_epoch(self) -> int:
        """The epoch, asked for now and then: it moves only when PostgreSQL was restored.

        While task-api is away the last one known stands: what is in the index needs nobody to fire.
        """
        if self._epoch is None:
            self._epoch = await self._task_api.epoch()
        elif self._steps % _EPOCH_EVERY_STEPS == 0:
            try:
                self._epoch = await self._task_api.epoch()
            except SidecarError as error:
                _log.warning("epoch_not_asked_for", error=str(error))
        self._steps += 1
        return self._epoch

    async def _rebuild(self) -> None:
        run_id = await self._lock.store_run_id()
        self._epoch = await self._task_api.epoch()
        marker = await self._markers.read()
        # A restarted Redis has its documents, less what its log lost: the same generation goes on.
        if marker is None or marker.epoch != self._epoch:
            marker = await self._markers.create(self._epoch, IN_PROGRESS)
            REBUILDS.labels("generation").inc()
        else:
            REBUILDS.labels("restart").inc()
        tasks = await self._apply_all(marker)
        if tasks is not None:
            await self._markers.renew_run_id(marker, run_id)
            _log.info("schedule_rebuilt", tasks=tasks, generation=marker.generation, epoch=marker.epoch)

    async def _apply_all(self, marker: Marker) -> int | None:
        """How many tasks were applied; None when the lock or the marker was lost on the way."""
        cursor: str | None = None
        count = 0
        while True:
            page = await self._task_api.page(cursor)
            for task in page.tasks:
                if not await self._applier.apply(task):
                    return None
            count += len(page.tasks)
            REBUILT_TASKS.inc(len(page.tasks))
            if page.next_cursor is None:
                return count
            cursor = page.next_cursor
            if not await self._lock.keep():
                return None
