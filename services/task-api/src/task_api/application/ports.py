"""What the use cases ask of the outside. Times are aware UTC datetimes; ids are UUIDv7 unless derived from an event."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from event_contracts.values import Actor, Payload, Priority, TaskStatus
from task_api.domain.ids import new_id
from task_api.domain.series import Recurrence, Series
from task_api.domain.task import Change, Task

Wake = Callable[[], None]
"""Tells the relay in this process that a commit left rows in the outbox."""

Now = Callable[[], Awaitable[datetime]]
"""The wall clock: `Clock.now` of service_kit."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who changed something, when, and the id of the change: one for all rows that a command writes, so that they can
    be taken back together."""

    actor: Actor
    at: datetime
    change_id: UUID = field(default_factory=new_id)


@dataclass(frozen=True, slots=True)
class Announcement:
    """One event to be published: `topic` is its name in the registry, `event_id` also keys the activity it causes."""

    event_id: UUID
    topic: str
    at: datetime
    data: Payload


@dataclass(frozen=True, slots=True)
class Owner:
    """What of an account, and of the database, every snapshot of its tasks needs."""

    user_id: UUID
    timezone: str
    day_start: time
    default_reminder: timedelta | None
    epoch: int


class Remembered:
    """The settings of the accounts that wrote last. They may be out of date: who uses them lets the write check."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._owners: OrderedDict[UUID, Owner] = OrderedDict()

    def recall(self, user_id: UUID) -> Owner | None:
        """Give what is remembered."""
        return self._owners.get(user_id)

    def keep(self, owner: Owner) -> None:
        """Remember what a write has just found to be so."""
        self._owners[owner.user_id] = owner
        self._owners.move_to_end(owner.user_id)
        while len(self._owners) > self._most:
            self._owners.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Locked:
    """A task whose row is locked, and its owner's settings as they are while it is."""

    task: Task
    owner: Owner


@dataclass(frozen=True, slots=True)
class ReadTask:
    """A task with what belongs to it, all as of one moment: its series' rule if that goes on and version if there is
    one, and its owner's settings."""

    task: Task
    recurrence: Recurrence | None
    series_version: int | None
    owner: Owner


@dataclass(frozen=True, slots=True)
class ChangedTask:
    """One row of a change: what it did to which task, and with which version."""

    task_id: UUID
    version: int
    at: datetime
    changes: dict[str, Change]


@dataclass(frozen=True, slots=True)
class Once:
    """An Idempotency-Key, and the fingerprint of the request that came with it."""

    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer as it was given: its status, its own headers and its body."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class TaskWrite:
    """One new version of a task with everything that is committed with it; `day_start` is its owner's.

    `before` is None for a new task: it gets its number on insertion, and the snapshot must carry number 1 until then.
    `announcement.data` is the snapshot of `after`; its event id also names the rows of history and activity.
    """

    before: Task | None
    after: Task
    changes: dict[str, Change]
    stamp: Stamp
    day_start: time
    announcement: Announcement
    activity_kind: str
    activity_detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SeriesWrite:
    """One new version of a series: its row, its line of history, and the series-updated that says so."""

    before: Series | None
    after: Series
    changes: dict[str, Change]
    stamp: Stamp
    announcement: Announcement


UsedSlot = tuple[UUID, str | UUID]
"""A series' id with an occurrence key, or with the id of an instance that another one follows: neither comes twice."""


class NewTasks(Protocol):
    """What making a task asks for. Outside of a unit of work, a task is committed when `write` gives it."""

    async def owner(self, user_id: UUID) -> Owner | None:
        """Read the account's settings and the epoch."""

    async def write(self, change: TaskWrite, owner: Owner, series: SeriesWrite | None = None) -> Task | None:
        """Write a new task with its reminders, history, activity and outbox rows, and the new series, in one statement.

        Gives the task as stored, or None when the owner's settings are no longer those of `owner`: then nothing is.
        """


class UnlockedTasks(Protocol):
    """One task at a time, outside of units of work."""

    async def read(self, user_id: UUID, task_id: UUID) -> ReadTask | None:
        """Read a task of this user, deleted or not, with its reminders and what belongs to it."""

    async def write(self, change: TaskWrite) -> bool:
        """Write the next version of a task as Transaction does, without waiting for anybody. False when the stored
        version is not that of `change.before`, or is about to be another: then nothing is."""


class Transaction(NewTasks, Protocol):
    """One unit of work. Locks are taken in the order account, series, tasks, successors, everywhere."""

    async def write(self, change: TaskWrite, owner: Owner, series: SeriesWrite | None = None) -> Task | None:
        """Write a new task as NewTasks says, or the next version of one in the same way.

        Raises ConcurrentChange when the stored version is not that of `change.before`.
        """

    async def lock_account(self, user_id: UUID) -> bool:
        """Lock the account's row, which gives new tasks their numbers; False when it is gone."""

    async def lock_series(self, series_id: UUID) -> Series | None:
        """Lock and read a series."""

    async def lock_series_of(self, user_id: UUID, task_id: UUID) -> Series | None:
        """Lock and read the series that this user's task belongs to; None when it belongs to none."""

    async def series(self, series_id: UUID) -> Series | None:
        """Read a series without locking it."""

    async def lock_task(self, user_id: UUID, task_id: UUID) -> Locked | None:
        """Lock and read a task of this user, deleted or not, with its reminders."""

    async def lock_tasks(self, user_id: UUID, task_ids: Sequence[UUID]) -> Sequence[Locked]:
        """Lock and read those of the tasks that are this user's, deleted or not, by id."""

    async def lock_series_of_tasks(self, user_id: UUID, task_ids: Sequence[UUID]) -> dict[UUID, Series]:
        """Lock and read the series of those of the tasks that are this user's, in the order of their ids."""

    async def lock_successor(self, series_id: UUID, task_id: UUID) -> Task | None:
        """Lock and read the instance that followed `task_id`, withdrawn ones aside. The series is locked before."""

    async def is_touched(self, task_id: UUID) -> bool:
        """Whether somebody other than a service changed the task last.

        A version that changed no field of it does not count: the person's day starts elsewhere, or the series' grid.
        """

    async def lock_open_instances(self, series_id: UUID) -> Sequence[Task]:
        """Lock and read the open instances of a series, by id. The series is locked before."""

    async def lock_open_all_day(self, user_id: UUID) -> Sequence[Task]:
        """Lock and read the user's open tasks that have a due date, by id. The account is locked before."""

    async def lock_all_day_series(self, user_id: UUID, zone: str) -> Sequence[Series]:
        """Lock and read the user's all-day series of this zone that have not ended, by id."""

    async def series_versions(self, series_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Read the versions of some series."""

    async def greatest_key(self, series_id: UUID, *, besides: UUID) -> str | None:
        """Read the greatest key of the series' instances other than one, withdrawn ones aside."""

    async def tip(self, series_id: UUID) -> Task | None:
        """Read the instance with the greatest key, withdrawn ones aside, without its reminders."""

    async def reserve_numbers(self, owner: Owner, count: int) -> int | None:
        """Take `count` task numbers and give the first; None when the owner's settings are no longer these."""

    async def insert_many(self, changes: Sequence[tuple[TaskWrite, SeriesWrite | None]]) -> None:
        """Write new tasks that have their numbers, in few round trips: those that begin a series first."""

    def together(self) -> AbstractAsyncContextManager[None]:
        """Send the writes of changed tasks that are made inside the block in few round trips, at its end."""

    async def known_tasks(self, user_id: UUID, ids: Sequence[UUID]) -> frozenset[UUID]:
        """Read which of those ids are tasks of this user, deleted or not."""

    async def used_slots(self, series_ids: Sequence[UUID]) -> frozenset[UsedSlot]:
        """Read what the instances of some series hold, withdrawn ones aside."""

    async def rows_of_change(self, user_id: UUID, change_id: UUID) -> Sequence[ChangedTask]:
        """Read what a change of this user did to tasks, the newest version first."""

    async def series_of_change(self, user_id: UUID, change_id: UUID) -> dict[UUID, dict[str, Change]]:
        """Read what a change of this user did to series, by their ids."""

    async def fields_changed_after(self, rows: Sequence[ChangedTask]) -> dict[UUID, frozenset[str]]:
        """Read which fields of those tasks later changes touched."""

    async def claim_key(self, user_id: UUID, key: str, fingerprint: bytes, at: datetime) -> KeptAnswer | None:
        """Take an Idempotency-Key for this transaction, or give the answer that was given under it.

        Waits while another transaction holds it. Raises KeyReused when it belongs to another request.
        """

    async def keep_answer(self, user_id: UUID, key: str, answer: KeptAnswer) -> None:
        """Store the answer under a key that this transaction has taken."""

    async def write_series(self, change: SeriesWrite) -> None:
        """Update a series and append its rows of history and outbox.

        Raises ConcurrentChange when it is at another version.
        """


class Database(Protocol):
    """Where units of work come from: committed when the block ends, rolled back when it raises."""

    def begin(self) -> AbstractAsyncContextManager[Transaction]:
        """Open a unit of work. Raises StorageUnavailable when the database does not answer."""


@dataclass(frozen=True, slots=True)
class Means:
    """What every command works with. `new_tasks` and `unlocked` write outside of units of work; `owners` are accounts'
    settings as they were a moment ago."""

    database: Database
    new_tasks: NewTasks
    unlocked: UnlockedTasks
    now: Now
    wake: Wake
    owners: Remembered = field(default_factory=Remembered)


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task as it is shown: with the recurrence of its series, and the id of the change that was made, if one was."""

    task: Task
    recurrence: Recurrence | None
    change_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks a list shows; empty means all that are not deleted. All `tags` must be there."""

    status: tuple[TaskStatus, ...] = ()
    priority: tuple[Priority, ...] = ()
    tags: tuple[str, ...] = ()
    due_before: datetime | None = None
    due_after: datetime | None = None
    series_id: UUID | None = None
    updated_since: datetime | None = None
    overdue_at: datetime | None = None
    words: str | None = None
    number: int | None = None
    deleted: bool = False


class Sort(StrEnum):
    """What a list is sorted by; without a due counts as due never."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    DUE = "due"
    PRIORITY = "priority"
    TITLE = "title"


@dataclass(frozen=True, slots=True)
class Order:
    """The order of a list; ids break ties the same way round."""

    sort: Sort = Sort.CREATED_AT
    descending: bool = True


Key = datetime | str | int | float
"""What a row is sorted by."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: the sort key and id of its last row."""

    key: Key
    id: UUID


@dataclass(frozen=True, slots=True)
class Changes:
    """How often a person's tasks were changed until now, in which epoch of the database: equal ones, equal lists.

    The epoch tells a number from the same one after a restore, from where the counter goes on.
    """

    number: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Page:
    """Some tasks, each with where it stands in the list; and its owner's changes until then."""

    tasks: Sequence[TaskView]
    positions: Sequence[Position]
    changes: Changes


@dataclass(frozen=True, slots=True)
class TagCount:
    """A tag, and how many of the person's tasks have it."""

    tag: str
    tasks: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of a person's tasks: `completed` by day of their zone, `average` from creation to completion."""

    by_status: dict[TaskStatus, int]
    overdue: int
    completed: dict[date, int]
    average_seconds: float | None


@dataclass(frozen=True, slots=True)
class Activity:
    """One line of a task's ledger; `id` is the id of the event that caused it."""

    id: UUID
    at: datetime
    kind: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Revision:
    """One line of a task's history: who made which version, and what it changed."""

    version: int
    at: datetime
    actor: Actor
    changes: dict[str, Change]


class TaskReader(Protocol):
    """Reads outside units of work, always of one user."""

    async def task(self, user_id: UUID, task_id: UUID) -> TaskView | None:
        """Read a task that is not deleted."""

    async def successor(self, user_id: UUID, task_id: UUID) -> TaskView | None:
        """Read the live instance that followed this one in its series."""

    async def page(
        self,
        user_id: UUID,
        only: TaskFilter,
        order: Order,
        after: Position | None,
        limit: int,
        offset: int = 0,
    ) -> Page:
        """Read up to `limit` tasks in this order, after the position or the first `offset`."""

    async def search(
        self, user_id: UUID, words: str, tags: Sequence[str], after: Position | None, limit: int
    ) -> Page:
        """Read up to `limit` tasks that hold the words, the best first, out of the newest thousand that do."""

    async def total(self, user_id: UUID, only: TaskFilter) -> int:
        """Count the tasks that a list of this filter has."""

    async def changes(self, user_id: UUID) -> Changes:
        """Read how often the person's tasks were changed, and nothing of the tasks themselves."""

    async def tags(self, user_id: UUID) -> Sequence[TagCount]:
        """Read the tags of the person's tasks, the most used first."""

    async def tagged(self, user_id: UUID, tag: str, limit: int) -> Sequence[UUID]:
        """Read the ids of up to `limit` tasks that have the tag."""

    async def stats(self, user_id: UUID, now: datetime, days: int) -> Stats:
        """Count the person's tasks; `completed` of the last `days`."""

    async def revisions(self, user_id: UUID, task_id: UUID) -> tuple[Task, Sequence[Revision]] | None:
        """Read a task, deleted or not, with its whole history, oldest first."""

    async def activity(
        self, user_id: UUID, task_id: UUID, after: Position | None, limit: int
    ) -> Sequence[Activity] | None:
        """Read the ledger of a task, deleted or not, in the order of time; None when there is no such task."""

    async def history(
        self, user_id: UUID, task_id: UUID, after: int, limit: int
    ) -> Sequence[Revision] | None:
        """Read the versions above `after` of a task, deleted or not; None when there is no such task."""

    async def series_history(
        self, user_id: UUID, series_id: UUID, after: int, limit: int
    ) -> Sequence[Revision] | None:
        """Read the versions above `after` of a series; None when there is no such series."""
