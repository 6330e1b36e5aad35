"""`stack demo`: play the main flow against a running instance and print each step with its measured time.

Everything is seen from outside: the API over HTTP, the events on Kafka, the mail in the sink.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from aiokafka import AIOKafkaConsumer

from stack.errors import StackError
from stack.instance import Instance

PATIENCE_SECONDS = 20.0
ZONE = "Europe/Berlin"
TOPICS = (
    "task-created",
    "reminder-scheduled",
    "reminder-due",
    "recurring-task-generated",
    "notification-delivered",
)

Event = dict[str, Any]


class Witness:
    """Sees every event on the bus from the moment it starts, with the time at which it saw it."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._seen: list[tuple[str, Event, float]] = []
        self._changed = asyncio.Condition()

    @classmethod
    @asynccontextmanager
    async def watching(cls, bootstrap: str) -> AsyncIterator[Witness]:
        """A witness at the end of every topic, reading until the block is left."""
        consumer = AIOKafkaConsumer(
            *TOPICS,
            bootstrap_servers=bootstrap,
            group_id=None,
            auto_offset_reset="latest",
            fetch_max_wait_ms=50,
        )
        await consumer.start()
        try:
            await consumer.seek_to_end()
            # The position is looked up lazily; asked for now, nothing published from here on is missed.
            for partition in consumer.assignment():
                await consumer.position(partition)
            witness = cls(consumer)
            reader = asyncio.create_task(witness._read())
            try:
                yield witness
            finally:
                reader.cancel()
        finally:
            await consumer.stop()

    async def _read(self) -> None:
        async for record in self._consumer:
            async with self._changed:
                self._seen.append((record.topic, json.loads(record.value), time.time()))
                self._changed.notify_all()

    async def event(self, topic: str, fits: Callable[[Event], bool]) -> tuple[Event, float]:
        """The first event on `topic` whose data fits, and the POSIX time at which it was seen; waits for it."""

        def found() -> tuple[Event, float] | None:
            return next(
                ((event, at) for name, event, at in self._seen if name == topic and fits(event["data"])), None
            )

        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._changed:
                await self._changed.wait_for(lambda: found() is not None)
        except TimeoutError:
            raise StackError(
                f"No {topic} event within {PATIENCE_SECONDS:.0f} s: look at `stack status` and `stack logs`."
            ) from None
        match = found()
        assert match is not None  # noqa: S101 - wait_for returned because it is there
        return match


def _say(step: str, measured: str, detail: str = "") -> None:
    sys.stdout.write(f"  {step:<28} {measured:>22}   {detail}\n")
    sys.stdout.flush()


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _posix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def _call(
    client: httpx.AsyncClient, method: str, path: str, body: Event | None = None
) -> tuple[Event, float]:
    """One call: its JSON answer and the seconds it took. Raises StackError with the problem's text otherwise."""
    started = time.perf_counter()
    answer = await client.request(method, path, json=body)
    took = time.perf_counter() - started
    if answer.is_error:
        raise StackError(f"{method} {path} answered {answer.status_code}: {answer.text}")
    loaded: Event = answer.json()
    return loaded, took


async def play(instance: Instance) -> None:
    """Play the flow; raises StackError at the first step that does not come to pass."""
    api = instance.app_url("task-api")
    address = f"demo-{secrets.token_hex(4)}@example.com"
    sys.stdout.write(f"\nTaskstream, the main flow on {api}\n\n")
    async with (
        httpx.AsyncClient(base_url=api, timeout=10) as client,
        Witness.watching(instance.kafka_bootstrap) as bus,
    ):
        session, took = await _call(
            client,
            "POST",
            "/api/v1/auth/register",
            {"email": address, "password": secrets.token_urlsafe(16), "first_name": "Ada", "timezone": ZONE},
        )
        _say("registered", _ms(took), address)
        client.headers["Authorization"] = f"Bearer {session['access_token']}"
        task = await _create(client, bus)
        await _remind(instance, bus, task, address)
        await _recur(client, bus, task)
        await _explain(client, task)


async def _create(client: httpx.AsyncClient, bus: Witness) -> Event:
    now = datetime.now(UTC)
    local = (now.astimezone(ZoneInfo(ZONE)) + timedelta(days=1)).replace(
        hour=9, minute=0, second=0, microsecond=0
    )
    fire_at = now + timedelta(seconds=3)
    task, took = await _call(
        client,
        "POST",
        "/api/v1/tasks",
        {
            "title": "Water the plants",
            "due_at": local.isoformat(),
            "timezone": ZONE,
            "reminders": [{"at": fire_at.isoformat()}],
            "recurrence": {"rrule": "FREQ=WEEKLY"},
        },
    )
    committed = time.time()
    _say(
        "task created (committed)",
        _ms(took),
        f"#{task['number']} {task['title']!r}, due {local:%a %d %b %H:%M}, weekly",
    )
    _, seen = await bus.event("task-created", lambda data: bool(data["task_id"] == task["id"]))
    _say("event on Kafka", f"{_ms(max(0.0, seen - committed))} after commit", "task-created")
    scheduled, _ = await bus.event("reminder-scheduled", lambda data: bool(data["task_id"] == task["id"]))
    handled = max(0.0, _posix(scheduled["time"]) - committed)
    _say(
        "reminder scheduled",
        f"{_ms(handled)} after commit",
        f"for {fire_at.astimezone(ZoneInfo(ZONE)):%H:%M:%S}",
    )
    return task


async def _remind(instance: Instance, bus: Witness, task: Event, address: str) -> None:
    due, _ = await bus.event("reminder-due", lambda data: bool(data["task_id"] == task["id"]))
    late = _posix(due["data"]["fired_at"]) - _posix(due["data"]["fire_at"])
    _say("reminder fired", f"{_ms(late)} late", "asked for 3 s after creation")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (mails := instance.mail(to=address)):
        if time.monotonic() > deadline:
            raise StackError(
                f"No mail to {address} within {PATIENCE_SECONDS:.0f} s: look at `stack logs notifier`."
            )
        await asyncio.sleep(0.01)
    sent, _ = await bus.event(
        "notification-delivered",
        lambda data: bool(data["task_id"] == task["id"] and data["channel"] == "email"),
    )
    _say("mail received", f"{_ms(sent['data']['latency_ms'] / 1000)} after due", f"{mails[0].subject!r}")


async def _recur(client: httpx.AsyncClient, bus: Witness, task: Event) -> None:
    _, took = await _call(client, "POST", f"/api/v1/tasks/{task['id']}/complete", {})
    completed = time.time()
    _say("completed", _ms(took))
    generated, _ = await bus.event(
        "recurring-task-generated", lambda data: bool(data["predecessor_task_id"] == task["id"])
    )
    successor, seen = await bus.event(
        "task-created", lambda data: bool(data["predecessor_task_id"] == task["id"])
    )
    due = datetime.fromisoformat(successor["data"]["due_at"]).astimezone(ZoneInfo(ZONE))
    _say(
        "next occurrence created",
        f"{_ms(seen - completed)} after",
        f"#{successor['data']['number']}, due {due:%a %d %b %H:%M}",
    )
    _say("", "why that date", generated["data"]["sentence"] or "")
    listed, _ = await _call(client, "GET", "/api/v1/tasks?status=pending")
    numbers = ", ".join(f"#{item['number']} {item['title']!r}" for item in listed["items"])
    _say("open tasks", f"{len(listed['items'])} listed", numbers)


async def _explain(client: httpx.AsyncClient, task: Event) -> None:
    activity, _ = await _call(client, "GET", f"/api/v1/tasks/{task['id']}/activity")
    sys.stdout.write(f"\n  The task's own account (GET /api/v1/tasks/{task['id']}/activity):\n")
    for entry in activity["items"]:
        moment = datetime.fromisoformat(entry["at"]).astimezone(ZoneInfo(ZONE))
        sys.stdout.write(f"    {moment:%H:%M:%S.%f}  {entry['kind']:<24} {entry.get('sentence') or ''}\n")
    sys.stdout.write("\n")
