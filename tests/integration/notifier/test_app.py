"""The service as a whole: events in, mail and inbox out, through outages and beside a second replica."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from tests.integration.notifier.running import Running, Town
from tests.integration.notifier.sink import Sink
from tests.unit.notifier.samples import START, completed

from event_contracts.users import UserDeleted
from service_kit.testing.waiting import eventually


@pytest_asyncio.fixture(loop_scope="session")
async def town(redis: Redis, redis_url: str, sink: Sink) -> Town:
    return Town(redis_url, sink)


@pytest_asyncio.fixture(loop_scope="session")
async def service(town: Town) -> AsyncIterator[Running]:
    async with Running(town) as running:
        await eventually(running.ready)
        yield running


async def _mails(town: Town, number: int, seconds: float = 10) -> None:
    async def arrived() -> bool:
        return len(town.sink.mails) >= number

    await eventually(arrived, seconds)


async def _unread(service: Running, user_id: UUID, number: int, seconds: float = 10) -> None:
    async def there() -> bool:
        return bool((await service.inbox(user_id))["unread"] == number)

    await eventually(there, seconds)


async def _told(town: Town, channel: str, number: int, seconds: float = 10) -> list[str]:
    async def there() -> list[str]:
        told = town.outcomes(channel)
        return told if len(told) >= number else []

    return await eventually(there, seconds)


async def test_a_reminder_reaches_the_person(town: Town, service: Running) -> None:
    ada, bob = town.person(), town.person("bob@example.org")
    task = town.task(ada, title="Water <the> plants")
    await service.hear_due(task)
    await service.hear_due(task)
    await _mails(town, 1)
    await _unread(service, ada, 1)

    assert town.sink.recipients == ["ada@example.org"]
    (item,) = (await service.inbox(ada))["items"]
    assert (item["title"], item["task_id"], item["read_at"]) == (
        "Water <the> plants",
        str(task.task_id),
        None,
    )
    assert town.sink.mails[0]["Message-ID"] == f"<{item['id']}@example.org>"
    assert (await service.inbox(bob))["items"] == []

    assert (await service.call(bob, "POST", f"/{item['id']}/read")).status_code == 404
    for _ in range(2):
        assert (await service.call(ada, "POST", f"/{item['id']}/read")).status_code == 204
    read = (await service.inbox(ada))["items"][0]
    assert (read["read_at"] is not None, read["cleared"]) == (True, False)
    assert (await service.inbox(ada, unread=True))["items"] == []

    async def told() -> bool:
        return bool(town.sidecar.events("notification-read"))

    await eventually(told)
    (news,) = town.sidecar.events("notification-read")
    assert news["data"]["notification_ids"] == [item["id"]]


async def test_pages_and_read_all(town: Town, service: Running) -> None:
    ada = town.person()
    for number in range(5):
        await service.hear_due(town.task(ada, title=f"Task {number}"))
    await _unread(service, ada, 5)
    seen: list[str] = []
    page = await service.inbox(ada, limit=2)
    seen += [item["id"] for item in page["items"]]
    while page["has_next"]:
        page = await service.inbox(ada, limit=2, cursor=page["next_cursor"])
        seen += [item["id"] for item in page["items"]]
    assert len(set(seen)) == len(seen) == 5
    assert page["next_cursor"] is None
    answer = await service.call(ada, "POST", "/read-all")
    assert answer.json() == {"updated": 5}
    assert (await service.call(ada, "POST", "/read-all")).json() == {"updated": 0}
    assert (await service.inbox(ada))["unread"] == 0


async def test_the_door_is_shut(town: Town, service: Running) -> None:
    answer = await service.client.get("/api/v1/notifications")
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("application/problem+json")
    ada = town.person()
    for cursor in ("x", "MTIz", "!!", "K18t", "MTIzLTA=", "MTIzLTB"):
        refused = await service.call(ada, "GET", params={"cursor": cursor})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == "cursor"
    assert (await service.call(ada, "GET", params={"limit": 201})).status_code == 422
    assert (await service.call(ada, "POST", f"/{uuid4()}/read")).status_code == 404
    for path in ("/events/reminder-due", "/delivery-cron"):
        assert (await service.client.post(path)).status_code in (401, 403)
        sibling = {"dapr-api-token": "app-token", "dapr-caller-app-id": "task-api"}
        assert (await service.client.post(path, headers=sibling)).status_code == 403


async def test_mail_server_down_then_up(town: Town, service: Running, redis: Redis) -> None:
    ada = town.person()
    await town.sink.stop()
    tasks = [town.task(ada) for _ in range(3)]
    for task in tasks:
        await service.hear_due(task)
    await _unread(service, ada, 3, seconds=3)
    assert await service.ready()
    assert town.outcomes("email") == []
    await service.pass_time(redis, timedelta(hours=2))

    await town.sink.start()

    async def delivered() -> bool:
        await service.pass_time(redis, timedelta(seconds=5))
        return town.outcomes("email") == ["delivered"] * 3

    await eventually(delivered, every=0.3)
    assert len({mail["Message-ID"] for mail in town.sink.mails}) == 3
    for mail in town.sink.mails:
        bodies = [mail.get_body((subtype,)) for subtype in ("plain", "html")]
        assert all("This reminder comes 2 h" in body.get_content() for body in bodies if body is not None)
    assert all("late" not in item["body"] for item in (await service.inbox(ada))["items"])


async def test_a_mail_server_that_hangs_does_not_delay_the_inbox(town: Town, service: Running) -> None:
    town.sink.gate.clear()
    ada = town.person()
    tasks = [town.task(ada) for _ in range(30)]
    began = asyncio.get_running_loop().time()
    for task in tasks:
        await service.hear_due(task)
    await _unread(service, ada, 30, seconds=20)
    took = asyncio.get_running_loop().time() - began
    # Those that hang are given up after a while, and the next ones take their room.
    assert town.sink.held % town.settings.email_concurrency == 0
    assert town.sink.held > 0
    assert town.sink.mails == []
    # One after the other, thirty hanging mails would take minutes.
    assert took < 20
    town.sink.gate.set()
    await _mails(town, 30)
    assert await _told(town, "email", 30) == ["delivered"] * 30


async def test_a_task_done_before_its_mail_went_out(town: Town, service: Running, redis: Redis) -> None:
    ada = town.person()
    await town.sink.stop()
    task = town.task(ada)
    await service.hear_due(task)
    await _unread(service, ada, 1)
    done = town.commit(completed(task))
    assert await service.hear("task-completed", done) == "SUCCESS"
    inbox = await service.inbox(ada)
    assert (inbox["unread"], inbox["items"][0]["cleared"]) == (0, True)
    await town.sink.start()

    async def cancelled() -> list[str]:
        await service.pass_time(redis, timedelta(minutes=30))
        return town.outcomes("email")

    assert await eventually(cancelled, every=0.2) == ["cancelled"]
    assert town.sink.mails == []


async def test_task_api_away_only_delays(town: Town, service: Running, redis: Redis) -> None:
    ada = town.person()
    task = town.task(ada)
    town.sidecar.task_api_away = True
    await service.hear_due(task)
    await asyncio.gather(*(service.tick() for _ in range(5)))
    assert town.sink.mails == []
    town.sidecar.task_api_away = False

    async def arrived() -> bool:
        await service.pass_time(redis, timedelta(seconds=30))
        return bool(town.sink.mails) and (await service.inbox(ada))["unread"] == 1

    await eventually(arrived, every=0.2)
    # A mail that is under way while time flies outlives its lease; then a copy follows, and says that it is one.
    assert len({mail["Message-ID"] for mail in town.sink.mails}) == 1


async def test_what_waited_for_task_api_goes_out_as_soon_as_it_is_back(
    town: Town, service: Running, redis: Redis
) -> None:
    """However long it was away: put off further with each round that asked in vain, they would wait half a minute."""
    ada = town.person()
    tasks = [town.task(ada) for _ in range(20)]
    town.sidecar.task_api_away = True
    for task in tasks:
        await service.hear_due(task)
    for _ in range(8):
        await service.pass_time(redis, timedelta(minutes=1))
        await asyncio.sleep(0.1)
    town.sidecar.task_api_away = False
    await _told(town, "inbox", 20)


async def test_two_replicas_send_each_thing_once(town: Town, service: Running) -> None:
    ada = town.person()
    tasks = [town.task(ada) for _ in range(60)]
    async with Running(town) as second:
        await eventually(second.ready)
        for task in tasks:
            await asyncio.gather(service.hear_due(task), second.hear_due(task))
        await _told(town, "email", 60)
        await _told(town, "inbox", 60)
        await _unread(second, ada, 60)
    assert len(town.sink.mails) == len({mail["Message-ID"] for mail in town.sink.mails}) == 60
    assert town.outcomes("email") == town.outcomes("inbox") == ["delivered"] * 60
    assert len(town.sidecar.events("notification-delivered")) == 120


async def test_a_replica_that_stops_leaves_the_rest_to_the_next(
    town: Town, service: Running, redis: Redis
) -> None:
    ada = town.person()
    town.sink.gate.clear()
    async with Running(town) as first:
        await eventually(first.ready)
        for task in [town.task(ada) for _ in range(6)]:
            await first.hear_due(task)

        async def held() -> bool:
            return town.sink.held > 0

        await eventually(held)
        town.sink.gate.set()
    await service.pass_time(redis, timedelta(seconds=41))
    await _told(town, "email", 6)
    assert town.outcomes("email") == ["delivered"] * 6
    assert len({mail["Message-ID"] for mail in town.sink.mails}) == 6


async def test_stopping_always_ends(town: Town) -> None:
    """Redis commands are under way all the time, and a cancellation that comes in one of them may get lost there."""
    ada = town.person()
    for _ in range(12):
        async with Running(town) as running:
            await eventually(running.ready)
            await running.hear_due(town.task(ada))
            ticks = [asyncio.ensure_future(running.tick()) for _ in range(20)]
            await asyncio.gather(*ticks[:10])
            async with asyncio.timeout(20):
                await running.stop()
            await asyncio.gather(*ticks, return_exceptions=True)


async def test_an_erased_person(town: Town, service: Running, redis: Redis) -> None:
    ada = town.person()
    await service.hear_due(town.task(ada))
    await _unread(service, ada, 1)
    await _mails(town, 1)
    await _told(town, "email", 1)
    assert await service.hear("user-deleted", UserDeleted(user_id=ada, deleted_at=START)) == "SUCCESS"
    assert (await service.inbox(ada))["items"] == []
    assert [str(key) for key in await redis.keys("*") if str(ada) in str(key)] == [f"erased:{ada}"]


async def test_not_ready_before_there_is_a_marker(town: Town) -> None:
    town.sidecar.unavailable = True
    async with Running(town) as running:
        assert not await running.ready()
        town.sidecar.unavailable = False
        await eventually(running.ready)
        town.sidecar.state.flush()
        ada = town.person()
        task = town.task(ada)
        assert await running.hear("reminder-due", town.fire(task)) == "RETRY"

        async def taken() -> bool:
            return await running.hear("reminder-due", town.fire(task)) == "SUCCESS"

        await eventually(taken)
        await _mails(town, 1)
        await eventually(running.ready)


async def test_health_tells_of_the_mail_server_and_stays_green(town: Town) -> None:
    await town.sink.stop()
    async with Running(town) as running:
        await eventually(running.ready)
        body = (await running.client.get("/health")).json()
        assert body["status"] == "healthy"
        available = {one["name"]: one["available"] for one in body["dependencies"]}
        assert available == {"redis": True, "marker": True, "sidecar": True, "smtp": False}
    await town.sink.start()


async def test_what_is_counted(town: Town, service: Running) -> None:
    ada = town.person()
    await service.hear_due(town.task(ada))
    await _told(town, "email", 1)
    await _told(town, "inbox", 1)

    async def counted() -> bool:
        text = (await service.client.get("/metrics")).text
        return all(
            part in text
            for part in (
                'notifications_total{channel="inbox",outcome="delivered"}',
                'delivery_latency_seconds_count{channel="email"}',
                'delivery_queue_depth{channel="email"}',
                "smtp_errors_total",
            )
        )

    await eventually(counted)


@pytest.mark.parametrize("topic", ["reminder-due", "task-created", "user-deleted"])
async def test_what_does_not_parse_is_parked(service: Running, topic: str) -> None:
    answer = await service.client.post(
        f"/events/{topic}", content=b'{"data": {}}', headers={"dapr-api-token": "app-token"}
    )
    assert answer.json() == {"status": "DROP"}
