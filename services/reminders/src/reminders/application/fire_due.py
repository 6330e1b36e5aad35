"""Fire what is due: claim, let the document decide, publish, mark, acknowledge, in this order.

A crash before the mark lets the lease run out, and the same event goes out again under the same id, which the notifier
drops. A member that the document no longer stands behind is dropped: its reminder moved, fired, or its task is closed.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from event_contracts.reminders import ReminderDue
from reminders.application.apply_snapshot import SnapshotApplier
from reminders.application.ports import Announcer, Documents, Index, StoredDocument, TaskApi
from reminders.domain.document import Document, fence, to_instant, to_ms
from reminders.domain.member import Member
from reminders.metrics import FENCED, FIRED, LATENESS
from service_kit.due_index import Claim, Lease
from service_kit.logs import get_logger
from service_kit.rebuild import Markers
from service_kit.sidecar import SidecarError
from service_kit.state_store import StateWriteFailed

_log = get_logger(__name__)

PUBLISH_AGAIN_AFTER = timedelta(seconds=1)
ASK_AGAIN_AFTER = timedelta(seconds=2)
_MARK_ATTEMPTS = 8
_SIDE_BY_SIDE = 3


@dataclass
class _Sorted:
    """The leases of one claim by what is to be done with them."""

    drop: list[Lease] = field(default_factory=list)
    wait: list[Lease] = field(default_factory=list)
    fire: list[tuple[Lease, Member, Document]] = field(default_factory=list)


class DueFirer:
    """Fires reminders; several replicas may do so at once."""

    def __init__(
        self,
        markers: Markers,
        documents: Documents,
        index: Index,
        announcer: Announcer,
        task_api: TaskApi,
        applier: SnapshotApplier,
        batch: int = 200,
    ) -> None:
        self._markers = markers
        self._documents = documents
        self._index = index
        self._announcer = announcer
        self._task_api = task_api
        self._applier = applier
        self._batch = batch

    async def fire_all(self) -> datetime | None:
        """Fire until nothing is due; the instant, on Redis' clock, of the last look.

        None without a marker: then nothing may be claimed. What raises (store, sidecar or Redis away) leaves leases
        behind, which run out.
        """
        while True:
            marker = await self._markers.read()
            if marker is None:
                return None
            claims = [await self._index.claim(self._batch)]
            if not claims[0].leases:
                return claims[0].now
            while len(claims) < _SIDE_BY_SIDE and len(claims[-1].leases) == self._batch:
                claims.append(await self._index.claim(self._batch))
            # What was claimed may be of a generation that began since: its members are not for the documents of this
            # one to judge. They come again when their leases run out.
            now = await self._markers.read()
            if now is not None and now.generation == marker.generation:
                await self._handle_all(marker.generation, claims)

    async def _handle_all(self, generation: str, claims: Sequence[Claim]) -> None:
        """Side by side, as replicas would: nearly all that one takes is waiting for the store and the broker."""
        if len(claims) == 1:
            await self._handle(generation, claims[0])
            return
        work = (self._handle(generation, claim) for claim in claims)
        for outcome in await asyncio.gather(*work, return_exceptions=True):
            if outcome is not None:
                raise outcome

    async def _handle(self, generation: str, claim: Claim) -> None:
        members = [(lease, Member.parse(lease.member)) for lease in claim.leases]
        tasks = {member.task_id for _, member in members}
        stored = await self._documents.get_many(generation, tasks)
        undecided = await self._fetch_missing(generation, tasks - stored.keys(), stored)
        work = _sort(members, stored, undecided)
        for lease in work.wait:
            await self._index.release(lease, claim.now + ASK_AGAIN_AFTER)
        accepted = await self._publish(claim, work) if work.fire else []
        marked = await self._mark(generation, accepted, stored) if accepted else []
        await self._index.ack_many([*work.drop, *marked])
        await self._put_back(generation, work.drop)

    async def _put_back(self, generation: str, dropped: Sequence[Lease]) -> None:
        """Look once more at what was dropped: who reopened its task meanwhile found the member there and added none.

        A crash before this leaves it to the slow pass.
        """
        if not dropped:
            return
        members = [Member.parse(lease.member) for lease in dropped]
        stored = await self._documents.get_many(generation, {member.task_id for member in members})
        wanted = {
            str(member): to_instant(member.fire_ms)
            for member in members
            if (found := stored.get(member.task_id)) is not None and fence(found.document, member) is None
        }
        if wanted:
            await self._index.add(wanted)

    async def _fetch_missing(
        self, generation: str, missing: set[UUID], stored: dict[UUID, StoredDocument]
    ) -> set[UUID]:
        """No document at all: ask task-api and apply its answer; an unknown task stays without one.

        Gives the tasks of which task-api could not be asked: they wait, and hold up nobody else.
        """
        undecided = set()
        for task_id in missing:
            try:
                task = await self._task_api.task(task_id)
            except SidecarError as error:
                _log.warning("task_not_asked_for", task_id=str(task_id), error=str(error))
                undecided.add(task_id)
                continue
            if task is not None:
                await self._applier.apply(task, just_asked=True)
                found = await self._documents.get(generation, task_id)
                if found is not None:
                    stored[task_id] = found
        return undecided

    async def _publish(self, claim: Claim, work: _Sorted) -> list[tuple[Lease, Member]]:
        events = [
            (
                ReminderDue(
                    reminder_id=member.reminder_id,
                    task_id=member.task_id,
                    user_id=document.user_id,
                    fire_at=to_instant(member.fire_ms),
                    fired_at=max(claim.now, to_instant(member.fire_ms)),
                ),
                document.origin,
            )
            for _, member, document in work.fire
        ]
        try:
            accepted = {(reminder, to_ms(at)) for reminder, at in await self._announcer.due(events)}
        except SidecarError as error:
            # The events may be out all the same; they go out again soon, under the same ids.
            _log.warning("reminders_not_published", count=len(events), error=str(error))
            accepted = set()
        published: list[tuple[Lease, Member]] = []
        refused: list[tuple[Lease, Member]] = []
        for lease, member, _ in work.fire:
            target = published if (member.reminder_id, member.fire_ms) in accepted else refused
            target.append((lease, member))
        for lease, _ in refused:
            await self._index.release(lease, claim.now + PUBLISH_AGAIN_AFTER)
        for _, member in published:
            FIRED.inc()
            LATENESS.observe(max(0.0, (claim.now - to_instant(member.fire_ms)).total_seconds()))
        return published

    async def _mark(
        self,
        generation: str,
        published: Sequence[tuple[Lease, Member]],
        known: Mapping[UUID, StoredDocument],
    ) -> list[Lease]:
        """Mark as fired, all tasks in one request; the leases whose mark stands and which may be acknowledged.

        The first try is on top of what was read before publishing. After a failed one what the store holds decides:
        nothing is acknowledged blindly.
        """
        leases: dict[UUID, list[Lease]] = defaultdict(list)
        fired: dict[UUID, set[tuple[UUID, int]]] = defaultdict(set)
        for lease, member in published:
            leases[member.task_id].append(lease)
            fired[member.task_id].add((member.reminder_id, member.fire_ms))
        known = {task_id: known[task_id] for task_id in leases}
        done: list[Lease] = []
        for _ in range(_MARK_ATTEMPTS):
            writes = []
            for task_id, found in known.items():
                marked = found.document.with_fired(fired[task_id])
                if marked == found.document:
                    done += leases[task_id]  # marked already, or moved on: nothing of it is pending any more
                else:
                    writes.append(StoredDocument(marked, found.etag))
            try:
                await self._documents.write_many(generation, writes)
            except StateWriteFailed:
                # One that was flushed meanwhile keeps its lease, and the rebuild knows of it from task-api.
                known = await self._documents.get_many(generation, [one.document.task_id for one in writes])
                continue
            return done + [lease for one in writes for lease in leases[one.document.task_id]]
        return done


def _sort(
    members: Sequence[tuple[Lease, Member]], stored: dict[UUID, StoredDocument], undecided: set[UUID]
) -> _Sorted:
    work = _Sorted()
    for lease, member in members:
        if member.task_id in undecided:
            work.wait.append(lease)
            continue
        found = stored.get(member.task_id)
        reason = "unknown_task" if found is None else fence(found.document, member)
        if found is not None and reason is None:
            work.fire.append((lease, member, found.document))
        else:
            FENCED.labels(reason).inc()
            work.drop.append(lease)
    return work
