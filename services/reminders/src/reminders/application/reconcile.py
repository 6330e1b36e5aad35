"""The slow pass that never ends: compare what is stored with what task-api has, page by page, and mend what differs.

Nothing should ever differ. Whatever does was lost by a fault that nobody thought of, so it is counted. A pass begins
with what changed since the pass before it, closed and deleted tasks among it, and goes on with all open tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from event_contracts.tasks import TaskSnapshot
from reminders.application.apply_snapshot import SnapshotApplier
from reminders.application.ports import Documents, Index, TaskApi
from reminders.application.take_up import take_up
from reminders.domain.document import Document, merge
from reminders.domain.member import Member
from reminders.metrics import MENDED, RECONCILED_TASKS
from service_kit.clock import Clock
from service_kit.logs import get_logger
from service_kit.rebuild import IN_PROGRESS, Lock, Markers
from service_kit.sidecar import SidecarError

_log = get_logger(__name__)

ON_ITS_WAY = timedelta(minutes=1)
"""What changed less than this ago is left to its event."""

LOOK_BACK = timedelta(minutes=15)


class Reconciler:
    """`step` looks at one page; a loop runs it every few seconds. One replica at a time does so."""

    def __init__(
        self,
        markers: Markers,
        documents: Documents,
        index: Index,
        task_api: TaskApi,
        lock: Lock,
        applier: SnapshotApplier,
        clock: Clock,
    ) -> None:
        self._markers = markers
        self._documents = documents
        self._index = index
        self._task_api = task_api
        self._lock = lock
        self._applier = applier
        self._clock = clock
        self._began: datetime | None = None
        self._since: datetime | None = None
        self._cursor: str | None = None

    async def step(self) -> None:
        """Compare the next page, and mend. Raises StateUnavailable or RedisError; then the page comes again."""
        if not (await self._lock.keep() or await self._lock.take()):
            return  # another replica does it
        now = await self._clock.now()
        if self._began is None:
            self._began, self._since = now, now - LOOK_BACK
        try:
            page = await self._task_api.page(self._cursor, self._since)
        except SidecarError as error:
            _log.warning("not_reconciled", error=str(error))
            return
        await self._mend([task for task in page.tasks if task.updated_at <= now - ON_ITS_WAY])
        RECONCILED_TASKS.inc(len(page.tasks))
        self._cursor = page.next_cursor
        if self._cursor is None:
            self._next_part(now)

    def _next_part(self, now: datetime) -> None:
        if self._since is not None:
            self._since = None  # and now all that are open
        elif self._began is not None:
            self._began, self._since = now, self._began - LOOK_BACK

    async def _mend(self, tasks: list[TaskSnapshot]) -> None:
        marker = await self._markers.read()
        if marker is None or marker.run_id == IN_PROGRESS:
            return  # everything is brought back at once
        # The index first: what is acknowledged between the two looks is then seen as fired in its document.
        wanted = {member: task for task in tasks for member in _members(merge(None, task))}
        missing = await self._index.missing(wanted)
        stored = await self._documents.get_many(marker.generation, [task.task_id for task in tasks])
        differing: dict[str, list[TaskSnapshot]] = {"document": [], "index": [], "announcement": []}
        for task in tasks:
            found = stored.get(task.task_id)
            what = _difference(None if found is None else found.document, task, missing)
            if what is not None and task.epoch >= marker.epoch:
                differing[what].append(task)
        for what, found_out in differing.items():
            if found_out and await take_up(self._applier, found_out):
                MENDED.labels(what).inc(len(found_out))
                _log.warning("mended", what=what, tasks=[str(task.task_id) for task in found_out[:10]])


def _difference(stored: Document | None, task: TaskSnapshot, missing: set[str]) -> str | None:
    """What is not as it should be for this task: its document, its place in the index, what was told of it."""
    if stored is not None and stored.order > task.order:
        return None
    if stored is None:
        return "document" if task.is_open else None  # of closed tasks a rebuild brings none back either
    if merge(stored, task) != stored:
        return "document"
    if missing.intersection(_members(stored)):
        return "index"
    return "announcement" if any(stored.unannounced()) else None


def _members(document: Document) -> Iterator[str]:
    for entry in document.pending():
        yield str(Member(document.task_id, entry.reminder_id, entry.fire_ms))
