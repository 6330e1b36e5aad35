"""A pod is told to go while requests and events are under way: every request is answered, no event is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg  # type: ignore[import-untyped, unused-ignore]
import httpx
from tests.e2e.conftest import Person
from tests.e2e.eventually import eventually
from tests.e2e.pod import Farewell, Pod

from event_contracts.topics import REMINDERS, TASK_API
from stack import Instance
from taskstream_cli.dlq import waiting_letters

CLIENTS = 4
PAUSE = 0.05
SLOWEST_PROXY = 5.0
"""Seconds after which no proxy leads to a deleted pod any more. They are told when the kubelet is, and differ."""
_UNHEARD = """
    SELECT count(*) FROM tasks WHERE user_id = $1 AND NOT EXISTS (
        SELECT FROM task_activity WHERE task_id = tasks.id AND kind = 'reminder_scheduled'
    )
"""


class Traffic:
    """People who make tasks, each with a reminder, at one replica until its endpoint is gone."""

    def __init__(self, person: Person, url: str) -> None:
        self.answers: list[int | str] = []
        self._person, self._url = person, url
        self._open = True

    def pod_is_deleted(self) -> None:
        """Requests still come for as long as the slowest proxy may not know that the endpoint is gone; those that are
        under way then are awaited. An app that is told before that loses some."""
        asyncio.get_running_loop().call_later(SLOWEST_PROXY, self._close)

    def _close(self) -> None:
        self._open = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(self._ask())
            try:
                yield
            except BaseException:
                self._close()
                raise

    async def _ask(self) -> None:
        due = datetime.now(UTC) + timedelta(days=2)
        at = (due - timedelta(hours=1)).isoformat()
        task = {"title": "Wind the clock", "due_at": due.isoformat(), "reminders": [{"at": at}]}
        headers = {"Authorization": self._person.client.headers["Authorization"]}
        async with httpx.AsyncClient(base_url=self._url, headers=headers, timeout=30) as client:
            while self._open:
                try:
                    self.answers.append((await client.post("/api/v1/tasks", json=task)).status_code)
                except httpx.TransportError as error:
                    self.answers.append(type(error).__name__)
                await asyncio.sleep(PAUSE)


async def _handled(pod: Pod) -> bool:
    """Whether this replica has had an event: it then has partitions."""
    async with httpx.AsyncClient() as client:
        metrics = (await client.get(f"{pod.url}/metrics")).text
    return 'events_handled_total{outcome="SUCCESS",topic="task-created"}' in metrics


async def test_a_rollout_loses_neither_requests_nor_events(
    system: Instance, person: Person, tmp_path: Path
) -> None:
    """Both ends of the stream go at once: task-api, which publishes, and reminders, which is sent the events."""
    before = {letter.name for letter in await waiting_letters(system.kafka_bootstrap)}
    going = [Pod(system, name, tmp_path, Farewell.of(name)) for name in (TASK_API, REMINDERS)]
    api, consumer = going
    try:
        await asyncio.gather(*(pod.start() for pod in going))
        traffic = Traffic(person, api.url)
        async with traffic.running():
            await eventually(lambda: _handled(consumer), what="an event at the pod that goes")
            traffic.pod_is_deleted()
            await asyncio.gather(api.end(), consumer.end())
    finally:
        for pod in going:
            pod.kill()
    assert set(traffic.answers) == {201}
    database = await asyncpg.connect(system.database_url)
    try:
        made = await database.fetchval("SELECT count(*) FROM tasks WHERE user_id = $1", UUID(person.user_id))
        assert made == len(traffic.answers)

        async def unheard() -> int:
            return int(await database.fetchval(_UNHEARD, UUID(person.user_id)))

        await eventually(unheard, lambda count: count == 0, what="a scheduled reminder for every task")
    finally:
        await database.close()
    after = {letter.name for letter in await waiting_letters(system.kafka_bootstrap)}
    assert after - before == set()
