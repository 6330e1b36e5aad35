"""The service itself on real Redis, Kafka and sidecars; task-api is a stand-in behind a sidecar of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from tests.unit.recurrence.conftest import NOW

from event_contracts.envelope import CloudEvent
from event_contracts.series import SeriesSnapshot
from event_contracts.tasks import TaskSnapshot
from stack import TASKSTREAM, Catalogue, Instance

NAME = "recurrence-test"
HERE = Path(__file__).parent
REPLICAS = 1
STAND_IN = Catalogue(
    services=tuple(
        replace(service, module="stand_in_task_api", migrate=False) if service.name == "task-api" else service
        for service in TASKSTREAM.services
    ),
    topics_command=TASKSTREAM.topics_command,
)


@pytest.fixture(scope="package")
def running() -> Iterator[Instance]:
    """The stack, up for all tests of this folder, and gone with its data afterwards."""
    instance = Instance(NAME, catalogue=STAND_IN)
    instance.up(
        services=["task-api", "recurrence"],
        replicas={"recurrence": REPLICAS},
        test_clock=True,
        env={"PYTHONPATH": str(HERE)},
        fresh=True,
    )
    try:
        yield instance
    finally:
        instance.down(wipe=True)


@dataclass
class Stage:
    """What a test does to the running stack, and what it sees."""

    instance: Instance
    client: httpx.AsyncClient

    async def knows(self, series: SeriesSnapshot) -> None:
        """Put a series into the stand-in."""
        answer = await self.client.put(
            f"{self.instance.app_url('task-api')}/stand-in/series", content=series.model_dump_json()
        )
        answer.raise_for_status()

    async def publish(self, event_type: str, data: TaskSnapshot | SeriesSnapshot, key: UUID) -> None:
        """Publish as task-api, through its sidecar."""
        topic = event_type.rsplit(".v", 1)[0].replace(".", "-")
        event = CloudEvent[Any](id=str(uuid4()), source="/task-api", type=event_type, time=NOW, data=data)
        answer = await self.client.post(
            f"{self.instance.dapr_url('task-api')}/v1.0/publish/pubsub/{topic}",
            params={"metadata.partitionKey": str(key)},
            content=event.encode(),
            headers={
                "content-type": "application/cloudevents+json",
                "dapr-api-token": self.instance.dapr_api_token,
            },
        )
        answer.raise_for_status()

    async def heard(self, series_id: UUID) -> list[dict[str, Any]]:
        """The proposals for one series that reached task-api, as events."""
        answer = await self.client.get(f"{self.instance.app_url('task-api')}/stand-in/heard")
        return [event for event in answer.json() if event["data"]["series_id"] == str(series_id)]

    async def tick(self, replica: int = 1) -> None:
        """What the sidecar does at each full hour."""
        answer = await self.client.post(
            f"{self.instance.app_url('recurrence', replica)}/recurrence-cron",
            headers={"dapr-api-token": self.instance.app_api_token},
        )
        assert answer.status_code == 200

    async def is_ready(self, replica: int = 1) -> bool:
        try:
            answer = await self.client.get(f"{self.instance.app_url('recurrence', replica)}/health/ready")
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    async def until(self, condition: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
        """Wait for a condition; fail after `seconds`."""
        deadline = monotonic() + seconds
        while not await condition():
            assert monotonic() < deadline, "it did not come about in time"
            await asyncio.sleep(0.05)

    async def until_heard(self, series_id: UUID, count: int = 1) -> list[dict[str, Any]]:
        """Wait for that many proposals of a series."""

        async def enough() -> bool:
            return len(await self.heard(series_id)) >= count

        await self.until(enough)
        return await self.heard(series_id)


@pytest_asyncio.fixture(loop_scope="session")
async def stage(running: Instance) -> AsyncIterator[Stage]:
    """The running stack, every replica ready."""
    async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
        made = Stage(running, client)
        for replica in range(1, REPLICAS + 1):
            await made.until(lambda replica=replica: made.is_ready(replica))  # type: ignore[misc]
        yield made
