"""Apply what task-api says of a task. Delivered twice, late or backwards, the outcome is the same.

Newer than what is stored: write the document on top of it, then its effects. Equal: the same again, which heals a crash
between two effects. Older: re-assert the effects of what is stored. Effects come in the order document, index,
announcement, mark of the announcement, so that each is repeated when the next did not happen.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from event_contracts.reminders import ReminderScheduled
from event_contracts.tasks import TaskSnapshot
from reminders.application.ports import Announcer, Documents, Index, Markers
from reminders.domain.document import Document, merge, to_instant
from reminders.domain.member import Member
from service_kit.state_store import StateWriteFailed


class SnapshotApplier:
    """`on_added` hears the earliest fire time that was put into the index, so that a sleeping timer can be woken."""

    def __init__(
        self,
        markers: Markers,
        documents: Documents,
        index: Index,
        announcer: Announcer,
        on_added: Callable[[datetime], None],
    ) -> None:
        self._markers = markers
        self._documents = documents
        self._index = index
        self._announcer = announcer
        self._on_added = on_added

    async def apply(self, task: TaskSnapshot) -> bool:
        """Whether the snapshot is dealt with; False asks for it to come again.

        Raises StateUnavailable, SidecarError or RedisError, which ask for the same.
        """
        marker = await self._markers.read()
        if marker is None:
            return False
        if task.epoch < marker.epoch:
            return True  # from before PostgreSQL was restored: it never happened
        stored = await self._documents.get(marker.generation, task.task_id)
        if stored is not None and stored.document.order > task.order:
            await self._assert_effects(marker.generation, stored.document)
            return True
        document = merge(None if stored is None else stored.document, task)
        try:
            await self._documents.write(marker.generation, document, None if stored is None else stored.etag)
        except StateWriteFailed:
            # A conflict, or a store that is away and says so as a conflict: what it holds now decides.
            now = await self._documents.get(marker.generation, task.task_id)
            return now is not None and now.document.order > task.order
        return await self._assert_effects(marker.generation, document)

    async def _assert_effects(self, generation: str, document: Document) -> bool:
        pending = list(document.pending())
        if pending:
            moments = {
                str(Member(document.task_id, entry.reminder_id, entry.fire_ms)): to_instant(entry.fire_ms)
                for entry in pending
            }
            await self._index.add(moments)
            self._on_added(min(moments.values()))
        unannounced = list(document.unannounced())
        if not unannounced:
            return True
        await self._announcer.scheduled(
            [
                ReminderScheduled(
                    reminder_id=entry.reminder_id,
                    task_id=document.task_id,
                    user_id=document.user_id,
                    version=document.version,
                    fire_at=to_instant(entry.fire_ms),
                    reason=entry.reason,
                )
                for entry in unannounced
            ]
        )
        return await self._mark_announced(generation, document)

    async def _mark_announced(self, generation: str, document: Document) -> bool:
        """Note what was told, unless a newer version is there, which announces for itself."""
        stored = await self._documents.get(generation, document.task_id)
        if stored is None:
            return False
        if stored.document.order != document.order:
            return True
        try:
            await self._documents.write(generation, stored.document.with_announced(), stored.etag)
        except StateWriteFailed:
            return False
        return True
