"""Who asks to be forgotten is: every table and every key of Redis is searched for them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg  # type: ignore[import-untyped, unused-ignore]
from redis.asyncio import Redis
from tests.e2e.conftest import Json, Person
from tests.e2e.eventually import eventually

from stack import Instance

_BROWSER = {
    "endpoint": "https://push.example.org/",
    "keys": {"p256dh": "B" * 87, "auth": "A" * 22},
}


async def _in_tables(system: Instance, *needles: str) -> set[str]:
    """The tables that hold one of the texts, in whatever column."""
    url = system.env("task-api")["DATABASE_URL"].replace("postgresql+asyncpg", "postgresql")
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        found = set()
        for (table,) in tables:
            query = f'SELECT count(*) FROM "{table}" AS one WHERE one::text LIKE ANY($1::text[])'
            if await connection.fetchval(query, [f"%{needle}%" for needle in needles]):
                found.add(table)
        return found
    finally:
        await connection.close()


async def _texts(redis: Redis) -> AsyncIterator[tuple[str, str]]:
    """Every key with all that is in it."""
    async for key in redis.scan_iter(count=1000):
        held: object
        match await redis.type(key):
            case "string":
                held = await redis.get(key)
            case "hash":
                held = await redis.hgetall(key)
            case "list":
                held = await redis.lrange(key, 0, -1)
            case "set":
                held = await redis.smembers(key)
            case "zset":
                held = await redis.zrange(key, 0, -1)
            case "stream":
                held = await redis.xrange(key)
            case other:
                assert other == "none", f"{key!r} is of an unknown kind: {other!r}"
                continue
        yield str(key), f"{key!r} {held!r}"


async def _in_redis(system: Instance, *needles: str) -> set[str]:
    """The keys that name one of the texts, or hold it."""
    url = system.env("task-api")["REDIS_URL"]
    async with Redis.from_url(url, decode_responses=True) as redis:
        return {
            key
            async for key, text in _texts(redis)
            if any(needle in text or needle.replace("-", "") in text for needle in needles)
        }


async def test_an_erased_person_is_in_no_table_and_in_no_key(system: Instance, person: Person) -> None:
    word = f"secret-{secrets.token_hex(8)}"
    task = await person.call(
        "POST",
        "/api/v1/tasks",
        {
            "title": word,
            "due_at": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
            "reminders": [{"at": (datetime.now(UTC) + timedelta(seconds=1)).isoformat()}, {"offset": "PT1H"}],
            "recurrence": {"rrule": "FREQ=WEEKLY"},
        },
    )
    await eventually(lambda: asyncio.to_thread(person.mails), what="the reminder's mail")
    await eventually(person.inbox, what="the inbox entry")
    await person.call("POST", "/api/v1/push-subscriptions", _BROWSER)
    await person.call("POST", f"/api/v1/tasks/{task['id']}/complete", {})

    async def open_tasks() -> list[Json]:
        items: list[Json] = (await person.call("GET", "/api/v1/tasks?status=pending"))["items"]
        return items

    (successor,) = await eventually(open_tasks, what="the next occurrence")
    traces = (word, person.email, person.user_id, task["id"], successor["id"])
    await eventually(lambda: _in_redis(system, *traces), lambda keys: len(keys) >= 3, what="traces")
    assert {"tasks", "users", "notification_channels"} <= await _in_tables(system, *traces), (
        "the search finds"
    )

    await person.call("DELETE", "/api/v1/users/me", {"password": person.password})
    assert (await person.client.get("/api/v1/tasks")).status_code == 401
    # The audit log keeps that something was done under this id. The outbox empties into Kafka, whose topics expire.
    await eventually(
        lambda: _in_tables(system, *traces),
        lambda tables: tables == {"audit_log"},
        what="no table but the log",
    )
    assert await _in_tables(system, word, person.email) == set()
    await eventually(
        lambda: _in_redis(system, word, person.email), lambda keys: keys == set(), what="no text of theirs"
    )

    # Of ids only what keeps late events from bringing them back, for as long as these can come; an entry of a due index
    # that lost its document is dropped at its own time.
    async def lasting() -> set[str]:
        return await _lasting(system, await _in_redis(system, *traces))

    await eventually(lasting, lambda keys: keys == set(), what="no lasting id")


async def _lasting(system: Instance, keys: set[str]) -> set[str]:
    """The keys that do not expire by themselves."""
    async with Redis.from_url(system.env("task-api")["REDIS_URL"], decode_responses=True) as redis:
        return {key for key in keys if not key.startswith("{due:") and await redis.ttl(key) < 0}
