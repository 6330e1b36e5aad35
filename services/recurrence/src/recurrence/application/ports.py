"""What the application needs of the outside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from event_contracts.recurrence import RecurringTaskGenerated
from event_contracts.series import SeriesSnapshot
from event_contracts.tasks import TaskSnapshot
from recurrence.domain.checks import Awaited, Check
from recurrence.domain.position import KnownSeries, Position

ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class Held(Generic[ValueT]):
    """A document's value and the ETag that a write over it has to name."""

    value: ValueT
    etag: str


@dataclass(frozen=True)
class Known:
    """The documents that there are of a task, its series and its user."""

    task: Held[Position] | None = None
    series: Held[KnownSeries] | None = None
    user_is_erased: bool = False


@dataclass(frozen=True)
class Generation:
    """The valid generation of documents, PostgreSQL's epoch it was built from, the Redis it lives in."""

    name: str
    epoch: int
    run_id: str


class Documents(Protocol):
    """The documents in the state store. Reads raise when it is away; writes are guarded by ETags."""

    async def generation(self) -> Generation | None:
        """The valid generation, from the store each time; None when there is none."""
        ...

    async def begin_generation(self, epoch: int, run_id: str) -> Generation:
        """Make a new generation valid. Raises DocumentWriteFailed, also when another replica was first."""
        ...

    async def renew_run_id(self, generation: Generation, run_id: str) -> None:
        """Note that the Redis of `run_id` has everything of this generation. Raises DocumentWriteFailed."""
        ...

    async def is_complete(self, generation: str) -> bool:
        """Whether this generation was built to its end."""
        ...

    async def mark_complete(self, generation: str) -> None:
        """Note that it was. Raises DocumentWriteFailed."""
        ...

    async def read(self, generation: str, *, task_id: UUID | None, series_id: UUID, user_id: UUID) -> Known:
        """What there is of these three, in one round trip."""
        ...

    async def put_task(self, generation: str, position: Position, over: Held[Position] | None) -> None:
        """Write over the document that was read, or create it. Raises DocumentWriteFailed."""
        ...

    async def put_series(self, generation: str, series: KnownSeries, over: Held[KnownSeries] | None) -> None:
        """Write over the document that was read, or create it. Raises DocumentWriteFailed."""
        ...

    async def put_erased_user(self, generation: str, user_id: UUID) -> None:
        """Note that nothing of this user is to be taken up any more. Raises DocumentWriteFailed."""
        ...


class TaskApi(Protocol):
    """What task-api knows. Every call raises TaskApiAway."""

    async def epoch(self) -> int:
        """PostgreSQL's epoch."""
        ...

    async def series(self, series_id: UUID) -> SeriesSnapshot | None:
        """A series with its tip as of now; None when it is not there, or not any more."""
        ...

    async def task(self, task_id: UUID) -> TaskSnapshot | None:
        """A task as of now; None when it is not there, or not any more."""
        ...

    def all_series(self, since: datetime | None = None) -> AsyncIterator[Sequence[SeriesSnapshot]]:
        """Every series that has not ended, page by page; with `since` those changed since then, ended ones too."""
        ...


class Publisher(Protocol):
    """The bus."""

    async def occurrence_generated(self, proposal: RecurringTaskGenerated) -> None:
        """Publish; one proposal has one event id, however often it is published. Raises when it may not be out."""
        ...


Answer = bool | timedelta
"""Of who looked at something in a sweep: True settles it, False has it looked at again by the next sweep, a time after
that."""


class Checks(Protocol):
    """The index of closed instances whose successor is still to be seen."""

    async def expect(self, check: Check, at: datetime, /) -> None:
        """Have this looked at from `at` on; one that is there stays as it is."""
        ...

    async def sweep(self, handler: Callable[[Check, datetime], Awaitable[Answer]]) -> int:
        """Hand over all that is due, with the moment at which it is; how many. An error leaves a check for the next
        sweep and ends this one."""
        ...


class AwaitedOccurrences(Protocol):
    """The index of open instances whose successor comes by its date."""

    async def expect(self, awaited: Awaited, at: datetime, /) -> None:
        """Have this looked at from `at` on; one that is there stays as it is."""
        ...

    async def next_due(self) -> datetime | None:
        """When there is something to look at; None when there is nothing."""
        ...

    async def sweep(self, handler: Callable[[Awaited, datetime], Awaitable[Answer]]) -> int:
        """Hand over all that is due, as `Checks.sweep` does."""
        ...


class Clock(Protocol):
    """The time."""

    async def now(self) -> datetime:
        """The instant, aware, in UTC."""
        ...


class RedisFacts(Protocol):
    """What is asked of Redis itself."""

    async def run_id(self) -> str:
        """The id of this start of Redis."""
        ...

    def rebuild_lock(self) -> AbstractAsyncContextManager[bool]:
        """Holds the lock of the rebuild for as long as the body runs; False when another replica has it."""
        ...
