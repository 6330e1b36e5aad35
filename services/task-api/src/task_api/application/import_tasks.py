"""Take over tasks from a file: each once, however often the file comes, and each as it stood.

The id of an imported task is derived from its owner and its key in the file (UUIDv5, RFC 9562, 5.5). So the primary key
itself says what is here already, without another column, also while the task lies in the bin, and two imports at the
same time cannot both make it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID, uuid5

from event_contracts.values import Actor, ClosedBy, TaskStatus
from task_api.application.announce import series_write, task_write
from task_api.application.create_task import NewTask, begin_task
from task_api.application.ports import (
    Means,
    Owner,
    SeriesWrite,
    Stamp,
    TaskWrite,
    Transaction,
    UsedSlot,
)
from task_api.domain.errors import AccountNotFound, ConcurrentChange, InvalidTask
from task_api.domain.series import Recurrence, Series
from task_api.domain.task import Task

CHUNK = 500
"""Tasks in one transaction: of an import, and of the undo that takes one back."""
_TRIES = 3


@dataclass(frozen=True, slots=True)
class SeriesDraft:
    """A series that several tasks of a file belong to; `key` names it there. Moments as in `Series`."""

    key: str
    recurrence: Recurrence
    timezone: str
    start: str
    exdates: tuple[str, ...] = ()
    paused_at: datetime | None = None
    resumed_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task stands in the series of its file; `predecessor` is the key of the instance before it."""

    series: SeriesDraft
    occurrence_key: str
    predecessor: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A task of a file: `item` is how the person finds it there, `key` how it is told from the others.

    `same_as` is the id it would have if the file came from this very account. The moments are None for what the file
    does not say; `reminder_states` are (snoozed_until, acknowledged_at) of the reminders of `request`, in their order.
    """

    item: str
    key: str
    request: NewTask
    same_as: UUID | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    closed_by: ClosedBy | None = None
    closed_at: datetime | None = None
    deleted_at: datetime | None = None
    reminder_states: tuple[tuple[datetime | None, datetime | None], ...] = ()
    place: Place | None = None


@dataclass(slots=True)
class Imported:
    """What became of the drafts: how many are new, how many were here, and those that the rules refuse.

    `change_id` is what they are taken back by; None where nothing came, or more than one undo takes.
    """

    imported: int = 0
    skipped: int = 0
    failed: list[tuple[Draft, InvalidTask]] = field(default_factory=list)
    joined: bool = False
    """Whether a task came into a series that was here before it: an undo cannot end that."""
    change_id: UUID | None = None


async def import_tasks(means: Means, actor: Actor, user_id: UUID, drafts: Sequence[Draft]) -> Imported:
    """Make the tasks that are not here yet, up to 500 in a transaction, as one change.

    What fails half way is gone on with when the file comes again. Raises AccountNotFound, StorageUnavailable.
    """
    stamp = Stamp(actor, await means.now())
    result = Imported()
    ordered = _in_order(drafts)
    result.skipped = len(drafts) - len(ordered)
    for chunk in (ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK)):
        async with means.database.begin() as work:
            await _import_chunk(work, user_id, chunk, stamp, result)
        means.wake()
    if 0 < result.imported <= CHUNK and not result.joined:
        result.change_id = stamp.change_id
    return result


def _in_order(drafts: Sequence[Draft]) -> list[Draft]:
    """Each key once, and of a series the latest instance first: it is the tip that the series is told with, and no
    instance is here before the one that follows it, so that nothing is generated in its place."""
    once = list({draft.key: draft for draft in drafts}.values())
    alone = [draft for draft in once if draft.place is None]
    chains: dict[str, list[Draft]] = {}
    for draft in once:
        if draft.place is not None:
            chains.setdefault(draft.place.series.key, []).append(draft)
    for chain in chains.values():
        chain.sort(key=lambda draft: draft.place.occurrence_key if draft.place else "", reverse=True)
        chain.sort(key=lambda draft: draft.closed_by is ClosedBy.WITHDRAWN)
    return alone + [draft for chain in chains.values() for draft in chain]


async def _import_chunk(
    work: Transaction, user_id: UUID, drafts: Sequence[Draft], stamp: Stamp, result: Imported
) -> None:
    # The account's row is what imports wait for each other at: what another one made meanwhile is then known.
    if not await work.lock_account(user_id):
        raise AccountNotFound("the account is gone")
    known = await work.known_tasks(user_id, list(_task_ids(user_id, drafts)))
    fresh = [draft for draft in drafts if not known & {derived(user_id, draft.key), draft.same_as}]
    series_ids = {derived(user_id, draft.place.series.key) for draft in fresh if draft.place is not None}
    versions = await work.series_versions(list(series_ids)) if series_ids else {}
    # A series that is here went on by itself since: what it made stands in the place of the file's instances.
    used = await work.used_slots(list(versions)) if versions else frozenset()
    fresh = [draft for draft in fresh if not used & _slots(user_id, draft)]
    for _ in range(_TRIES):
        owner = await work.owner(user_id)
        if owner is None:
            raise AccountNotFound("the account is gone")
        good, failed = _sorted_out(owner, fresh, stamp)
        first = await work.reserve_numbers(owner, len(good)) if good else 0
        if first is not None:
            await work.insert_many(_writes(owner, good, versions, stamp, first))
            result.imported += len(good)
            result.joined |= any(task.series_id in versions for _, task, _ in good)
            result.skipped += len(drafts) - len(fresh)
            result.failed += failed
            return
    raise ConcurrentChange("the epoch was raised at the same moment")


def _task_ids(user_id: UUID, drafts: Sequence[Draft]) -> set[UUID]:
    ids = {derived(user_id, draft.key) for draft in drafts}
    return ids | {draft.same_as for draft in drafts if draft.same_as is not None}


def derived(user_id: UUID, key: str) -> UUID:
    """Give the id that what a file calls `key` has in this account."""
    return uuid5(user_id, key)


def _slots(user_id: UUID, draft: Draft) -> frozenset[UsedSlot]:
    """What of its series a live instance holds alone: its date, and its place after another one."""
    place = draft.place
    if place is None or draft.closed_by is ClosedBy.WITHDRAWN:
        return frozenset()
    series_id = derived(user_id, place.series.key)
    after = None if place.predecessor is None else derived(user_id, place.predecessor)
    return frozenset({(series_id, place.occurrence_key)} | ({(series_id, after)} if after else set()))


Begun = tuple[Draft, Task, Series | None]


def _sorted_out(
    owner: Owner, drafts: Sequence[Draft], stamp: Stamp
) -> tuple[list[Begun], list[tuple[Draft, InvalidTask]]]:
    good: list[Begun] = []
    failed: list[tuple[Draft, InvalidTask]] = []
    used: set[UsedSlot] = set()
    for draft in drafts:
        slots = _slots(owner.user_id, draft)
        try:
            if used & slots:
                raise InvalidTask("occurrence_key", "slot_taken", "belongs to another task of the series")
            task, series = begin_task(owner, draft.request, stamp.at)
        except InvalidTask as error:
            failed.append((draft, error))
        else:
            used |= slots
            good.append((draft, _as_it_stood(draft, task, stamp.at), series))
    return good, failed


def _writes(
    owner: Owner, good: Sequence[Begun], versions: Mapping[UUID, int], stamp: Stamp, first: int
) -> list[tuple[TaskWrite, SeriesWrite | None]]:
    begun = dict(versions)
    writes: list[tuple[TaskWrite, SeriesWrite | None]] = []
    for number, (draft, unnumbered, own_series) in enumerate(good, start=first):
        task, series = replace(unnumbered, number=number), own_series
        if draft.place is not None and task.series_id is not None and task.series_id not in begun:
            series = _series(draft.place.series, task, stamp.at)
            begun[task.series_id] = series.version
        version = None if task.series_id is None else begun.get(task.series_id, 1)
        write = task_write(
            None, task, owner=owner, series_version=version, stamp=stamp, detail={"imported": draft.item}
        )
        if series is None:
            writes.append((write, None))
        else:
            writes.append((write, series_write(None, series, tip=task, epoch=owner.epoch, stamp=stamp)))
    return writes


def _as_it_stood(draft: Draft, task: Task, at: datetime) -> Task:
    """The first version of a task, closed if it was. A closed one is told as closed and never as completed anew."""
    reminders = tuple(
        replace(reminder, snoozed_until=snoozed, acknowledged_at=acknowledged)
        for reminder, (snoozed, acknowledged) in zip(task.reminders, draft.reminder_states, strict=True)
    )
    created_at = min(draft.created_at or at, at)
    task = replace(task, id=derived(task.user_id, draft.key), created_at=created_at, reminders=reminders)
    if draft.place is not None:
        predecessor = draft.place.predecessor
        task = replace(
            task,
            series_id=derived(task.user_id, draft.place.series.key),
            occurrence_key=draft.place.occurrence_key,
            predecessor_task_id=None if predecessor is None else derived(task.user_id, predecessor),
        )
    done = task.status is TaskStatus.COMPLETED
    if not done and task.status is not TaskStatus.ARCHIVED and draft.deleted_at is None:
        return task
    by = draft.closed_by or (ClosedBy.COMPLETED if done else ClosedBy.WITHDRAWN)
    completed_at = (draft.completed_at or draft.closed_at or at) if done else None
    return replace(
        task,
        closed_by=by,
        closed_version=task.version,
        closed_at=draft.closed_at or completed_at or draft.deleted_at or at,
        completed_at=completed_at,
        deleted_at=draft.deleted_at,
    )


def _series(draft: SeriesDraft, task: Task, at: datetime) -> Series:
    return Series(
        id=derived(task.user_id, draft.key),
        user_id=task.user_id,
        version=1,
        recurrence=draft.recurrence,
        timezone=draft.timezone,
        start=draft.start,
        created_at=at,
        updated_at=at,
        exdates=draft.exdates,
        paused_at=draft.paused_at,
        resumed_at=draft.resumed_at,
        ended_at=draft.ended_at,
    )
