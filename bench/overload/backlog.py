"""A consumer comes back to a backlog of events: how fast it works it off, and what that means for new reminders."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import perf_counter

import orjson
from aiokafka import AIOKafkaConsumer
from bench import requests
from bench.events import TOPIC, created
from bench.http_client import Connection, encode
from bench.metrics import scraped
from bench.place import Place, found
from bench.postgres import Store
from bench.requests import Person
from bench.task_api.measure import RequestsRefused
from bench.topics import watching

_SIDECAR = "reminders.dapr"
"""What is away while the events pile up: without it reminders hears of nothing."""
_HANDLERS = ("reminders", "reminders.dapr", "redis")
_IDLE = 5.0
_AHEAD = timedelta(seconds=10)
"""How long before they are due the new reminders are set."""
_PACE = 0.5
_RENEWED_AFTER = 300.0
"""Seconds. An access token holds for 15 minutes, and the backlog takes longer."""
_PEOPLE = 10
_AT_LONGEST = 3_600.0


@dataclass(frozen=True)
class Plan:
    """Events of the backlog, and seconds from the start of the services to the first of them.

    What was said in a schedule's first minute may be of a task that is no more, so reminders asks for it
    (reminders.application.apply_snapshot). That is over in nearly all backlogs that there are.
    """

    events: int
    settled: float


FULL = Plan(events=100_000, settled=70)
QUICK = Plan(events=300, settled=0)


@dataclass
class Backlog:
    """Seconds, events a second, and milliseconds of processor time an event of all who handle it.

    `late` says of each new reminder how long after its time it was published.
    """

    published_per_second: float
    drain_seconds: float
    per_second: float
    cpu_ms: float
    late: list[float]


async def backlog(place: Place, plan: Plan) -> Backlog:
    """Let events of tasks pile up while reminders is away, start it again, and set reminders all the while.

    Raises TimeoutError when the backlog does not end, or a new reminder never fires.
    """
    await asyncio.sleep(plan.settled)
    handled, idle = await _handled(place), await place.idle_cores(_IDLE)
    place.instance.stop(_SIDECAR)
    async with (
        Store.of(place.instance.database_url) as store,
        watching(place.instance.kafka_bootstrap, "reminder-due") as due,
        asyncio.timeout(_AT_LONGEST),
    ):
        connection = await Connection.to(place["task-api"].port)
        people = await requests.register(connection, _PEOPLE)
        owners = [person.user_id for person in people]
        await store.fill(owners, 1, plan.events)
        tasks = await store.tasks(owners)
        began = perf_counter()
        await store.enqueue(created(tasks))
        await store.until_published()
        rate = plan.events / (perf_counter() - began)
        await asyncio.to_thread(place.instance.restart, _SIDECAR)
        place.served.update(found(place.instance))
        began, used = perf_counter(), place.cpu_seconds(*_HANDLERS)
        fire_at: dict[str, datetime] = {}
        setting = asyncio.create_task(_set_reminders(connection, people[0], fire_at))
        # It happens in another process: no event of ours tells of it.
        while not setting.done() and await _handled(place) - handled < plan.events:  # noqa: ASYNC110
            await asyncio.sleep(1)  # what it says of itself costs it some of its time
        took, used = perf_counter() - began, place.cpu_seconds(*_HANDLERS) - used
        used = max(0.0, used - took * sum(idle[name] for name in _HANDLERS))
        setting.cancel()
        await asyncio.wait([setting])
        if not setting.cancelled():
            setting.result()
        late = await _lateness(due, fire_at)
        connection.close()
    return Backlog(rate, took, plan.events / took, used * 1000 / plan.events, late)


async def _set_reminders(connection: Connection, person: Person, fire_at: dict[str, datetime]) -> None:
    """Until it is cancelled. Raises RequestsRefused."""
    renewed = perf_counter()
    while True:
        if perf_counter() - renewed > _RENEWED_AFTER:
            await requests.log_in(connection, [person])
            renewed = perf_counter()
        at = datetime.now(UTC) + _AHEAD
        body = {
            "title": "Take the bread out",
            "due_at": (at + timedelta(minutes=1)).isoformat(),
            "reminders": [{"at": at.isoformat()}],
        }
        answer = await connection.ask(encode("POST", "/api/v1/tasks", person.token, body))
        if answer.status != 201:
            raise RequestsRefused(f"a new task, beside the backlog: {answer.status}")
        fire_at[orjson.loads(answer.body)["id"]] = at
        await asyncio.sleep(_PACE)


async def _handled(place: Place) -> float:
    said = await scraped(place["reminders"].port)
    return said.total("events_handled_total", topic=TOPIC)


async def _lateness(due: AIOKafkaConsumer, fire_at: dict[str, datetime]) -> list[float]:
    late, waiting = [], dict(fire_at)
    while waiting:
        record = await due.getone()
        task = orjson.loads(record.value)["data"]["task_id"]
        if (at := waiting.pop(task, None)) is not None:
            late.append(record.timestamp / 1000 - at.timestamp())
    return late
