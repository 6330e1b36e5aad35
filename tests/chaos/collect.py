"""Asks the system for the facts, each where it says so itself."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import asyncpg  # type: ignore[import-untyped, unused-ignore]
from aiokafka import AIOKafkaConsumer, TopicPartition
from redis.asyncio import Redis
from tests.chaos.facts import Facts, Heard, Json
from tests.chaos.model import Fire
from tests.chaos.person import Person

from event_contracts.topics import NOTIFIER, RECURRENCE, REMINDERS, SERVICES, TOPICS, dead_letter_topic
from reminders.domain.member import Member
from stack import Instance
from taskstream_cli.lag import LagReader
from taskstream_cli.markers import read_marker

_AT_ONCE = 8
_TASK_TOPICS = ("task-created", "task-updated", "task-completed", "task-deleted")
_OVERDUE_AFTER = timedelta(seconds=2)
_SWEPT_EVERY = timedelta(minutes=61)
"""What recurrence looks after is looked at in the first second of each hour."""
_POLL_MS = 1_000


@dataclass(frozen=True)
class Queues:
    """What waits anywhere inside."""

    outbox_waiting: int
    outbox_parked: int
    behind: Mapping[str, int]
    overdue: Mapping[str, Sequence[str]]
    deliveries: Mapping[str, int]

    @property
    def waiting(self) -> dict[str, int]:
        """How many wait where; nothing where nobody waits."""
        found = {"outbox": self.outbox_waiting, **self.behind, **self.deliveries}
        found |= {key: len(members) for key, members in self.overdue.items()}
        return {where: count for where, count in found.items() if count}


async def read_queues(instance: Instance) -> Queues:
    """Look at all queues once."""
    waiting, parked = await _outbox(instance)
    async with LagReader(instance.kafka_bootstrap) as lag:
        behind = {
            f"{group} of {topic}": count for (group, topic), count in (await lag.read()).items() if count
        }
    async with Redis.from_url(instance.redis_url, decode_responses=True) as redis:
        overdue, deliveries = await _indexes(redis)
    return Queues(waiting, parked, behind, overdue, deliveries)


async def collect(instance: Instance, people: Sequence[Person]) -> Facts:
    """Everything, once it has settled."""
    queues = await read_queues(instance)
    tasks, deleted, owners = dict[str, Json](), set[str](), dict[str, str]()
    inbox: list[Heard] = []
    for person in people:
        here = {task["id"]: task for task in await person.all_tasks()}
        gone = {task["id"] for task in await person.all_tasks(deleted="true")}
        tasks |= here
        deleted |= gone
        owners |= dict.fromkeys([*here, *gone], person.user_id)
        inbox += [_heard(person, item) for item in await person.inbox()]
    by_id = {person.user_id: person for person in people}
    activity = dict(await _side_by_side(owners.items(), lambda one: _activity(by_id[one[1]], one[0])))
    published, announced, dead_letters = await _kafka(instance.kafka_bootstrap)
    async with Redis.from_url(instance.redis_url, decode_responses=True) as redis:
        scheduled = await schedules(redis)
        positions = await _versions(redis, RECURRENCE, "t:")
        records = await _versions(redis, NOTIFIER)
    mails = await asyncio.to_thread(instance.mail)
    return Facts(
        now=datetime.now(UTC),
        tasks=tasks,
        deleted=frozenset(deleted),
        owners=owners,
        inbox=inbox,
        mails=Counter(
            (mail.message_id.strip("<>").partition("@")[0], address) for mail in mails for address in mail.to
        ),
        activity=activity,
        published=published,
        announced=announced,
        dead_letters=dead_letters,
        behind=queues.behind,
        outbox_waiting=queues.outbox_waiting,
        outbox_parked=queues.outbox_parked,
        overdue=queues.overdue,
        deliveries=queues.deliveries,
        scheduled=scheduled,
        positions=positions,
        records=records,
    )


def _heard(person: Person, item: Json) -> Heard:
    fire = (str(item["reminder_id"]), datetime.fromisoformat(item["fire_at"]))
    at = datetime.fromisoformat(item["created_at"])
    return Heard(item["id"], person.user_id, str(item["task_id"]), fire, at)


async def _activity(person: Person, task_id: str) -> tuple[str, Sequence[Json]]:
    return task_id, await person.activity(task_id)


async def _side_by_side(
    things: Iterable[tuple[str, str]],
    ask: Callable[[tuple[str, str]], Awaitable[tuple[str, Sequence[Json]]]],
) -> list[tuple[str, Sequence[Json]]]:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(thing: tuple[str, str]) -> tuple[str, Sequence[Json]]:
        async with gate:
            return await ask(thing)

    return await asyncio.gather(*map(one, things))


async def _outbox(instance: Instance) -> tuple[int, int]:
    connection = await asyncpg.connect(instance.database_url)
    try:
        row = await connection.fetchrow(
            "SELECT count(*) FILTER (WHERE parked_at IS NULL) AS waiting, count(parked_at) AS parked FROM outbox"
        )
    finally:
        await connection.close()
    return int(row["waiting"]), int(row["parked"])


async def _indexes(redis: Redis) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Members whose moment is past, or that somebody holds a lease of; and all that is to be delivered."""
    seconds, microseconds = await redis.time()  # type: ignore[misc, unused-ignore]
    now = datetime.fromtimestamp(seconds + microseconds / 1e6, UTC)
    overdue: dict[str, list[str]] = {}
    deliveries: dict[str, int] = {}
    async for key in redis.scan_iter("{due:*"):
        members = cast("list[tuple[str, float]]", await redis.zrange(key, 0, -1, withscores=True))
        name = key.removeprefix("{due:")
        if name.startswith(("deliveries-", "lane", "read-marks")):
            deliveries[key] = len(members)
            continue
        after = _SWEPT_EVERY if name.startswith("successor-checks") else _OVERDUE_AFTER
        late = (now - after).timestamp() * 1000
        held = [
            member
            for member, score in members
            if score < late or (name.startswith("reminders") and score != Member.parse(member).fire_ms)
        ]
        if held:
            overdue[key] = held
    return overdue, {key: count for key, count in deliveries.items() if count}


async def schedules(redis: Redis) -> dict[str, int]:
    """The version of each task's schedule; empty without a marker."""
    return await _versions(redis, REMINDERS)


async def _versions(redis: Redis, service: str, kind: str = "") -> dict[str, int]:
    """The version in each task's document of a service; empty without a marker."""
    marker = await read_marker(redis, service)
    if marker is None:
        return {}
    prefix = f"{service}||{kind}{marker.generation}:"
    found: dict[str, int] = {}
    keys = [key async for key in redis.scan_iter(f"{prefix}*", count=1_000)]
    for key in keys:
        data = await redis.hget(key, "data")  # type: ignore[misc, unused-ignore]
        if data is not None:
            found[str(UUID(key.removeprefix(prefix)))] = int(json.loads(data)["v"])
    return found


async def _kafka(
    bootstrap: str,
) -> tuple[frozenset[tuple[str, int]], dict[Fire, frozenset[str]], dict[str, int]]:
    """Versions of tasks that were published, ids of reminder-due events by fire time, and dead letters."""
    published: set[tuple[str, int]] = set()
    announced: defaultdict[Fire, set[str]] = defaultdict(set)
    letters: Counter[str] = Counter()
    queues = {dead_letter_topic(service) for service in SERVICES}
    async for topic, event in _everything(bootstrap, [*_TASK_TOPICS, "reminder-due", *queues]):
        if topic in queues:
            letters[topic] += 1
        elif topic == "reminder-due":
            data = event["data"]
            announced[data["reminder_id"], datetime.fromisoformat(data["fire_at"])].add(event["id"])
        else:
            published.add((event["data"]["task_id"], event["data"]["version"]))
    return frozenset(published), {fire: frozenset(ids) for fire, ids in announced.items()}, dict(letters)


async def _everything(bootstrap: str, topics: Iterable[str]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    # From the beginning by its own choice: told to seek, it may still go to the end, where it was about to go.
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        numbers = {topic: TOPICS[topic].partitions if topic in TOPICS else 1 for topic in topics}
        parts = [TopicPartition(topic, n) for topic, count in numbers.items() for n in range(count)]
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        while any([await consumer.position(part) < ends[part] for part in parts]):
            for part, records in (await consumer.getmany(timeout_ms=_POLL_MS)).items():
                for record in records:
                    yield part.topic, json.loads(record.value)
    finally:
        await consumer.stop()
