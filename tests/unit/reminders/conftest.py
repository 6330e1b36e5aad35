"""Snapshots, and the service's use cases on stand-ins."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from event_contracts.tasks import ReminderDefinition, TaskSnapshot
from event_contracts.values import Actor, ActorKind, ClosedBy, Priority, TaskStatus
from reminders.adapters.dapr_documents import DaprDocuments
from reminders.adapters.dapr_publisher import DaprAnnouncer
from reminders.adapters.task_api import InvokedTaskApi
from reminders.application.apply_snapshot import SnapshotApplier
from reminders.application.fire_due import DueFirer
from service_kit.marker import MarkerStore
from service_kit.testing.fakes import InMemoryDueIndex, InMemoryStateStore, ManualClock, RecordingSidecar

USER = UUID("0197a1c0-0000-7000-8000-000000000001")
START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


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


class Rig:
    """One world (store, index, bus, clock) and as many replicas of the use cases in it as a test makes."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.state = InMemoryStateStore(self.clock)
        self.index = InMemoryDueIndex(self.clock, lease=timedelta(seconds=15))
        self.sidecar = RecordingSidecar()
        self.markers = MarkerStore(self.state)
        self.documents = DaprDocuments(self.state)
        self.generation = ""
        self.added: list[datetime] = []

    async def begin(self, epoch: int = 1) -> None:
        """Write the marker."""
        self.generation = (await self.markers.create(epoch, "run")).generation

    def applier(self) -> SnapshotApplier:
        announcer = DaprAnnouncer(self.sidecar, self.clock)
        return SnapshotApplier(self.markers, self.documents, self.index, announcer, self.added.append)

    def firer(self) -> DueFirer:
        announcer = DaprAnnouncer(self.sidecar, self.clock)
        task_api = InvokedTaskApi(self.sidecar)
        return DueFirer(
            self.markers, self.documents, self.index, announcer, task_api, self.applier(), batch=10
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
