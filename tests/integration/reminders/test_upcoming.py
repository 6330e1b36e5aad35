"""GET /api/v1/reminders/upcoming, on real stores."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from tests.integration.reminders.conftest import MINUTE, Beside, Place, reminded
from tests.integration.reminders.fault_points import FaultPoints
from tests.unit.reminders.conftest import USER, completed, later, reminder, snapshot

from event_contracts.envelope import CloudEvent
from event_contracts.topics import DEAD_LETTER_RETENTION
from event_contracts.users import UserDeleted
from reminders.app import build
from service_kit.redis_connection import connect_redis
from service_kit.revocations import MIRROR_KEY, RevocationMirror
from service_kit.testing.tokens import SigningKey, make_token

KEY = SigningKey()


@pytest_asyncio.fixture(loop_scope="session")
async def client(fresh: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service; its loops do not run, so that nothing fires."""
    await RevocationMirror(fresh.redis).fill([])
    sidecar = Beside(fresh.settings, fresh.bus, fresh.task_api)
    sidecar.jwks = KEY.jwks
    app = build(fresh.settings, redis=connect_redis(fresh.settings), sidecar=sidecar)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://reminders") as made:
        yield made
    await sidecar.aclose()


async def ask(
    client: httpx.AsyncClient, user_id: UUID = USER, *, login: UUID | None = None, **params: Any
) -> httpx.Response:
    headers = {"authorization": f"Bearer {make_token(KEY, user_id, family_id=login)}"}
    return await client.get("/api/v1/reminders/upcoming", headers=headers, params=params)


async def shown(client: httpx.AsyncClient, user_id: UUID = USER, **params: Any) -> list[str]:
    """The reminder ids of all pages, in order."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        asked: dict[str, Any] = params if cursor is None else params | {"cursor": cursor}
        answer = await ask(client, user_id, **asked)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += [item["reminder_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        assert page["has_next"] == (cursor is not None)
        if cursor is None:
            return found


async def test_what_reminds_next_comes_first_and_in_pages(fresh: Place, client: httpx.AsyncClient) -> None:
    now = datetime.now(UTC)
    # Many at one moment: all-day tasks of one day remind at the same time.
    moments = [now + timedelta(hours=hours) for hours in (9, 1, 5, 5, 5, 5, 5, 7)]
    ones = [reminder(at=at, set_at=now) for at in moments]
    for one in ones:
        assert await fresh.applier().apply(
            snapshot(reminders=(one,), due_at=now + timedelta(days=1), updated_at=now)
        )
    for limit in (1, 2, 3, 50):
        found = await shown(client, limit=limit)
        assert len(found) == len(set(found)) == len(ones)
        ordered = [next(one.at for one in ones if str(one.reminder_id) == found_id) for found_id in found]
        assert ordered == sorted(ordered, key=lambda at: at or now)
    first = (await ask(client, limit=1)).json()["items"][0]
    assert first["reminder_id"] == str(ones[1].reminder_id)
    assert abs(datetime.fromisoformat(first["fire_at"]) - moments[1]) < timedelta(milliseconds=2)


async def test_what_moved_closed_fired_or_is_another_ones_is_not_shown(
    fresh: Place, client: httpx.AsyncClient
) -> None:
    kept, moved, closed, fired, other = (reminded(10 * MINUTE) for _ in range(5))
    other = other.model_copy(update={"user_id": uuid4()})
    fired_now = fired.reminders[0].model_copy(update={"fired_for": fired.reminders[0].at})
    for task in (kept, moved, closed, later(fired, 1, reminders=(fired_now,)), other):
        assert await fresh.applier().apply(task)
    later_one = moved.reminders[0].model_copy(update={"at": datetime.now(UTC) + 20 * MINUTE})
    assert await fresh.applier().apply(later(moved, 2, reminders=(later_one,)))
    assert await fresh.applier().apply(completed(closed, 2))
    assert await shown(client) == [str(task.reminders[0].reminder_id) for task in (kept, moved)]
    assert await shown(client, other.user_id) == [str(other.reminders[0].reminder_id)]
    await fresh.advance(15 * MINUTE)
    assert await shown(client) == [str(moved.reminders[0].reminder_id)]
    assert await shown(client, uuid4()) == []


async def test_a_person_who_left_leaves_no_index_behind(fresh: Place, client: httpx.AsyncClient) -> None:
    task = reminded(10 * MINUTE)
    assert await fresh.applier().apply(task)
    (key,) = await fresh.redis.keys(f"reminders:upcoming:{USER.hex}")
    assert 10 * 60_000 < await fresh.redis.pttl(key) < 80 * 60_000
    await say_that_they_left(client)
    assert not await fresh.redis.exists(key)
    late, gone = reminded(10 * MINUTE), later(completed(task, 2), 2, deleted_at=datetime.now(UTC))
    for one in (late, later(task, 1), gone, later(late, 2)):
        assert await fresh.applier().apply(one)
    assert not await fresh.redis.exists(key)
    assert await fresh.documents.get(fresh.generation, late.task_id) is None
    await say_that_they_left(client)
    (mark,) = await fresh.redis.keys(f"*{USER.hex}*")
    assert await fresh.redis.ttl(mark) > DEAD_LETTER_RETENTION.total_seconds()
    assert await fresh.applier().apply(other := reminded(10 * MINUTE, user_id=uuid4()))
    assert await shown(client, other.user_id) == [str(other.reminders[0].reminder_id)]


async def test_who_leaves_while_an_event_of_theirs_is_applied_leaves_no_index_behind(
    fresh: Place, client: httpx.AsyncClient
) -> None:
    """Wherever the event is at that moment."""
    for number in itertools.count():
        await fresh.begin()
        faults = FaultPoints(wait_at=number)
        applying = asyncio.create_task(fresh.applier(faults).apply(reminded(10 * MINUTE)))
        reached = asyncio.create_task(faults.reached.wait())
        await asyncio.wait([applying, reached], return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        await say_that_they_left(client)
        faults.go_on.set()
        assert await applying
        assert not await fresh.redis.exists(f"reminders:upcoming:{USER.hex}"), faults.passed
        if len(faults.passed) <= number:
            break


async def say_that_they_left(client: httpx.AsyncClient) -> None:
    event = CloudEvent[Any](
        id="1",
        source="/task-api",
        type="user.deleted.v1",
        time=datetime.now(UTC),
        data=UserDeleted(user_id=USER, deleted_at=datetime.now(UTC)),
    )
    answer = await client.post(
        "/events/user-deleted", content=event.encode(), headers={"dapr-api-token": "app-token"}
    )
    assert answer.json() == {"status": "SUCCESS"}


async def test_nobody_gets_in_without_a_good_token_or_cursor(fresh: Place, client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/reminders/upcoming")).status_code == 401
    foreign = {"authorization": f"Bearer {make_token(SigningKey(), USER)}"}
    assert (await client.get("/api/v1/reminders/upcoming", headers=foreign)).status_code == 401
    for cursor in ("x", "a:b:c", "::", "é"):
        answer = await ask(client, cursor=cursor)
        assert answer.status_code == 422, cursor
        assert answer.json()["error_code"] == "invalid_cursor"
    assert (await ask(client, limit=201)).status_code == 422
    await fresh.redis.delete("reminders||marker")
    assert (await ask(client)).json()["error_code"] == "schedule_unavailable"


async def test_an_ended_session_is_outside_and_nobody_gets_in_while_that_is_unknown(
    fresh: Place, client: httpx.AsyncClient
) -> None:
    ended, other = uuid4(), uuid4()
    assert (await ask(client, login=ended)).status_code == 200
    await RevocationMirror(fresh.redis, 60).add(ended)
    answers = [await ask(client, login=login) for login in (ended, other)]
    assert [answer.status_code for answer in answers] == [401, 200]
    await fresh.redis.delete(MIRROR_KEY)
    unknown = await ask(client, login=other)
    assert (unknown.status_code, unknown.json()["error_code"]) == (503, "sessions_unknown")
