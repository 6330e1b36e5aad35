"""Keep the schedule whole. Pages of task-api's snapshot go through the same guarded `apply` as events."""

from __future__ import annotations

from datetime import datetime

from reminders.application.apply_snapshot import SnapshotApplier
from reminders.application.ports import TaskApi
from reminders.application.take_up import take_up
from reminders.metrics import REBUILDS, REBUILT_TASKS
from service_kit.clock import Clock
from service_kit.rebuild import Lock, Markers, Rebuilder, Store, Taken
from service_kit.sidecar import SidecarError


class NotRebuilt(Exception):
    """The schedule is not whole, so nothing may be claimed."""


class ScheduleRebuilder(Rebuilder):
    """Documents and index, of the open tasks; after a restart of Redis of the closed ones too."""

    def __init__(
        self,
        markers: Markers,
        task_api: TaskApi,
        lock: Lock,
        store: Store,
        applier: SnapshotApplier,
        clock: Clock,
    ) -> None:
        super().__init__(markers, lock, store, clock, away=SidecarError, causes=REBUILDS)
        self._task_api = task_api
        self._applier = applier

    async def check(self) -> None:
        """For readiness. Raises NotRebuilt."""
        if not self.is_ready():
            raise NotRebuilt("the schedule is being rebuilt")

    async def _ask_epoch(self) -> int:
        return await self._task_api.epoch()

    async def _take_up(self, cursor: str | None, since: datetime | None) -> Taken | None:
        page = await self._task_api.page(cursor, since)
        if not await take_up(self._applier, page.tasks):
            return None
        REBUILT_TASKS.inc(len(page.tasks))
        return Taken(len(page.tasks), page.next_cursor)
