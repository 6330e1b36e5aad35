"""The live stream over real sockets and Redis: resumed without loss or repeat, on any replica, ended in time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from tests.integration.notifier.listening import Serving, serving
from tests.integration.notifier.running import Town
from tests.integration.notifier.sink import Sink
from tests.unit.notifier.samples import START, completed, event, later, snapshot

import notifier.app
from event_contracts.topics import TOPICS
from event_contracts.users import UserDeleted
from notifier.adapters import live_scripts
from notifier.adapters.redis_live import RedisLive
from notifier.entrypoints import stream
from service_kit.revocations import RevocationMirror
from service_kit.testing.tokens import make_token
from service_kit.testing.waiting import eventually


@pytest.fixture
def settings() -> dict[str, Any]:
    return {}


@pytest_asyncio.fixture(loop_scope="session")
async def town(redis: Redis, redis_url: str, sink: Sink, settings: dict[str, Any]) -> Town:
    return Town(redis_url, sink, **settings)


@pytest_asyncio.fixture(loop_scope="session")
async def service(town: Town) -> AsyncIterator[Serving]:
    async with serving(town) as running:
        yield running


async def _tell(service: Serving, task: Any) -> None:
    """Deliver news that happened just now."""
    body = event(TOPICS["task-updated"].event_type, task, time=_instant()).encode()
    answer = await service.client.post(
        "/events/task-updated", content=body, headers={"dapr-api-token": "app-token"}
    )
    assert answer.json() == {"status": "SUCCESS"}


def _instant() -> datetime:
    return datetime.now(UTC)


async def test_a_person_hears_of_their_tasks_and_notifications_and_of_nobody_elses(
    town: Town, service: Serving
) -> None:
    ada, bob = town.person(), town.person("bob@example.org")
    async with service.ear(ada) as ear, service.ear(bob) as other:
        assert await ear.hears("ready") == [{}]
        await other.hears("ready")
        task = town.task(ada, title="Water <the>\n“plants” 🪴")
        await _tell(service, task)
        (told,) = await ear.hears("task")
        assert (told["id"], told["version"], told["title"], told["status"]) == (
            str(task.task_id),
            1,
            task.title,
            "pending",
        )
        assert told["due_at"] == "2026-01-05T10:00:00Z"

        await service.hear_due(task)
        (news,) = await ear.hears("notification")
        (item,) = (await service.inbox(ada))["items"]
        assert news == {name: item[name] for name in news}
        assert news.keys() >= {"id", "task_id", "title", "body", "due", "fire_at", "created_at"}

        await service.call(ada, "POST", f"/{item['id']}/read")
        assert await ear.hears("notification-read") == [
            {"notification_ids": [item["id"]], "cleared": False, "unread": 0}
        ]
        assert 1_000 <= ear.retry_ms <= 5_000
        places = [tuple(map(int, one.id.split("-"))) for one in ear.heard]
        assert all(before < after for before, after in pairwise(places))
        assert [one.name for one in other.heard] == ["ready"]


async def test_a_finished_task_clears_its_notifications_on_every_screen(town: Town, service: Serving) -> None:
    ada = town.person()
    async with service.ear(ada) as one, service.ear(ada) as two:
        await one.hears("ready")
        await two.hears("ready")
        task = town.task(ada)
        await service.hear_due(task)
        await one.hears("notification")
        await _tell(service, town.commit(completed(task)))
        for ear in (one, two):
            (read,) = await ear.hears("notification-read")
            assert (read["cleared"], read["unread"], len(read["notification_ids"])) == (True, 0, 1)
            assert (await ear.hears("task"))[-1]["status"] == "completed"


async def test_news_that_comes_again_or_was_overtaken_is_not_shown(town: Town, service: Serving) -> None:
    """Delivered twice, out of order, on two replicas at once."""
    ada = town.person()
    first = snapshot(user_id=ada)
    second, third = later(first), later(later(first))
    async with serving(town) as beside, service.ear(ada) as ear:
        await ear.hears("ready")
        await asyncio.gather(*(_tell(one, first) for one in (service, beside, service, beside)))
        await _tell(service, third)
        for late in (second, third, first):
            await asyncio.gather(_tell(service, late), _tell(beside, late))
        await service.hear_due(town.task(ada))
        await ear.hears("notification")
    assert [told["version"] for told in ear.named("task")] == [1, 3]


async def test_resumed_without_loss_or_repeat_while_two_replicas_write(town: Town, service: Serving) -> None:
    """The client comes and goes, from replica to replica; events keep coming to both."""
    ada = town.person()
    total, chance = 400, random.Random(7)
    async with serving(town) as beside:
        replicas = (service, beside)
        async with service.ear(ada) as ear:
            await ear.hears("ready")
            position = ear.last_id
        tasks = [snapshot(user_id=ada, number=number + 1) for number in range(total)]

        async def write(share: int) -> None:
            for task in tasks[share::4]:
                await _tell(replicas[share % 2], task)

        writing = asyncio.gather(*(write(share) for share in range(4)))
        seen: list[str] = []
        visits = 0
        async with asyncio.timeout(60):
            while len(seen) < total:
                visits += 1
                async with replicas[visits % 2].ear(ada, position) as ear:
                    await asyncio.sleep(chance.random() * 0.15)
                if ear.heard:
                    seen += [one.data["id"] for one in ear.heard if one.name == "task"]
                    position = ear.last_id
                assert ear.named("reset") == []
        await writing
    assert visits > 3
    assert len(seen) == total
    assert set(seen) == {str(task.task_id) for task in tasks}


async def test_an_id_that_is_not_kept_any_more_begins_anew(
    town: Town, service: Serving, redis: Redis
) -> None:
    ada = town.person()
    async with service.ear(ada) as ear:
        await ear.hears("ready")
    live = RedisLive(redis)
    for number in range(live_scripts.LENGTH + 1):
        await live.tell_task(snapshot(user_id=ada, number=number + 1), _instant())
    assert await redis.xlen(f"live:{ada}") == live_scripts.LENGTH
    async with service.ear(ada, ear.last_id) as back:
        assert await back.hears("reset") == [{}]
        await _tell(service, snapshot(user_id=ada, title="after"))
        assert [told["title"] for told in await back.hears("task")] == ["after"]
    async with service.ear(ada, back.heard[0].id) as again:
        assert [told["title"] for told in await again.hears("task")] == ["after"], (
            "from the reset on it resumes"
        )
    async with service.ear(ada, "99999999999999-0") as stranger:
        await stranger.hears("reset")


async def test_events_leave_by_age_and_so_does_the_stream_of_who_listens_no_more(
    town: Town, service: Serving, redis: Redis
) -> None:
    ada = town.person()
    day_ago = int((_instant() - live_scripts.KEPT - timedelta(minutes=1)).timestamp() * 1000)
    await redis.xadd(f"live:{ada}", {"kind": "task", "data": "{}"}, id=f"{day_ago}-0")
    async with service.ear(ada, f"{day_ago}-0") as ear:
        await eventually(lambda: redis.ttl(f"live:{ada}"))
        await _tell(service, snapshot(user_id=ada))
        await ear.hears("reset")
    assert await redis.xlen(f"live:{ada}") == 1
    assert 0 < await redis.ttl(f"live:{ada}") <= live_scripts.KEPT.total_seconds()
    bob = town.person("bob@example.org")
    await _tell(service, snapshot(user_id=bob))
    assert await redis.keys(f"*{bob}*") == [], "nothing is kept for whom nobody listens"


async def test_redis_wiped_under_an_open_stream(town: Town, service: Serving, redis: Redis) -> None:
    ada = town.person()
    async with service.ear(ada) as ear:
        await ear.hears("ready")
        await _tell(service, snapshot(user_id=ada))
        await ear.hears("task")
        await redis.delete(f"live:{ada}")
        await redis.publish(live_scripts.CHANNEL, f"live:{ada}")
        await ear.hears("reset")
        await _tell(service, snapshot(user_id=ada))
        await ear.hears("task", 2)


async def test_news_older_than_what_is_remembered_asks_to_begin_anew(
    town: Town, service: Serving, redis: Redis
) -> None:
    """The bus was away for longer than a day: whether such news was told before, nobody can say."""
    ada = town.person()
    async with service.ear(ada) as ear:
        await ear.hears("ready")
        live = RedisLive(redis)
        for number in range(3):
            task = snapshot(user_id=ada, number=number + 1)
            assert not await live.tell_task(task, _instant() - live_scripts.KEPT - timedelta(minutes=1))
        await ear.hears("reset")
        await _tell(service, snapshot(user_id=ada))
        await ear.hears("task")
    assert [one.name for one in ear.heard] == ["ready", "reset", "task"]


async def test_a_lost_connection_of_the_news_channel_loses_nothing(
    town: Town, service: Serving, redis: Redis
) -> None:
    ada = town.person()
    async with service.ear(ada) as ear:
        await ear.hears("ready")
        for number in range(5):
            await redis.client_kill_filter(_type="pubsub")
            await _tell(service, snapshot(user_id=ada, number=number + 1))
            await ear.hears("task", number + 1, seconds=5)
    assert len(ear.named("task")) == 5


@pytest.mark.parametrize("settings", [{"streams_per_person": 60}])
async def test_many_listeners_are_one_reader_of_redis(town: Town, service: Serving, redis: Redis) -> None:
    people = [town.person() for _ in range(12)]
    before = await _connections(redis)
    async with asyncio.timeout(30):
        ears = [service.ear(people[number % 12]) for number in range(48)]
        opened = [await ear.__aenter__() for ear in ears]
        for ear in opened:
            await ear.hears("ready")
        assert await service.count("stream_clients") == 48
        assert await _connections(redis) <= max(before, 16)
        for person in people:
            await _tell(service, snapshot(user_id=person))
        for ear in opened:
            await ear.hears("task")
        assert await _subscribed(redis) == 1
        await asyncio.gather(*(ear.__aexit__(None, None, None) for ear in ears))

    async def nobody() -> bool:
        return await service.count("stream_clients") == 0

    await eventually(nobody)


async def _connections(redis: Redis) -> int:
    return sum(one["name"] == "notifier" for one in await redis.client_list())


async def _subscribed(redis: Redis) -> int:
    database = str(redis.connection_pool.connection_kwargs["db"])
    return sum(one["sub"] == "1" and one["db"] == database for one in await redis.client_list())


async def test_who_reads_nothing_is_dropped_and_holds_up_nobody(
    town: Town, service: Serving, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SEND_SECONDS", 0.5)
    ada = town.person()
    dropped = 'streams_ended_total{reason="slow"}'
    before = await service.count(dropped)
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=1024)
    token = make_token(town.key, ada)
    writer.write(
        b"GET /api/v1/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + token.encode() + b"\r\n\r\n"
    )
    await reader.readuntil(b"ready")
    live = RedisLive(redis)

    async with service.ear(ada) as ear:
        await ear.hears("ready")
        number = 0

        async def gone() -> bool:
            nonlocal number
            for _ in range(200):
                number += 1
                tags = tuple(f"{tag:050}" for tag in range(20))
                await live.tell_task(snapshot(user_id=ada, number=number, tags=tags), _instant())
            return await service.count(dropped) > before

        await eventually(gone, 60)
        assert len(await ear.hears("task", number, 30)) == number
        assert await service.count("stream_clients") == 1
    writer.close()


@pytest.mark.parametrize("settings", [{"stream_heartbeat": 0.1}])
async def test_a_silent_stream_gives_signs_of_life(town: Town, service: Serving) -> None:
    async with service.ear(town.person()) as ear:

        async def signs() -> bool:
            return ear.signs >= 3

        await eventually(signs)


async def _ticket(service: Serving, token: str) -> str:
    answer = await service.client.post("/api/v1/stream/ticket", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 201
    assert answer.json()["expires_in"] == 60
    ticket: str = answer.json()["ticket"]
    return ticket


async def test_a_ticket_opens_one_stream_on_any_replica(town: Town, service: Serving, redis: Redis) -> None:
    ada = town.person()
    ticket = await _ticket(service, make_token(town.key, ada))
    assert not [key for key in await redis.keys("*") if ticket in key], "it is kept by its digest"
    async with serving(town) as beside:
        async with beside.ear(ada, ticket=ticket) as ear:
            await ear.hears("ready")
        for replica in (service, beside):
            answer = await replica.client.get("/api/v1/stream", params={"ticket": ticket})
            assert (answer.status_code, answer.json()["error_code"]) == (401, "invalid_token")
        again = await _ticket(beside, make_token(town.key, ada))
        async with service.ear(ada, ticket=again, last_event_id=ear.last_id) as back:
            await _tell(service, snapshot(user_id=ada))
            await back.hears("task")
        assert [one.name for one in back.heard] == ["task"]


async def test_a_ticket_is_short_lived_and_no_better_than_its_session(
    town: Town, service: Serving, redis: Redis
) -> None:
    ada, family = town.person(), uuid4()
    ticket = await _ticket(service, make_token(town.key, ada, family_id=family))
    (key,) = await redis.keys("stream-ticket:*")
    assert 0 < await redis.ttl(key) <= 60
    await RevocationMirror(redis, 60).add(family)
    answers = [
        await service.client.get("/api/v1/stream", params={"ticket": one}) for one in (ticket, "made-up")
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert (await service.client.get("/api/v1/stream")).json()["error_code"] == "not_authenticated"
    assert (await service.client.post("/api/v1/stream/ticket")).status_code == 401


async def test_a_stream_ends_with_its_session(
    town: Town, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier.app, "_SESSIONS", timedelta(seconds=0.1))
    ada, family, other = town.person(), uuid4(), uuid4()
    async with (
        serving(town) as service,
        service.ear(ada, token=make_token(town.key, ada, family_id=family)) as ear,
        service.ear(ada, token=make_token(town.key, ada, family_id=other)) as beside,
    ):
        await ear.hears("ready")
        await RevocationMirror(redis, 60).add(family)
        assert await ear.over() == "session_ended"
        assert not beside.ended.is_set()
        await redis.delete("session:revoked")
        assert await beside.over() == "session_ended", "while nobody knows who was signed out, nobody listens"


async def test_a_stream_ends_with_its_token_also_by_ticket(town: Town, service: Serving) -> None:
    ada = town.person()
    tokens = [make_token(town.key, ada, expires_in=timedelta(seconds=2)) for _ in range(2)]
    ticket = await _ticket(service, tokens[1])
    async with service.ear(ada, token=tokens[0]) as by_token, service.ear(ada, ticket=ticket) as by_ticket:
        assert await by_token.over() == await by_ticket.over() == "token_expired"


async def test_an_erased_persons_streams_end_everywhere_and_nothing_is_left(
    town: Town, service: Serving, redis: Redis
) -> None:
    ada = town.person()
    async with serving(town) as beside, service.ear(ada) as one, beside.ear(ada) as two:
        await one.hears("ready")
        await two.hears("ready")
        await _tell(service, snapshot(user_id=ada))
        await two.hears("task")
        assert await beside.hear("user-deleted", UserDeleted(user_id=ada, deleted_at=START)) == "SUCCESS"
        assert await one.over() == await two.over() == "account_erased"
        await _tell(service, snapshot(user_id=ada))
        async with service.ear(ada) as late:
            assert await late.over() == "account_erased"
    assert [str(key) for key in await redis.keys(f"*{ada}*")] == [f"erased:{ada}"]


async def test_leaving_ends_streams_at_once_and_lets_nobody_in(town: Town) -> None:
    ada = town.person()
    async with serving(town) as service:
        # A connection from before, on which a request may still come.
        await service.client.get("/health/live")
        async with service.ear(ada) as ear:
            await ear.hears("ready")
            began = asyncio.get_running_loop().time()
            service.server.should_exit = True
            assert await ear.over() == "shutdown"
            await service._serving
            assert asyncio.get_running_loop().time() - began < 5


@pytest.mark.parametrize("settings", [{"streams_per_person": 2, "streams_per_process": 3}])
async def test_streams_are_limited_by_person_and_by_process(town: Town, service: Serving) -> None:
    ada, bob, eve = (town.person() for _ in range(3))

    async def refused(who: UUID) -> httpx.Response:
        token = make_token(town.key, who)
        return await service.client.get("/api/v1/stream", headers={"authorization": f"Bearer {token}"})

    async with service.ear(ada) as first, service.ear(ada):
        await first.hears("ready")
        answer = await refused(ada)
        assert (answer.status_code, answer.json()["error_code"]) == (429, "too_many_streams")
        assert answer.headers["retry-after"]
        async with service.ear(bob):
            answer = await refused(eve)
            assert (answer.status_code, answer.json()["error_code"]) == (503, "no_room_for_streams")
    async with service.ear(eve) as ear:
        await ear.hears("ready")


@pytest.mark.parametrize("wrong", ["x", "1", "1-", "-1", "1-99999999999999999999", "1-0\n", "1 - 0"])
async def test_an_id_that_was_never_one_is_refused_by_name(town: Town, service: Serving, wrong: str) -> None:
    token = make_token(town.key, town.person())
    answer = await service.client.get(
        "/api/v1/stream", headers={"authorization": f"Bearer {token}"}, params={"last_event_id": wrong}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "last_event_id"
