"""Apply what task-api says of a task. Delivered twice, late or backwards, the outcome is the same.

Newer than what is stored: write the document on top of it, then its effects. Equal: the same again, which heals a crash
between two effects. Older: re-assert the effects of what is stored. Effects come in the order document, index,
announcement, mark of the announcement, so that each is repeated when the next did not happen. What fired before it
could be announced, and would be forgotten with the newer one, is announced before that is written. What comes next for
each person is noted before all of them: who was erased is known by it, and of them nothing is written.

Of a task that is not known here a snapshot may tell what is long past. When it is from before this generation, so that
the tombstone may be lost, task-api is asked for the task; what it does not know either is not taken up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from event_contracts.origin import Origin
from event_contracts.reminders import ReminderScheduled
from event_contracts.tasks import TaskSnapshot
from reminders.application.ports import Announcer, Documents, Index, StoredDocument, TaskApi, Upcoming
from reminders.domain.document import Document, Entry, merge, to_instant
from reminders.domain.member import Member
from service_kit.clock import Clock
from service_kit.marker import Marker
from service_kit.rebuild import Markers
from service_kit.state_store import StateWriteFailed

NOBODYS: Mapping[UUID, Origin] = {}

CLOCKS_APART = timedelta(minutes=1)
"""By how much, at most, the clocks of two services differ, and longer than an event of now is on its way."""


class SnapshotApplier:
    """`on_added` hears the earliest fire time that was put into the index, so that a sleeping timer can be woken."""

    def __init__(
        self,
        markers: Markers,
        documents: Documents,
        index: Index,
        upcoming: Upcoming,
        announcer: Announcer,
        task_api: TaskApi,
        clock: Clock,
        on_added: Callable[[datetime], None],
    ) -> None:
        self._markers = markers
        self._documents = documents
        self._index = index
        self._upcoming = upcoming
        self._announcer = announcer
        self._task_api = task_api
        self._clock = clock
        self._on_added = on_added

    async def apply(
        self, task: TaskSnapshot, origin: Origin | None = None, *, just_asked: bool = False
    ) -> bool:
        """Whether the snapshot is dealt with; False asks for it to come again.

        `just_asked`: it is task-api's answer of a moment ago, so that it is not asked for again. Raises
        StateUnavailable, SidecarError or RedisError, which ask for the same.
        """
        origins = {} if origin is None else {task.task_id: origin}
        return not await self.apply_many([task], origins, just_asked=just_asked)

    async def apply_many(
        self,
        tasks: Sequence[TaskSnapshot],
        origins: Mapping[UUID, Origin] = NOBODYS,
        *,
        just_asked: bool = False,
    ) -> list[TaskSnapshot]:
        """Apply snapshots, each of another task, with one request to the store and the broker for all of them.

        `origins` by task id. Gives those that shall come again; nothing is known of any of them when it raises what
        `apply` raises.
        """
        marker = await self._markers.read()
        if marker is None:
            return list(tasks)
        # Those from before PostgreSQL was restored never happened.
        valid = {task.task_id: task for task in tasks if task.epoch >= marker.epoch}
        stored = await self._documents.get_many(marker.generation, valid)
        now = await self._clock.now()
        if not just_asked:
            valid = await self._without_past(marker, valid, stored, now)
        newer, writes = list[Document](), list[StoredDocument]()
        for task in valid.values():
            found = stored.get(task.task_id)
            if found is not None and found.document.order > task.order:
                newer.append(found.document)
            else:
                before, etag = (None, None) if found is None else (found.document, found.etag)
                writes.append(StoredDocument(merge(before, task, origins.get(task.task_id)), etag))
        erased = await self._note_upcoming(marker.generation, [one.document for one in writes] + newer, now)
        # The end of a task is kept of them too: it stands in for what there is.
        writes = [one for one in writes if one.document.is_deleted or one.document.user_id not in erased]
        newer = [one for one in newer if one.user_id not in erased]
        await self._announce(_last_words(writes, stored, erased))
        written = [one.document for one in writes]
        again = set[UUID]()
        try:
            await self._documents.write_many(marker.generation, writes)
        except StateWriteFailed:
            # A conflict, or a store that is away and says so as a conflict: what it holds now decides.
            again, written = await self._without_newer(marker.generation, written), []
        again |= await self._assert_effects(marker.generation, written, newer)
        return [task for task in tasks if task.task_id in again]

    async def _without_past(
        self,
        marker: Marker,
        tasks: Mapping[UUID, TaskSnapshot],
        stored: Mapping[UUID, StoredDocument],
        now: datetime,
    ) -> dict[UUID, TaskSnapshot]:
        """The snapshots, those that may be of a task that is no more as task-api has it now, or not at all.

        Only of what was said before the generation began can the end have been forgotten, so behind a backlog nothing
        is asked; a marker that does not say when it began asks for all that is not of now. A closed task is kept for a
        while only, and does no harm.
        """
        before = now - CLOCKS_APART if marker.began is None else marker.began + CLOCKS_APART
        doubtful = [
            task_id
            for task_id, task in tasks.items()
            if task_id not in stored and task.is_open and task.updated_at < before
        ]
        if not doubtful:
            return dict(tasks)
        return {
            task_id: task for task_id, task in tasks.items() if task_id not in doubtful
        } | await self._task_api.some_tasks(doubtful)

    async def _note_upcoming(
        self, generation: str, documents: Iterable[Document], now: datetime
    ) -> set[UUID]:
        """Who of them was erased. Nobody is asked about for whom nothing is pending: that would be one request more for
        each task without reminders, and what there is of an erased person leaves with the end of its task."""
        moments: dict[UUID, dict[str, datetime]] = defaultdict(dict)
        for document in documents:
            for member, at in _moments(document):
                moments[document.user_id][member] = at
        return await self._upcoming.note(generation, moments, now) if moments else set()

    async def _without_newer(self, generation: str, documents: Sequence[Document]) -> set[UUID]:
        """The tasks of which nothing newer than these documents is stored."""
        now = await self._documents.get_many(generation, [one.task_id for one in documents])
        return {
            one.task_id
            for one in documents
            if (found := now.get(one.task_id)) is None or found.document.order <= one.order
        }

    async def _assert_effects(
        self, generation: str, written: Sequence[Document], newer: Sequence[Document]
    ) -> set[UUID]:
        """The tasks of `written` that shall come again; `newer` ones announce for themselves."""
        documents = [*written, *newer]
        await self._index_pending(documents)
        unannounced = [document for document in documents if any(document.unannounced())]
        if not unannounced:
            return set()
        await self._announce((one, entry) for one in unannounced for entry in one.unannounced())
        unmarked = await self._mark_announced(generation, unannounced)
        return unmarked.intersection(one.task_id for one in written)

    async def _announce(self, planned: Iterable[tuple[Document, Entry]]) -> None:
        events = [
            (
                ReminderScheduled(
                    reminder_id=entry.reminder_id,
                    task_id=document.task_id,
                    user_id=document.user_id,
                    version=document.version,
                    fire_at=to_instant(entry.fire_ms),
                    reason=entry.reason,
                ),
                document.origin,
            )
            for document, entry in planned
        ]
        if events:
            await self._announcer.scheduled(events)

    async def _index_pending(self, documents: Sequence[Document]) -> None:
        moments = {member: at for document in documents for member, at in _moments(document)}
        if moments:
            await self._index.add(moments)
            self._on_added(min(moments.values()))

    async def _mark_announced(self, generation: str, documents: Sequence[Document]) -> set[UUID]:
        """Note what was told, unless a newer version is there, which announces for itself; where it is not noted."""
        now = await self._documents.get_many(generation, [one.task_id for one in documents])
        unmarked = {one.task_id for one in documents if one.task_id not in now}
        marks = [
            StoredDocument(found.document.with_announced(), found.etag)
            for one in documents
            if (found := now.get(one.task_id)) is not None and found.document.order == one.order
        ]
        try:
            await self._documents.write_many(generation, marks)
        except StateWriteFailed:
            unmarked |= {mark.document.task_id for mark in marks}
        return unmarked


def _last_words(
    writes: Iterable[StoredDocument], stored: Mapping[UUID, StoredDocument], erased: Collection[UUID]
) -> Iterator[tuple[Document, Entry]]:
    for write in writes:
        before = stored.get(write.document.task_id)
        if before is not None and write.document.user_id not in erased:
            for entry in before.document.untold_in(write.document):
                yield before.document, entry


def _moments(document: Document) -> Iterator[tuple[str, datetime]]:
    for entry in document.pending():
        yield str(Member(document.task_id, entry.reminder_id, entry.fire_ms)), to_instant(entry.fire_ms)
