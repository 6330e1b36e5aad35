"""Snapshots, and the service's use cases on stand-ins."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from event_contracts.tasks import ReminderDefinition, TaskSnapshot
from event_contracts.values import Actor, ActorKind, ClosedBy, Priority, TaskStatus
from reminders.adapters.dapr_documents import DaprDocuments
from reminders.adapters.dapr_publisher import DaprAnnouncer
from reminders.application.apply_snapshot import SnapshotApplier
from reminders.application.fire_due import DueFirer
from reminders.application.ports import SnapshotPage
from reminders.domain.document import to_ms
from service_kit.marker import MarkerStore
from service_kit.sidecar import SidecarUnavailable
from service_kit.testing.fakes import InMemoryDueIndex, InMemoryStateStore, ManualClock, RecordingSidecar

USER = UUID("0197a1c0-0000-7000-8000-000000000001")
START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
LONG_AGO = timedelta(hours=1)


def reminder(**fields: Any) -> ReminderDefinition:
    """A reminder set at START; give `offset` or `at`."""
    return ReminderDefinition.model_validate({"reminder_id": uuid4(), "set_at": START} | fields)


def snapshot(**fields: Any) -> TaskSnapshot:
    """An open task of version 1, due an hour after START."""
    return TaskSnapshot.model_validate(
        {
            "task_id": uuid4(),
            "user_id": USER,
            "number": 1,
            "version": 1,
            "epoch": 1,
            "title": "Water the plants",
            "status": TaskStatus.PENDING,
            "priority": Priority.MEDIUM,
            "due_at": START + timedelta(hours=1),
            "timezone": "Europe/Berlin",
            "day_start": time(9),
            "created_at": START,
            "updated_at": START,
            "actor": Actor(kind=ActorKind.USER, id=str(USER)),
        }
        | fields
    )


def later(task: TaskSnapshot, version: int, **fields: Any) -> TaskSnapshot:
    """The same task at a later version."""
    return task.model_copy(update={"version": version} | fields)


def completed(task: TaskSnapshot, version: int) -> TaskSnapshot:
    return later(
        task,
        version,
        status=TaskStatus.COMPLETED,
        closed_by=ClosedBy.COMPLETED,
        closed_version=version,
        closed_at=START,
    )


class StandInTaskApi:
    """`TaskApi` as of the snapshots it was given, in small pages; it is away while `away` is set."""

    page_size = 2

    def __init__(self) -> None:
        self.tasks: dict[UUID, TaskSnapshot] = {}
        self.current_epoch = 1
        self.away = False
        self.since: list[datetime | None] = []
        self.asked: list[UUID] = []
        """Of which tasks it was asked because an event told of them what may be long past."""

    def commit(self, task: TaskSnapshot) -> TaskSnapshot:
        self.tasks[task.task_id] = task
        return task

    async def task(self, task_id: UUID) -> TaskSnapshot | None:
        self._require_present()
        return self.tasks.get(task_id)

    async def some_tasks(self, task_ids: Collection[UUID]) -> dict[UUID, TaskSnapshot]:
        self._require_present()
        self.asked += task_ids
        return {task_id: self.tasks[task_id] for task_id in task_ids if task_id in self.tasks}

    async def epoch(self) -> int:
        self._require_present()
        return self.current_epoch

    async def page(self, cursor: str | None, since: datetime | None = None) -> SnapshotPage:
        self._require_present()
        self.since.append(since)
        wanted = [
            task
            for task_id, task in sorted(self.tasks.items())
            if (task.is_open if since is None else task.updated_at >= since)
            and (cursor is None or task_id.hex > cursor)
        ]
        page = wanted[: self.page_size]
        return SnapshotPage(page, page[-1].task_id.hex if len(wanted) > len(page) else None)

    def _require_present(self) -> None:
        if self.away:
            raise SidecarUnavailable("task-api is away")


class InMemoryUpcoming:
    """`Upcoming` without Redis."""

    def __init__(self) -> None:
        self.members: dict[UUID, dict[str, int]] = {}
        self.erased: set[tuple[str, UUID]] = set()

    async def note(
        self, generation: str, members: Mapping[UUID, Mapping[str, datetime]], now: datetime
    ) -> set[UUID]:
        erased = {user_id for user_id in members if (generation, user_id) in self.erased}
        for user_id, wanted in members.items():
            if user_id in erased:
                continue
            mine = self.members.setdefault(user_id, {})
            mine.update({member: to_ms(at) for member, at in wanted.items() if at > now})
        return erased

    async def following(self, user_id: UUID, from_ms: int, skip: int, limit: int) -> list[str]:
        mine = sorted((at, member) for member, at in self.members.get(user_id, {}).items() if at >= from_ms)
        return [member for _, member in mine[skip : skip + limit]]

    async def forget(self, generation: str, user_id: UUID) -> None:
        self.erased.add((generation, user_id))
        self.members.pop(user_id, None)


class FreeLock:
    """`Lock` of the only replica; `taken` when another one has it."""

    taken = False

    async def take(self) -> bool:
        return not self.taken

    async def keep(self) -> bool:
        return not self.taken

    async def give_back(self) -> None:
        return None


class Rig:
    """One world (store, index, bus, clock) and as many replicas of the use cases in it as a test makes."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.state = InMemoryStateStore(self.clock)
        self.index = InMemoryDueIndex(self.clock, lease=timedelta(seconds=15))
        self.sidecar = RecordingSidecar()
        self.upcoming = InMemoryUpcoming()
        self.task_api = StandInTaskApi()
        self.markers = MarkerStore(self.state)
        self.documents = DaprDocuments(self.state)
        self.generation = ""
        self.added: list[datetime] = []

    async def begin(self, epoch: int = 1) -> None:
        """Write the marker of a generation that began a while ago."""
        began = self.clock.instant - LONG_AGO
        self.generation = (await self.markers.create(epoch, "run", began)).generation

    def applier(self) -> SnapshotApplier:
        announcer = DaprAnnouncer(self.sidecar, self.clock)
        return SnapshotApplier(
            self.markers,
            self.documents,
            self.index,
            self.upcoming,
            announcer,
            self.task_api,
            self.clock,
            self.added.append,
        )

    def firer(self) -> DueFirer:
        announcer = DaprAnnouncer(self.sidecar, self.clock)
        return DueFirer(
            self.markers, self.documents, self.index, announcer, self.task_api, self.applier(), batch=10
        )

    def fired(self) -> list[tuple[str, str]]:
        """(event id, reminder id) of every reminder-due that is out, copies included."""
        return [(event["id"], event["data"]["reminder_id"]) for event in self.sidecar.events("reminder-due")]

    def scheduled(self) -> list[str]:
        """The ids of the reminder-scheduled events that are out, each once."""
        return list(dict.fromkeys(event["id"] for event in self.sidecar.events("reminder-scheduled")))


@pytest.fixture
async def rig() -> Rig:
    world = Rig()
    await world.begin()
    return world
