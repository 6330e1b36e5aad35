"""Snapshots, and the use cases on stand-ins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from event_contracts.recurrence import RecurringTaskGenerated
from event_contracts.series import SeriesSnapshot, SeriesTip
from event_contracts.tasks import TaskSnapshot
from event_contracts.values import Actor, ActorKind, ClosedBy, Priority, TaskStatus
from recurrence.adapters.dapr_documents import DaprDocuments
from recurrence.adapters.redis_checks import RedisAwaited, RedisChecks
from recurrence.application.by_schedule import BySchedule
from recurrence.application.errors import TaskApiAway
from recurrence.application.evaluate import Evaluation
from recurrence.application.keep_complete import DerivedState, KeepComplete
from recurrence.application.propose import Proposer
from recurrence.application.reconcile import Reconcile
from recurrence.application.repair import Repair
from service_kit.testing.fakes import InMemoryDueIndex, InMemoryStateStore, ManualClock

USER = UUID("0197a1c0-0000-7000-8000-000000000001")
ACTOR = Actor(kind=ActorKind.USER, id=str(USER))
# Monday 24 March 2025, 09:05 in Berlin
NOW = datetime(2025, 3, 24, 8, 5, tzinfo=UTC)
MONDAY, NEXT_MONDAY = "2025-03-24T09:00:00", "2025-03-31T09:00:00"


def series_of(**fields: Any) -> SeriesSnapshot:
    """Mondays at nine in Berlin, version 1, without a tip."""
    return SeriesSnapshot.model_validate(
        {
            "series_id": uuid4(),
            "user_id": USER,
            "version": 1,
            "epoch": 1,
            "rrule": "FREQ=WEEKLY;BYDAY=MO",
            "timezone": "Europe/Berlin",
            "start": "2025-03-03T09:00:00",
            "updated_at": NOW,
            "actor": ACTOR,
        }
        | fields
    )


def instance_of(series: SeriesSnapshot, **fields: Any) -> TaskSnapshot:
    """The open instance of 24 March, version 1."""
    return TaskSnapshot.model_validate(
        {
            "task_id": uuid4(),
            "user_id": series.user_id,
            "number": 1,
            "version": 1,
            "epoch": series.epoch,
            "title": "Water the plants",
            "status": TaskStatus.PENDING,
            "priority": Priority.MEDIUM,
            "due_at": NOW - timedelta(minutes=5),
            "timezone": series.timezone,
            "day_start": time(9),
            "series_id": series.series_id,
            "series_version": series.version,
            "occurrence_key": MONDAY,
            "created_at": NOW,
            "updated_at": NOW,
            "actor": ACTOR,
        }
        | fields
    )


def later(task: TaskSnapshot, version: int, **fields: Any) -> TaskSnapshot:
    """The same task at another version."""
    return task.model_copy(update={"version": version} | fields)


def closed(
    task: TaskSnapshot, version: int, by: ClosedBy = ClosedBy.COMPLETED, at: datetime = NOW, **fields: Any
) -> TaskSnapshot:
    """The task closed with `version`."""
    return later(
        task,
        version,
        status=TaskStatus.COMPLETED,
        closed_by=by,
        closed_version=version,
        closed_at=at,
        **fields,
    )


def tip_of(task: TaskSnapshot) -> SeriesTip:
    """The task as the tip of its series."""
    assert task.occurrence_key is not None
    return SeriesTip(
        task_id=task.task_id,
        version=task.version,
        occurrence_key=task.occurrence_key,
        is_open=task.is_open,
        closed_by=task.closed_by,
        closed_at=task.closed_at,
        closed_version=task.closed_version,
    )


class FakeTaskApi:
    """task-api as a dictionary; `away` makes every call fail."""

    def __init__(self) -> None:
        self.known: dict[UUID, SeriesSnapshot] = {}
        self.known_tasks: dict[UUID, TaskSnapshot] = {}
        self.current_epoch = 1
        self.away = False
        self.asked: list[UUID] = []

    def knows(self, series: SeriesSnapshot) -> SeriesSnapshot:
        self.known[series.series_id] = series
        return series

    async def epoch(self) -> int:
        self._require()
        return self.current_epoch

    async def series(self, series_id: UUID) -> SeriesSnapshot | None:
        self._require()
        self.asked.append(series_id)
        return self.known.get(series_id)

    async def task(self, task_id: UUID) -> TaskSnapshot | None:
        self._require()
        return self.known_tasks.get(task_id)

    async def all_series(self, since: datetime | None = None) -> AsyncIterator[Sequence[SeriesSnapshot]]:
        self._require()
        everything = [
            series
            for series in self.known.values()
            if (not series.ended if since is None else series.updated_at >= since)
        ]
        for start in range(0, len(everything), 2):
            yield everything[start : start + 2]

    def _require(self) -> None:
        if self.away:
            raise TaskApiAway("away by the test's wish")


class FakePublisher:
    """Remembers what was published; `error` is raised instead once."""

    def __init__(self) -> None:
        self.published: list[RecurringTaskGenerated] = []
        self.error: Exception | None = None

    async def occurrence_generated(self, proposal: RecurringTaskGenerated) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error
        self.published.append(proposal)

    @property
    def keys(self) -> list[str]:
        return [one.occurrence_key for one in self.published]


class FakeRedisFacts:
    """Redis's run id, and a lock that is free unless `locked`."""

    def __init__(self) -> None:
        self.run = "run-1"
        self.locked = False

    async def run_id(self) -> str:
        return self.run

    @asynccontextmanager
    async def rebuild_lock(self) -> AsyncIterator[bool]:
        if self.locked:
            yield False
            return
        self.locked = True
        try:
            yield True
        finally:
            self.locked = False


@dataclass
class Rig:
    """One replica; `another()` is a second one on the same stores."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    store: InMemoryStateStore = field(default_factory=InMemoryStateStore)
    task_api: FakeTaskApi = field(default_factory=FakeTaskApi)
    publisher: FakePublisher = field(default_factory=FakePublisher)
    redis: FakeRedisFacts = field(default_factory=FakeRedisFacts)
    index: InMemoryDueIndex = field(init=False)
    dates: InMemoryDueIndex = field(init=False)

    def __post_init__(self) -> None:
        self.index = InMemoryDueIndex(self.clock)
        self.dates = InMemoryDueIndex(self.clock)
        self._assemble()

    def _assemble(self) -> None:
        self.documents = DaprDocuments(self.store)
        self.checks = RedisChecks(self.index)
        self.state = DerivedState()
        self.awaited = RedisAwaited(self.dates)
        proposer = Proposer(self.publisher, self.checks, self.awaited, self.clock)
        self.evaluation = Evaluation(self.documents, self.task_api, proposer)
        self.keeper = KeepComplete(
            self.documents, self.task_api, self.redis, self.state, self.evaluation.on_series
        )
        self.reconcile = Reconcile(
            self.documents, self.task_api, self.redis, self.state, self.evaluation.on_series, self.clock
        )
        self.repair = Repair(self.checks, self.task_api, self.evaluation, self.state)
        self.by_schedule = BySchedule(self.awaited, self.task_api, self.evaluation, self.state, self.clock)

    def another(self) -> Rig:
        twin = replace(self)
        twin.index, twin.dates = self.index, self.dates
        twin._assemble()
        return twin

    async def begin(self) -> None:
        """Build the first generation."""
        await self.keeper.step()
        assert self.state.is_complete

    async def sweep_after(self, pause: timedelta) -> None:
        self.clock.advance(pause)
        await self.repair.sweep()


@pytest.fixture
async def rig() -> Rig:
    """One replica with an empty, complete generation."""
    made = Rig()
    await made.begin()
    return made


@pytest.fixture
def make_rig() -> Callable[[], Rig]:
    """Makes replicas that have not begun."""
    return Rig
