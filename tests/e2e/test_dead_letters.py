"""An event that a consumer cannot handle: it is put aside, holds nobody up, and comes back when an operator says so."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg  # type: ignore[import-untyped, unused-ignore]
import httpx
import yaml
from aiokafka import AIOKafkaProducer
from tests.e2e.conftest import Json, Person
from tests.e2e.eventually import eventually

from event_contracts.reminders import ReminderDue
from event_contracts.topics import TOPICS
from stack import Instance
from taskstream_cli.dlq import waiting_letters
from taskstream_cli.replay import replay

_POLICY = Path(__file__).parents[2] / "components/resiliency.yaml"


def _taskstream(system: Instance, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "taskstream_cli", *words]
    return subprocess.run(
        command, env=os.environ | system.env(), capture_output=True, text=True, check=False, timeout=60
    )


async def _letters_of(system: Instance, subject: str) -> list[str]:
    """The names of the dead letters that speak of `subject`, as `list` prints them."""
    done = await asyncio.to_thread(_taskstream, system, "dlq", "list", "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [line["name"] for line in lines if line["key"] == subject]


@asynccontextmanager
async def _broken_activity(system: Instance, task_id: str) -> AsyncIterator[None]:
    """task-api cannot note that a reminder of this task fired, as after a migration that went wrong."""
    connection = await asyncpg.connect(system.database_url)
    try:
        await connection.execute(
            "ALTER TABLE task_activity ADD CONSTRAINT ck_broken "
            f"CHECK (kind <> 'reminder_fired' OR task_id <> '{UUID(task_id)}') NOT VALID"
        )
        yield
    finally:
        await connection.execute("ALTER TABLE task_activity DROP CONSTRAINT ck_broken")
        await connection.close()


async def _fired(person: Person, task: Json) -> int:
    return len([entry for entry in await person.activity(task["id"]) if entry["kind"] == "reminder_fired"])


async def test_a_dead_letter_comes_back_to_its_consumer_alone_and_takes_effect_once(
    system: Instance, person: Person
) -> None:
    body: Json = {
        "title": "Water the plants",
        "reminders": [{"at": (datetime.now(UTC) + timedelta(seconds=4)).isoformat()}],
    }
    task = await person.call("POST", "/api/v1/tasks", body)
    async with _broken_activity(system, task["id"]):
        (name,) = await eventually(lambda: _letters_of(system, task["id"]), what="the dead letter")
        assert name.startswith("task-api/")
        await eventually(person.inbox, what="the inbox entry of notifier, which had the event")
        shown = await asyncio.to_thread(_taskstream, system, "dlq", "show", name)
        assert "parses: task-api failed at every try" in shown.stdout
        assert "reminder-due" in shown.stdout

        again = await asyncio.to_thread(_taskstream, system, "dlq", "replay", name)
        assert again.returncode == 1
        assert "the handler failed again" in again.stdout
        assert await _letters_of(system, task["id"]) == [name], "what was not taken waits on"
    assert await _fired(person, task) == 0

    # An operator whose command dies between the delivery and the note.
    (letter,) = [one for one in await waiting_letters(system.kafka_bootstrap) if one.name == name]
    async with httpx.AsyncClient(base_url=system.app_url("task-api")) as client:
        await replay(client, letter, system.app_api_token)
    taken = await asyncio.to_thread(_taskstream, system, "dlq", "replay", name)
    assert taken.returncode == 0, taken.stdout + taken.stderr
    assert await _fired(person, task) == 1
    assert await _letters_of(system, task["id"]) == []
    repeated = await asyncio.to_thread(_taskstream, system, "dlq", "replay", name)
    assert repeated.returncode == 1
    assert f"{name} was replayed at" in repeated.stderr
    await asyncio.sleep(1)
    assert len(await person.inbox()) == 1, "notifier had no part in the replay"
    assert person.mails() == 1


async def test_what_was_discarded_is_not_listed_again(system: Instance, person: Person) -> None:
    key = f"discard-{uuid4()}"
    async with _producer(system) as producer:
        await producer.send_and_wait("reminder-due", b"not json", key=key.encode())
    names = await eventually(
        lambda: _letters_of(system, key), lambda seen: len(seen) == 2, what="a letter of each consumer"
    )
    assert {name.partition("/")[0] for name in names} == {"task-api", "notifier"}
    without_reason = await asyncio.to_thread(_taskstream, system, "dlq", "discard", *names, "--reason", " ")
    assert without_reason.returncode == 1
    done = await asyncio.to_thread(_taskstream, system, "dlq", "discard", *names, "--reason", "sent by hand")
    assert done.returncode == 0, done.stderr
    assert await _letters_of(system, key) == []
    shown = await asyncio.to_thread(_taskstream, system, "dlq", "show", names[0])
    assert "sent by hand" in shown.stdout


async def test_poison_holds_its_partition_no_longer_than_the_policy_says(
    system: Instance, person: Person
) -> None:
    bad, good = [await person.call("POST", "/api/v1/tasks", {"title": title}) for title in ("Bad", "Good")]
    policy = yaml.safe_load(_POLICY.read_text())["spec"]["policies"]["retries"]["delivery"]
    longest = int(policy["duration"].removesuffix("s")) * policy["maxRetries"]
    async with _broken_activity(system, bad["id"]), _producer(system) as producer:
        began = time.monotonic()
        for value in (b"not json", _reminder_due(person, bad), _reminder_due(person, good)):
            await producer.send_and_wait("reminder-due", value, key=bad["id"].encode(), partition=0)
        await eventually(
            lambda: _fired(person, good), lambda count: count == 1, seconds=longest + 5, what="the good event"
        )
        held = time.monotonic() - began
    assert longest - 1 < held < longest + 3, (
        "the tries of one event, and nothing for the one that does not parse"
    )
    names = await eventually(
        lambda: _letters_of(system, bad["id"]), lambda seen: len(seen) == 3, what="both letters of task-api"
    )
    await asyncio.to_thread(_taskstream, system, "dlq", "discard", *names, "--reason", "poison of a test")


def _reminder_due(person: Person, task: Json) -> bytes:
    now = datetime.now(UTC)
    topic = TOPICS["reminder-due"]
    data = ReminderDue(
        reminder_id=uuid4(), task_id=UUID(task["id"]), user_id=UUID(person.user_id), fire_at=now, fired_at=now
    )
    event = topic.event_model(
        id=str(uuid4()), source="/reminders", type=topic.event_type, subject=task["id"], time=now, data=data
    )
    return event.encode()


@asynccontextmanager
async def _producer(system: Instance) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=system.kafka_bootstrap)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()
