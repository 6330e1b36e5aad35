"""Events as the sidecar delivers them, and the offers that recurrence would make."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.integration.task_api.conftest import Person, Rows

from event_contracts.envelope import derive_id
from event_contracts.recurrence import RecurringTaskGenerated
from event_contracts.topics import TOPICS
from service_kit.clock import SystemClock
from task_api.adapters.postgres.successors import PostgresSuccession
from task_api.application.insert_successor import insert_successor

Json = dict[str, Any]

FROM_NOTIFIER = {"dapr-api-token": "app-token", "dapr-caller-app-id": "notifier"}
"""The headers with which the sidecar delivers what a sibling asks."""


def stamp(moment: datetime) -> str:
    """An instant as it is written on the wire."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


async def until_waiting(rows: Rows, count: int) -> None:
    """Return when `count` connections to this database wait for a lock. Raises TimeoutError after 10 s."""
    async with asyncio.timeout(10):
        while await _waiting(rows) < count:  # noqa: ASYNC110 - the database tells nobody who waits
            await asyncio.sleep(0.01)


async def _waiting(rows: Rows) -> int:
    (found,) = await rows(
        "SELECT count(*) AS waiting FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return int(found["waiting"])


@asynccontextmanager
async def cut_off_at(engine: AsyncEngine, rows: Rows, task_id: str) -> AsyncIterator[None]:
    """End the connection of the one who comes to lock this task inside the block."""

    async def cut() -> None:
        await until_waiting(rows, 1)
        await rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )

    async with engine.begin() as holder:
        await holder.execute(text("SELECT 1 FROM tasks WHERE id = :id FOR UPDATE"), {"id": task_id})
        async with asyncio.TaskGroup() as beside:
            beside.create_task(cut())
            yield


@dataclass(frozen=True)
class Delivery:
    """One event on its way to task-api."""

    topic: str
    id: UUID
    data: Json
    time: str = "2026-01-05T09:00:00Z"

    @property
    def body(self) -> Json:
        topic = TOPICS[self.topic]
        return {
            "specversion": "1.0",
            "id": str(self.id),
            "source": f"/{topic.producer}",
            "type": topic.event_type,
            "subject": self.data[topic.key],
            "time": self.time,
            "datacontenttype": "application/json",
            "data": self.data,
        }

    async def to(self, http: httpx.AsyncClient) -> str:
        """Deliver it; gives SUCCESS, RETRY or DROP."""
        answer = await http.post(
            f"/events/{self.topic}", json=self.body, headers={"dapr-api-token": "app-token"}
        )
        assert answer.status_code == 200, answer.text
        status: str = answer.json()["status"]
        return status

    async def to_another_replica(self, engine: AsyncEngine) -> str:
        """Let a process that knows nothing of what is under way here carry out this offer."""
        offer = RecurringTaskGenerated.model_validate(self.data)
        await insert_successor(PostgresSuccession(engine), SystemClock().now, lambda: None, self.id, offer)
        return "SUCCESS"


def scheduled(task: Json, fire_at: datetime, version: int = 1, **more: Any) -> Delivery:
    """What reminders says when the first reminder of `task` will fire."""
    reminder = task["reminders"][0]["id"]
    data = {
        "reminder_id": reminder,
        "task_id": task["id"],
        "user_id": more.pop("user_id"),
        "version": version,
        "fire_at": stamp(fire_at),
        "reason": "created" if version == 1 else "moved",
    }
    return Delivery("reminder-scheduled", derive_id(reminder, fire_at, version), data, **more)


def due(task: Json, fire_at: datetime, late: timedelta, user_id: str) -> Delivery:
    """What reminders says when the first reminder of `task` fired."""
    reminder = task["reminders"][0]["id"]
    data = {
        "reminder_id": reminder,
        "task_id": task["id"],
        "user_id": user_id,
        "fire_at": stamp(fire_at),
        "fired_at": stamp(fire_at + late),
    }
    return Delivery("reminder-due", derive_id("reminder-due", reminder, fire_at), data)


def delivered(task: Json, outcome: str, user_id: str, **more: Any) -> Delivery:
    """What notifier says of one channel."""
    data = {
        "notification_id": str(uuid4()),
        "task_id": task["id"],
        "user_id": user_id,
        "reminder_id": task["reminders"][0]["id"] if task["reminders"] else None,
        "channel": "email",
        "attempt": 1,
        "outcome": outcome,
        "latency_ms": 12,
        "at": "2026-01-05T09:00:01Z",
        **more,
    }
    return Delivery("notification-delivered", uuid4(), data)


def read(user_id: str, *notification_ids: UUID, at: str = "2026-01-05T10:00:00Z") -> Delivery:
    """What notifier says when a person has read something."""
    data = {"user_id": user_id, "notification_ids": [str(one) for one in notification_ids], "read_at": at}
    return Delivery("notification-read", uuid4(), data)


@dataclass(frozen=True)
class Weekly:
    """A person's weekly task in Berlin, and the offers of what follows it."""

    person: Person
    rows: Rows
    http: httpx.AsyncClient

    async def begin(self, **fields: Any) -> Json:
        """Make one that is due on Monday 12 January 2026 at nine in Berlin."""
        asked = {
            "due_at": "2026-01-12T08:00:00Z",
            "timezone": "Europe/Berlin",
            "recurrence": {"rrule": "FREQ=WEEKLY"},
            "reminders": [{"offset": "PT30M"}],
            **fields,
        }
        return await self.person.create(**asked)

    async def complete(self, task: Json) -> Json:
        answer = await self.person.call("POST", f"/api/v1/tasks/{task['id']}/complete", 200)
        closed: Json = answer.json()
        return closed

    async def reopen(self, task: Json, expect: int = 200) -> None:
        await self.person.call(
            "POST", f"/api/v1/tasks/{task['id']}/complete", expect, json={"completed": False}
        )

    async def offer(self, task: Json, weeks: int = 1, **other: Any) -> Delivery:
        """What recurrence offers after `task` as the rows stand now, `weeks` later; `other` changes the offer."""
        (row,) = await self.rows(
            "SELECT t.*, s.version AS series_version FROM tasks t JOIN series s ON s.id = t.series_id WHERE t.id = :id",
            id=UUID(task["id"]),
        )
        slot = datetime.fromisoformat(row["occurrence_key"]) + timedelta(weeks=weeks)
        data: Json = {
            "series_id": str(row["series_id"]),
            "series_version": row["series_version"],
            "user_id": str(row["user_id"]),
            "predecessor_task_id": task["id"],
            "predecessor_closed_version": row["closed_version"],
            "occurrence_key": slot.isoformat(),
            "due_at": stamp(slot.replace(tzinfo=UTC) - timedelta(hours=1)),
            "due_date": None,
            "timezone": "Europe/Berlin",
            "why": "completed",
            "sentence": "Every week on Monday.",
            "generated_at": "2026-01-05T09:00:01Z",
            **other,
        }
        parts = ("predecessor_task_id", "predecessor_closed_version", "series_version", "occurrence_key")
        return Delivery("recurring-task-generated", derive_id(*(data[part] for part in parts)), data)

    async def chain(self, task: Json) -> list[Json]:
        """The instances of the task's series, oldest first."""
        return await self.rows(
            "SELECT * FROM tasks WHERE series_id = :series ORDER BY number", series=UUID(task["series_id"])
        )
