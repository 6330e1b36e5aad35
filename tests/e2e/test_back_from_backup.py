"""Backed up, wiped, back at a moment between two changes: what was is there to the byte, what came after is nowhere.

Once with a Redis that was lost as well, once with one that knows a future which never happened.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import asyncpg  # type: ignore[import-untyped, unused-ignore]
import httpx
import pytest
from redis.asyncio import Redis
from tests.e2e.backups import BackedUp
from tests.e2e.conftest import Json, Person, registered
from tests.e2e.eventually import eventually

from service_kit.clock import CLOCK_OFFSET_KEY
from stack import Instance

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def backed_up() -> Iterator[tuple[Instance, BackedUp]]:
    """An instance of its own: its clock, its PostgreSQL and its Redis are taken away from everybody."""
    instance = Instance("e2e-restore")
    instance.up(services=[], test_clock=True, fresh=True)
    try:
        backups = BackedUp(instance)
        instance.up(test_clock=True)
        yield instance, backups
    finally:
        instance.down(wipe=True)


class Rehearsal:
    """A person, what they said, and the clock."""

    def __init__(self, instance: Instance, person: Person, redis: Redis, database: str) -> None:
        self.instance, self.person, self.redis, self._database = instance, person, redis, database

    async def set_clock(self, ahead: timedelta) -> None:
        """Move everybody's clock, and have everything looked at that is due by then."""
        await self.redis.set(CLOCK_OFFSET_KEY, ahead // timedelta(milliseconds=1))
        for service, cron in (("reminders", "reminder-cron"), ("recurrence", "recurrence-cron")):
            answer = await self.person.client.post(
                f"{self.instance.app_url(service)}/{cron}",
                headers={"Authorization": "", "dapr-api-token": self.instance.app_api_token},
            )
            assert answer.status_code == 200

    async def write(self, method: str, path: str, body: Json | None = None) -> str:
        """One write that can be taken back; the token for that."""
        answer = await self.person.client.request(method, path, json=body)
        assert answer.is_success, answer.text
        return str(answer.headers["x-undo-token"])

    async def task(self, title: str, fires_in: timedelta, **fields: object) -> Json:
        at = (datetime.now(UTC) + fires_in).isoformat()
        return await self.person.call(
            "POST", "/api/v1/tasks", {"title": title, "reminders": [{"at": at}], **fields}
        )

    async def kinds(self, task: Json) -> list[str]:
        return [entry["kind"] for entry in await self.person.activity(task["id"])]

    async def instances(self, task: Json) -> list[Json]:
        found = await self.person.call("GET", f"/api/v1/tasks?series_id={task['series_id']}&limit=200")
        return sorted(found["items"], key=lambda one: str(one["occurrence_key"]))

    async def export(self) -> bytes:
        answer = await self.person.client.get("/api/v1/users/me/export")
        assert answer.is_success, answer.text
        return answer.content

    async def moment(self) -> str:
        connection = await asyncpg.connect(self._database)
        try:
            return str(await connection.fetchval("SELECT clock_timestamp()::text"))
        finally:
            await connection.close()

    async def settle(self) -> None:
        """Until everything that was said is published and everything that was reported is written."""

        async def seen() -> tuple[int, int]:
            connection = await asyncpg.connect(self._database)
            try:
                return (
                    await connection.fetchval("SELECT count(*) FROM outbox"),
                    await connection.fetchval("SELECT count(*) FROM task_activity"),
                )
            finally:
                await connection.close()

        before = (-1, -1)
        while before != (now := await seen()) or now[0]:
            before = now
            await asyncio.sleep(2)

    async def upcoming(self) -> set[str]:
        answer = await self.person.client.get(
            f"{self.instance.app_url('reminders')}/api/v1/reminders/upcoming"
        )
        assert answer.is_success, answer.text
        return {item["task_id"] for item in answer.json()["items"]}

    async def inbox_of(self, task: Json) -> list[Json]:
        return [entry for entry in await self.person.inbox() if entry["task_id"] == task["id"]]

    async def until_heard(self, task: Json, title: str) -> None:
        await eventually(lambda: self.inbox_of(task), what=f"the inbox entry: {title}")
        await eventually(lambda: self.mails_of(title), what=f"the mail: {title}")

    async def until_planned(self, task: Json) -> None:
        await eventually(lambda: self.kinds(task), lambda seen: "reminder_scheduled" in seen, what="the plan")

    async def until_instances(self, task: Json, number: int) -> None:
        await eventually(
            lambda: self.instances(task), lambda seen: len(seen) == number, what=f"{number} instances"
        )

    async def mails_of(self, title: str) -> int:
        mails = await asyncio.to_thread(self.instance.mail, self.person.email)
        return len([mail for mail in mails if title in mail.subject])


@pytest.fixture
async def rehearsal(backed_up: tuple[Instance, BackedUp]) -> AsyncIterator[Rehearsal]:
    instance, _ = backed_up
    async with (
        httpx.AsyncClient(base_url=instance.app_url("task-api"), timeout=10) as client,
        Redis.from_url(instance.redis_url, decode_responses=True) as redis,
    ):
        await redis.delete(CLOCK_OFFSET_KEY)
        yield Rehearsal(instance, await registered(instance, client), redis, instance.database_url)


@pytest.mark.parametrize("redis_is", ["wiped", "kept"])
async def test_back_at_a_moment_between_two_changes(
    backed_up: tuple[Instance, BackedUp], rehearsal: Rehearsal, redis_is: str
) -> None:
    instance, backups = backed_up
    person = rehearsal.person

    # What was said: preferences, a history with something taken back, a series with closed occurrences, reminders.
    preferences = await person.call("GET", "/api/v1/users/me/notification-preferences")
    preferences["channels"]["webhooks"] = [
        {
            "name": "hook",
            "url": "https://127.0.0.1:9/hook",
            "secret": "whsec_" + "c2VjcmV0" * 5,
            "enabled": False,
        }
    ]
    await person.call("PUT", "/api/v1/users/me/notification-preferences", preferences)
    heard = await rehearsal.task("Feed the cat", timedelta(seconds=1), tags=["home"])
    await rehearsal.until_heard(heard, "Feed the cat")
    edited = await rehearsal.task("Write to Ada", timedelta(days=30), tags=["letters", "home"])
    await person.call(
        "PATCH", f"/api/v1/tasks/{edited['id']}", {"priority": "high", "description": "At length."}
    )
    token = await rehearsal.write("POST", f"/api/v1/tasks/{edited['id']}/complete", {})
    await person.call("POST", f"/api/v1/undo/{token}")
    first = await person.call(
        "POST",
        "/api/v1/tasks",
        {
            "title": "Water the plants",
            "due_at": (datetime.now(UTC) + timedelta(days=2)).isoformat(),
            "reminders": [{"offset": "PT30M"}],
            "recurrence": {"rrule": "FREQ=WEEKLY"},
        },
    )
    for count in (2, 3):
        newest = (await rehearsal.instances(first))[-1]
        await person.call("POST", f"/api/v1/tasks/{newest['id']}/complete", {})
        await rehearsal.until_instances(first, count)
    await asyncio.to_thread(backups.copy)

    # After the copy: only the log has it.
    soon = await rehearsal.task("Take the medicine", timedelta(minutes=10), due_at=_in(timedelta(minutes=40)))
    snoozed = await rehearsal.task("Call the bank", timedelta(minutes=5))
    (reminder,) = snoozed["reminders"]
    await person.call(
        "POST", f"/api/v1/tasks/{snoozed['id']}/reminders/{reminder['id']}/snooze", {"minutes": 11}
    )
    for task in (soon, snoozed):
        await rehearsal.until_planned(task)
    await rehearsal.settle()
    before = await rehearsal.export()
    occurrences = await rehearsal.instances(first)
    inbox = _shown(await person.inbox())
    moment = await rehearsal.moment()

    # The future that shall not have been. Its mail went out, and no restore takes that back.
    lost = await rehearsal.task("Never happened", timedelta(seconds=1))
    await rehearsal.until_heard(lost, "Never happened")
    pending = await rehearsal.task("Never happens", timedelta(minutes=9))
    await person.call("POST", f"/api/v1/tasks/{heard['id']}/complete", {})
    await person.call("POST", f"/api/v1/tasks/{occurrences[-1]['id']}/complete", {})
    await rehearsal.until_instances(first, 4)
    await person.call("DELETE", f"/api/v1/tasks/{soon['id']}")
    await rehearsal.until_planned(pending)
    async with httpx.AsyncClient(base_url=instance.app_url("task-api"), timeout=10) as client:
        stranger = await registered(instance, client)
        await rehearsal.settle()

        # The runbook.
        await asyncio.to_thread(instance.stop, "task-api")
        await asyncio.to_thread(backups.wipe)
        if redis_is == "wiped":
            await rehearsal.redis.flushall()
        await asyncio.to_thread(backups.restore, moment)
        assert await asyncio.to_thread(backups.taskstream, "epoch", "show")
        said = await asyncio.to_thread(backups.taskstream, "epoch", "raise", "--yes", seconds=60)
        assert said.startswith("epoch ")
        await asyncio.to_thread(instance.restart, "task-api")
        assert "all is well" in await asyncio.to_thread(backups.taskstream, "doctor", seconds=180)
        # Their token is still good for a while, but nobody is behind it any more.
        for method, path, body in (
            ("GET", "/api/v1/users/me", None),
            ("POST", "/api/v1/tasks", {"title": "Who am I?"}),
        ):
            answer = await stranger.client.request(method, path, json=body)
            assert answer.status_code == 401, answer.text

    # As it was.
    await rehearsal.settle()
    _assert_the_same(before, await rehearsal.export())
    assert await rehearsal.instances(first) == occurrences
    assert _shown(await person.inbox()) == inbox
    for task in (lost, pending):
        assert (await person.client.get(f"/api/v1/tasks/{task['id']}")).status_code == 404
    assert await rehearsal.upcoming() == {soon["id"], snoozed["id"], edited["id"], occurrences[-1]["id"]}

    # It goes on from there: what was to come comes once, and the series has the one successor.
    await rehearsal.set_clock(timedelta(minutes=13))
    for task, title in ((soon, "Take the medicine"), (snoozed, "Call the bank")):
        await rehearsal.until_heard(task, title)
    await person.call("POST", f"/api/v1/tasks/{occurrences[-1]['id']}/complete", {})
    await rehearsal.until_instances(first, 4)
    await rehearsal.settle()
    for task, title in ((heard, "Feed the cat"), (soon, "Take the medicine"), (snoozed, "Call the bank")):
        assert (await rehearsal.kinds(task)).count("reminder_fired") == 1
        assert len(await rehearsal.inbox_of(task)) == 1
        assert await rehearsal.mails_of(title) == 1
    assert await rehearsal.inbox_of(pending) == []
    assert await rehearsal.mails_of("Never happens") == 0
    keys = [one["occurrence_key"] for one in await rehearsal.instances(first)]
    assert len(keys) == len(set(keys)) == 4


def _shown(inbox: list[Json]) -> list[Json]:
    """What must be as before: when it was made is taken from the outcome, which was noted some milliseconds later."""
    return [{name: value for name, value in entry.items() if name != "created_at"} for entry in inbox]


def _assert_the_same(before: bytes, after: bytes) -> None:
    """To the byte, but for what asking for it and building anew add, which is listed here."""
    was, now = json.loads(before), json.loads(after)
    asked = now["audit"].pop()
    assert asked["action"] == "export"
    # Of a reminder whose task was edited since, reminders says the same plan again when it builds its documents, under
    # the task's version of now: it cannot know that task-api was told of it by an earlier one.
    known = {_plan(line) for line in was["activity"] if line["kind"] == "reminder_scheduled"}
    repeated = [line for line in now["activity"] if line not in was["activity"]]
    assert {line["kind"] for line in repeated} <= {"reminder_scheduled"}
    assert {_plan(line) for line in repeated} <= known
    now["activity"] = [line for line in now["activity"] if line not in repeated]
    for section in was.keys() - {"made_at"}:
        assert now[section] == was[section], section
    for line in (asked, *repeated):
        written = b"," + json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode()
        assert written in after
        after = after.replace(written, b"")
    assert after.replace(now["made_at"].encode(), was["made_at"].encode()) == before


def _plan(line: Json) -> tuple[str, str]:
    return line["detail"]["reminder_id"], line["detail"]["fire_at"]


def _in(ahead: timedelta) -> str:
    return (datetime.now(UTC) + ahead).isoformat()
