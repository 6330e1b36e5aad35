"""Weeks of a recurring task, told by a clock that the test moves: over the change to summer time, week by week, and
after the system was down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest
from redis.asyncio import Redis
from tests.e2e.conftest import Json, Person, registered
from tests.e2e.eventually import eventually

from recurrence.adapters.redis_checks import AWAITED_INDEX_NAME
from service_kit.clock import CLOCK_OFFSET_KEY
from stack import Instance

BERLIN = ZoneInfo("Europe/Berlin")
WEEK = timedelta(weeks=1)
STORY = [
    "created",
    "reminder_scheduled",
    "reminder_fired",
    "notification_delivered",
    "notification_delivered",
]
CLOSED = ["completed", "occurrence_generated"]


@dataclass(frozen=True)
class Story:
    """A system whose clock stands where the test puts it, and a person in it."""

    system: Instance
    person: Person
    redis: Redis

    async def at(self, moment: datetime) -> None:
        """Go there; the sweep that is due by then is asked for, as the sidecar would have."""
        offset = moment - datetime.now(UTC)
        await self.redis.set(CLOCK_OFFSET_KEY, offset // timedelta(milliseconds=1))
        for service, cron in (("reminders", "reminder-cron"), ("recurrence", "recurrence-cron")):
            answer = await self.person.client.post(
                f"{self.system.app_url(service)}/{cron}",
                headers={"Authorization": "", "dapr-api-token": self.system.app_api_token},
            )
            assert answer.status_code == 200

    async def begin(self, due: datetime, **fields: object) -> Json:
        asked = {
            "title": "Water the plants",
            "due_at": due.isoformat(),
            "timezone": "Europe/Berlin",
            **fields,
        }
        return await self.person.call("POST", "/api/v1/tasks", asked)

    async def instances(self, task: Json) -> list[Json]:
        """All instances of the task's series, by their dates."""
        found = await self.person.call("GET", f"/api/v1/tasks?series_id={task['series_id']}&limit=200")
        return sorted(found["items"], key=lambda one: str(one["occurrence_key"]))

    async def until_told(self, task: Json, kinds: list[str]) -> list[Json]:
        """The ledger of a task, without tries that were repeated, once it has as many lines as these kinds."""

        async def told() -> list[Json]:
            lines = await self.person.activity(task["id"])
            return [line for line in lines if line["kind"] != "notification_to_be_repeated"]

        lines = await eventually(told, lambda seen: len(seen) >= len(kinds), what=f"{kinds}")
        assert [line["kind"] for line in lines] == kinds
        assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
        assert all(line["sentence"] for line in lines)
        return lines

    async def awaits(self, task: Json) -> bool:
        """Whether recurrence looks after what follows a task by its date."""
        named = task["id"].replace("-", "")
        async for key in self.redis.scan_iter(f"*{AWAITED_INDEX_NAME}*"):
            if any(named in member for member in await self.redis.zrange(key, 0, -1)):
                return True
        return False

    async def until_there(self, task: Json, count: int) -> list[Json]:
        return await eventually(
            lambda: self.instances(task), lambda seen: len(seen) >= count, what=f"{count} instances"
        )


@pytest.fixture(scope="module")
def moved() -> Iterator[Instance]:
    """An instance of its own, for its clock is everybody's."""
    instance = Instance("e2e-clock")
    instance.up(test_clock=True, fresh=True)
    try:
        yield instance
    finally:
        instance.down(wipe=True)


@pytest.fixture
async def story(moved: Instance) -> AsyncIterator[Story]:
    async with (
        httpx.AsyncClient(base_url=moved.app_url("task-api"), timeout=10) as client,
        Redis.from_url(moved.redis_url, decode_responses=True) as redis,
    ):
        yield Story(moved, await registered(moved, client), redis)


def _monday_before_summer_time() -> datetime:
    """Nine in Berlin on the Monday before the clocks change, which they do on March's last Sunday."""
    last = datetime(datetime.now(UTC).year + 1, 3, 31, 9, tzinfo=BERLIN)
    sunday = last - timedelta(days=(last.weekday() + 1) % 7)
    return sunday - timedelta(days=6)


async def test_a_weekly_task_over_the_change_to_summer_time(story: Story) -> None:
    monday = _monday_before_summer_time()
    dates = [monday + number * WEEK for number in range(3)]  # wall-clock weeks: the zone is Berlin's
    assert dates[1].utcoffset() != dates[0].utcoffset()
    await story.at(monday - timedelta(days=3))
    task = await story.begin(monday, reminders=[{"offset": "PT30M"}], recurrence={"rrule": "FREQ=WEEKLY"})
    first = task
    for number, due in enumerate(dates[:2], start=1):
        assert datetime.fromisoformat(task["due_at"]) == due.astimezone(UTC)
        begun = ["created", "reminder_scheduled"]
        await story.until_told(task, begun)
        await story.at(due - timedelta(minutes=30))
        lines = await story.until_told(task, STORY)
        assert lines[2]["detail"]["late_ms"] < 5_000
        assert {line["detail"]["channel"] for line in lines[3:]} == {"inbox", "email"}
        await story.at(due - timedelta(minutes=15))
        for _ in range(2):
            await story.person.call("POST", f"/api/v1/tasks/{task['id']}/complete", {})
        lines = await story.until_told(task, STORY + CLOSED)
        after = dates[number]
        assert f"{after:%A} {after.day} {after:%B %Y} at 09:00 (Europe/Berlin)" in lines[-1]["sentence"]
        *_, task = await story.until_there(first, number + 1)
    await story.until_told(task, ["created", "reminder_scheduled"])
    for hour in (1, 2):  # the sweeps look whether a successor is missing
        await story.at(dates[1] + timedelta(hours=hour))
    found = await story.instances(first)
    assert [datetime.fromisoformat(one["due_at"]).astimezone(BERLIN).hour for one in found] == [9, 9, 9]
    assert [one["status"] for one in found] == ["completed", "completed", "pending"]
    assert len(await story.person.inbox()) == 2
    assert await asyncio.to_thread(story.person.mails) == 2
    for one in found[:2]:
        await story.until_told(one, STORY + CLOSED)


async def test_weeks_that_nobody_completes_pile_up_and_each_is_reminded_of(story: Story) -> None:
    monday = _monday_before_summer_time()
    await story.at(monday - timedelta(days=3))
    first = await story.begin(
        monday,
        reminders=[{"offset": "PT30M"}],
        recurrence={"rrule": "FREQ=WEEKLY", "pile_up": "allow"},
    )
    for number in range(2):
        due = monday + number * WEEK
        *_, newest = await story.until_there(first, number + 1)
        await story.until_told(newest, ["created", "reminder_scheduled"])
        await story.at(due - timedelta(minutes=30))
        await story.until_told(newest, STORY)
        await story.at(due + WEEK - timedelta(minutes=150))  # ahead of the next one's reminder
        lines = await story.until_told(newest, [*STORY, "occurrence_generated"])
        assert lines[-1]["detail"]["why"] == "schedule"
        assert "It comes by its date and waits for no other." in lines[-1]["sentence"]
    found = await story.instances(first)
    assert [one["status"] for one in found] == ["pending"] * 3
    assert [datetime.fromisoformat(one["due_at"]).astimezone(BERLIN).hour for one in found] == [9, 9, 9]
    assert len(await story.person.inbox()) == 2


async def test_two_months_of_downtime_are_made_up_for_fifty_a_sweep(story: Story) -> None:
    monday = _monday_before_summer_time()
    await story.at(monday - timedelta(days=3))
    first = await story.begin(
        monday, recurrence={"rrule": "FREQ=DAILY", "pile_up": "allow", "overdue": "catch_up"}
    )
    await story.until_told(first, ["created"])
    await asyncio.to_thread(story.system.kill, "recurrence")
    back = monday + timedelta(days=60)
    await story.redis.set(CLOCK_OFFSET_KEY, (back - datetime.now(UTC)) // timedelta(milliseconds=1))
    await asyncio.to_thread(story.system.restart, "recurrence")
    *made, newest = await story.until_there(first, 51)
    assert len(made) == 50
    await eventually(lambda: story.awaits(newest), what="the newest one being heard of")
    await story.at(back + timedelta(minutes=1))
    assert len(await story.instances(first)) == 51
    await story.at(back + timedelta(hours=1))
    found = await story.until_there(first, 61)
    local = [datetime.fromisoformat(one["due_at"]).astimezone(BERLIN) for one in found]
    assert local == [monday + timedelta(days=number) for number in range(61)]
    assert await story.person.inbox() == [], "what is long past reminds nobody"
