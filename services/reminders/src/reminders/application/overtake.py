"""While events come late, look past them at what changed a moment ago, so that new reminders wait for no backlog.

After an outage the oldest events come first. A task of now, with a reminder in a minute, stands behind all of them; but
task-api can be asked for it. What is applied here ahead of its event is applied again with it, to no effect.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from event_contracts.tasks import TaskSnapshot
from reminders.application.apply_snapshot import SnapshotApplier
from reminders.application.ports import TaskApi
from reminders.application.take_up import take_up
from reminders.metrics import OVERTAKEN
from service_kit.clock import Clock
from service_kit.logs import get_logger
from service_kit.sidecar import SidecarError

_log = get_logger(__name__)

LATE = timedelta(seconds=5)
"""An event that is older than this when it comes is late."""

WINDOW = timedelta(minutes=1)
"""How far back the first look goes, and at most any look. Older changes are left to their events."""

OVERLAP = timedelta(seconds=5)
"""A change is stamped before it is committed, so a look begins this long before the one before it."""

_CALM = timedelta(seconds=15)
"""Looking ends when no event came late for so long."""


class Overtaker:
    """`note` hears when each event was made; a loop runs `step` every second."""

    def __init__(self, task_api: TaskApi, applier: SnapshotApplier, clock: Clock) -> None:
        self._task_api = task_api
        self._applier = applier
        self._clock = clock
        self._oldest: datetime | None = None
        self._late_at: datetime | None = None
        self._looked_at: datetime | None = None
        self._seen: dict[UUID, tuple[int, int]] = {}

    def note(self, made_at: datetime) -> None:
        """An event that was made then is here."""
        self._oldest = made_at if self._oldest is None else min(self._oldest, made_at)

    async def step(self) -> None:
        """Look, when events came late. Raises StateUnavailable or RedisError; then the next look sees the same."""
        now = await self._clock.now()
        oldest, self._oldest = self._oldest, None
        if oldest is not None and now - oldest > LATE:
            self._late_at = now
        if self._late_at is None:
            return
        if now - self._late_at > _CALM:
            self._late_at = self._looked_at = None
            self._seen = {}
            return
        try:
            await self._look(max(now - WINDOW, self._looked_at or now - WINDOW) - OVERLAP)
        except SidecarError as error:
            _log.warning("not_overtaken", error=str(error))
        else:
            self._looked_at = now

    async def _look(self, since: datetime) -> None:
        seen: dict[UUID, tuple[int, int]] = {}
        cursor: str | None = None
        while True:
            page = await self._task_api.page(cursor, since)
            fresh = [task for task in page.tasks if task.reminders and not self._knows(task)]
            if not await take_up(self._applier, fresh):
                return  # everything is brought back at once, or will be by its events
            OVERTAKEN.inc(len(fresh))
            seen |= {task.task_id: task.order for task in page.tasks}
            cursor = page.next_cursor
            if cursor is None:
                self._seen = seen
                return

    def _knows(self, task: TaskSnapshot) -> bool:
        return self._seen.get(task.task_id, (0, 0)) >= task.order
