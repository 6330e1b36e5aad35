"""Webhooks, chats and browsers of people: real HTTP servers as receivers, through outages of one beside others."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import http_ece
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from redis.asyncio import Redis
from standardwebhooks.webhooks import Webhook
from tests.integration.notifier.receiver import Receiver
from tests.integration.notifier.running import Running, Town
from tests.integration.notifier.sink import Sink
from tests.unit.notifier.samples import START, completed, occurrence, reopened

from event_contracts.topics import TASK_API
from event_contracts.users import UserDeleted
from service_kit.clock import RedisOffsetClock
from service_kit.testing.waiting import eventually

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
NewReceiver = Callable[[], Awaitable[Receiver]]


@pytest_asyncio.fixture(loop_scope="session")
async def town(redis: Redis, redis_url: str, sink: Sink) -> Town:
    return Town(redis_url, sink)


@pytest_asyncio.fixture(loop_scope="session")
async def service(town: Town) -> AsyncIterator[Running]:
    async with Running(town) as running:
        await eventually(running.ready)
        yield running


def webhook(url: str) -> dict[str, Any]:
    return {"id": str(uuid4()), "name": "home", "url": url, "secret": SECRET}


def with_webhooks(town: Town, *urls: str) -> UUID:
    return town.person(channels=["inbox", "webhook"], webhooks=[webhook(url) for url in urls])


async def told(town: Town, channel: str, number: int, seconds: float = 10) -> list[str]:
    async def there() -> list[str]:
        outcomes = town.outcomes(channel)
        return outcomes if len(outcomes) >= number else []

    return await eventually(there, seconds)


async def received(receiver: Receiver, number: int) -> None:
    async def there() -> bool:
        return len(receiver.received) >= number

    await eventually(there)


def reasons(town: Town, channel: str) -> set[str | None]:
    """Why it ended; the reasons of tries that came again are left out."""
    return {one["reason"] for one in town.told(channel) if one["outcome"] != "to_be_repeated"}


class TestWebhooks:
    async def test_each_gets_a_signed_post(
        self, town: Town, service: Running, receivers: NewReceiver
    ) -> None:
        first, second = await receivers(), await receivers()
        ada = with_webhooks(town, first.url, second.url)
        task = town.task(ada, title="Water <the> plants ☂")
        await service.hear_due(task)
        await service.hear_due(task)
        assert await told(town, "webhook", 2) == ["delivered"] * 2
        news = [one["data"] for one in town.sidecar.events("notification-delivered")]
        assert {one["destination"] for one in news if one["channel"] == "webhook"} == {"127.0.0.1"}
        assert {one["destination"] for one in news if one["channel"] != "webhook"} <= {None}
        for receiver in (first, second):
            (request,) = receiver.received
            content = Webhook(SECRET).verify(request.body, request.headers)
            assert content["type"] == "reminder.due"
            assert content["data"]["title"] == task.title
            assert content["data"]["late_seconds"] is None
            assert request.headers["webhook-id"] == content["data"]["notification_id"]
            assert request.headers["host"] == f"127.0.0.1:{receiver.port}"

    async def test_a_new_occurrence_says_that_it_is_one(
        self, town: Town, service: Running, receivers: NewReceiver, redis: Redis
    ) -> None:
        receiver = await receivers()
        ada = town.person(channels=["inbox", "webhook"], webhooks=[webhook(receiver.url)], generated=True)
        task = town.commit(occurrence(user_id=ada))
        assert await service.hear("task-created", task) == "SUCCESS"

        async def there() -> bool:
            await service.pass_time(redis, timedelta(seconds=11))
            return bool(receiver.received)

        await eventually(there)
        (request,) = receiver.received
        content = Webhook(SECRET).verify(request.body, request.headers)
        assert content["type"] == "occurrence.generated"
        assert (content["data"]["task_id"], content["data"]["reminder_id"]) == (str(task.task_id), None)

    async def test_one_that_fails_gets_the_same_again_and_how_late_it_is(
        self, town: Town, service: Running, receivers: NewReceiver, redis: Redis
    ) -> None:
        receiver = await receivers()
        receiver.status = 500
        ada = with_webhooks(town, receiver.url)
        await service.hear_due(town.task(ada))
        await received(receiver, 1)
        await service.pass_time(redis, timedelta(hours=2))
        assert town.outcomes("webhook") == []
        receiver.status = 200

        async def delivered() -> bool:
            await service.pass_time(redis, timedelta(seconds=2))
            return town.outcomes("webhook") == ["delivered"]

        await eventually(delivered, every=0.1)
        assert len({request.headers["webhook-id"] for request in receiver.received}) == 1
        contents = [json.loads(request.body) for request in receiver.received]
        late = [content["data"].pop("late_seconds") for content in contents]
        said = [content["data"].pop("body") for content in contents]
        assert (late[0], "late" in said[0]) == (None, False)
        assert 2 * 3600 <= late[-1] < 3 * 3600
        assert " This reminder comes 2 h" in said[-1]
        assert all(content == contents[0] for content in contents), "nothing else is another"
        (item,) = (await service.inbox(ada))["items"]
        answer = await service.call(ada, "GET", f"/{item['id']}/deliveries")
        tries = [one for one in answer.json()["items"] if one["channel"] == "webhook"]
        assert [one["attempt"] for one in tries] == list(range(1, len(tries) + 1))
        assert {one["reason"] for one in tries[:-1]} == {"the webhook answered 500"}
        assert [one["outcome"] for one in tries] == ["to_be_repeated"] * (len(tries) - 1) + ["delivered"]
        other = await service.call(town.person(), "GET", f"/{item['id']}/deliveries")
        assert other.status_code == 404
        names = ("attempt", "outcome", "reason", "destination_id")
        said = [{name: one[name] for name in names} for one in town.told("webhook")]
        assert said == [{name: one[name] for name in names} for one in tries], "task-api hears of each try"
        assert {one["destination"] for one in town.told("webhook")} == {"127.0.0.1"}

    async def test_one_that_is_gone_is_not_asked_again(
        self, town: Town, service: Running, receivers: NewReceiver
    ) -> None:
        receiver = await receivers()
        receiver.status = 410
        await service.hear_due(town.task(with_webhooks(town, receiver.url)))
        assert await told(town, "webhook", 1) == ["failed"]
        assert len(receiver.received) == 1
        assert reasons(town, "webhook") == {"the webhook answered 410"}

    async def test_a_redirect_is_not_followed(
        self, town: Town, service: Running, receivers: NewReceiver
    ) -> None:
        receiver, inner = await receivers(), await receivers()
        receiver.status, receiver.headers = 307, {"location": inner.url}
        await service.hear_due(town.task(with_webhooks(town, receiver.url)))
        await received(receiver, 1)
        await asyncio.sleep(0.3)
        assert inner.received == []
        assert town.outcomes("webhook") == []

    async def test_one_that_hangs_delays_no_other(
        self, town: Town, service: Running, receivers: NewReceiver
    ) -> None:
        """Twenty notifications wait for one that never answers; those of another person go out meanwhile."""
        hanging, healthy = await receivers(), await receivers()
        hanging.gate.clear()
        ada, bob = with_webhooks(town, hanging.url), with_webhooks(town, healthy.url)
        for _ in range(20):
            await service.hear_due(town.task(ada))
        await received(hanging, 1)
        for _ in range(20):
            await service.hear_due(town.task(bob))
        await received(healthy, 20)
        assert len(hanging.received) < 20, "its own still wait"
        assert len(hanging.received) <= 8, "two turns of four, then it is left alone"

    async def test_one_that_is_down_is_left_alone_and_served_when_it_is_back(
        self, town: Town, service: Running, receivers: NewReceiver, redis: Redis
    ) -> None:
        receiver = await receivers()
        await receiver.stop()
        ada = with_webhooks(town, receiver.url)
        for _ in range(12):
            await service.hear_due(town.task(ada))

        async def closed() -> bool:
            return any(
                [int(await redis.hget(key, "failures") or 0) >= 5 for key in await redis.keys("lane:*")]
            )

        await eventually(closed)
        await receiver.start()
        await service.hear_due(town.task(ada))
        await asyncio.sleep(0.3)
        assert receiver.received == [], "the lane is closed: what is new waits as well"

        async def delivered() -> bool:
            await service.pass_time(redis, timedelta(seconds=30))
            return town.outcomes("webhook") == ["delivered"] * 13

        await eventually(delivered, every=0.2)
        assert len({request.headers["webhook-id"] for request in receiver.received}) == 13

        async def nothing_noted() -> bool:
            return await redis.keys("lane:*") == []

        await eventually(nothing_noted)  # told of comes before the lane is given back

    async def test_after_a_day_it_is_given_up(
        self, town: Town, service: Running, receivers: NewReceiver, redis: Redis
    ) -> None:
        receiver = await receivers()
        await receiver.stop()
        ada = with_webhooks(town, receiver.url)
        for _ in range(8):
            await service.hear_due(town.task(ada))
        await told(town, "inbox", 8)
        await service.pass_time(redis, timedelta(hours=23))
        await asyncio.sleep(0.5)
        assert town.outcomes("webhook") == []

        await service.pass_time(redis, timedelta(minutes=62))
        assert await told(town, "webhook", 8) == ["failed"] * 8, "all at once, with one try for all"
        assert {str(reason)[:8] for reason in reasons(town, "webhook")} == {"given up"}

    async def test_a_task_done_meanwhile_is_told_of_only_when_it_is_open_again(
        self, town: Town, service: Running, receivers: NewReceiver, redis: Redis
    ) -> None:
        receiver = await receivers()
        receiver.status = 503
        ada = with_webhooks(town, receiver.url)
        task = town.task(ada)
        await service.hear_due(task)
        await received(receiver, 1)
        town.commit(completed(task))
        receiver.status = 200

        async def cancelled() -> bool:
            await service.pass_time(redis, timedelta(seconds=5))
            return town.outcomes("webhook") == ["cancelled"]

        await eventually(cancelled, every=0.1)
        assert len(receiver.received) == 1
        again = town.commit(reopened(completed(task)))
        for _ in range(2):
            assert await service.hear("task-updated", again) == "SUCCESS"
        assert await told(town, "webhook", 2) == ["cancelled", "delivered"]
        assert len({request.headers["webhook-id"] for request in receiver.received}) == 1
        assert len(receiver.received) == 2

    async def test_two_replicas_send_each_once(
        self, town: Town, service: Running, receivers: NewReceiver
    ) -> None:
        receiver = await receivers()
        ada = with_webhooks(town, receiver.url)
        async with Running(town) as second:
            await eventually(second.ready)
            for task in [town.task(ada) for _ in range(30)]:
                await asyncio.gather(service.hear_due(task), second.hear_due(task))
            await told(town, "webhook", 30)
        assert len(receiver.received) == len({one.headers["webhook-id"] for one in receiver.received}) == 30

    async def test_a_night_is_one_post_to_each(
        self, town: Town, service: Running, receivers: NewReceiver, redis: Redis
    ) -> None:
        """One of the two places fails at first: it gets the same digest again, the other hears nothing twice."""
        works, fails = await receivers(), await receivers()
        fails.status = 503
        now = await RedisOffsetClock(redis).now()
        hours = {"start": f"{now - timedelta(hours=1):%H:%M}", "until": f"{now + timedelta(hours=1):%H:%M}"}
        ada = town.person(
            channels=["inbox", "webhook"],
            webhooks=[webhook(works.url), webhook(fails.url)],
            quiet_hours=hours,
            late_policy="digest",
            timezone="UTC",
        )
        tasks = [town.task(ada, title=title, due_at=now + timedelta(days=1)) for title in "abc"]
        async with Running(town) as second:
            await eventually(second.ready)
            for task in tasks:
                await asyncio.gather(service.hear_due(task), second.hear_due(task))

            async def held() -> bool:
                led = [await redis.scard(key) for key in await redis.keys("followers:*")]
                return sum(led) == 2 * (len(tasks) - 1)

            await eventually(held)
            assert works.received == fails.received == []
            await service.pass_time(redis, timedelta(hours=1))
            await received(works, 1)
            await received(fails, 1)
            assert await told(town, "webhook", 3) == ["delivered"] * 3
            fails.status = 200

            async def delivered() -> bool:
                await service.pass_time(redis, timedelta(seconds=2))
                return town.outcomes("webhook") == ["delivered"] * 6

            await eventually(delivered, every=0.1)
        (request,) = works.received
        content = json.loads(request.body)
        assert content["type"] == "reminder.digest"
        assert content["data"]["title"] == "3 reminders"
        assert request.headers["webhook-id"] == content["data"]["notification_id"]
        assert sorted(one["title"] for one in content["data"]["reminders"]) == list("abc")
        assert {one["task_id"] for one in content["data"]["reminders"]} == {str(one.task_id) for one in tasks}
        assert len({one.body for one in fails.received}) == 1
        assert len({one.headers["webhook-id"] for one in fails.received}) == 1
        for item in (await service.inbox(ada))["items"]:
            answer = (await service.call(ada, "GET", f"/{item['id']}/deliveries")).json()["items"]
            outcomes = [one["outcome"] for one in answer if one["channel"] == "webhook"]
            assert outcomes.count("delivered") == 2
            assert "to_be_repeated" in outcomes

    async def test_nothing_is_left_of_an_erased_person(
        self, town: Town, service: Running, receivers: NewReceiver, redis: Redis
    ) -> None:
        receiver = await receivers()
        receiver.status = 500
        ada = with_webhooks(town, receiver.url)
        await service.hear_due(town.task(ada))
        await received(receiver, 1)
        await told(town, "inbox", 1)
        news = UserDeleted(user_id=ada, deleted_at=START)
        assert await service.hear("user-deleted", news) == "SUCCESS"
        assert await redis.keys("delivery:*") == await redis.keys("announced:*") == []
        assert [str(key) for key in await redis.keys("*") if str(ada) in str(key)] == [f"erased:{ada}"]


class TestChats:
    async def test_a_room_hears_of_it(self, town: Town, service: Running, receivers: NewReceiver) -> None:
        receiver = await receivers()
        receiver.status = 200
        room = {"id": str(uuid4()), "name": "home", "url": f"ntfy://127.0.0.1:{receiver.port}/tasks"}
        task = town.task(town.person(channels=["inbox", "chat"], chats=[room]))
        await service.hear_due(task)
        assert await told(town, "chat", 1) == ["delivered"]
        (request,) = receiver.received
        assert task.title in request.body.decode() + json.dumps(request.headers)

    async def test_a_service_that_hangs_holds_no_thread(
        self, town: Town, service: Running, receivers: NewReceiver
    ) -> None:
        """More rooms than there are threads answer a byte at a time, for ever; others are heard."""
        hanging, healthy = await receivers(), await receivers()
        hanging.drips = True
        hanging.gate.clear()
        healthy.status = 200
        slow = [
            {"id": str(uuid4()), "name": "x", "url": f"ntfy://127.0.0.1:{hanging.port}/{n}?rto=600&retry=9"}
            for n in range(20)
        ]
        await service.hear_due(town.task(town.person(channels=["inbox", "chat"], chats=slow)))
        await received(hanging, 16)
        room = {"id": str(uuid4()), "name": "home", "url": f"ntfy://127.0.0.1:{healthy.port}/tasks"}
        await service.hear_due(town.task(town.person(channels=["inbox", "chat"], chats=[room])))
        await received(healthy, 1)

    async def test_a_scheme_beside_the_list_is_refused(self, town: Town, service: Running) -> None:
        room = {"id": str(uuid4()), "name": "home", "url": "json://127.0.0.1:1/x"}
        await service.hear_due(town.task(town.person(channels=["inbox", "chat"], chats=[room])))
        assert await told(town, "chat", 1) == ["failed"]
        assert reasons(town, "chat") == {"the chat service is not one that is served here"}


class TestBrowsers:
    async def test_a_browser_can_read_it_and_one_that_is_gone_is_struck_off(
        self, town: Town, service: Running, receivers: NewReceiver
    ) -> None:
        key, secret = ec.generate_private_key(ec.SECP256R1()), b"a" * 16
        public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        keys = {"p256dh": _text(public), "auth": _text(secret)}
        alive, gone = await receivers(), await receivers()
        alive.status, gone.status = 201, 410
        browsers = [
            {"id": str(uuid4()), "name": "Firefox", "endpoint": one.url, **keys} for one in (alive, gone)
        ]
        task = town.task(town.person(channels=["inbox", "push"], push=browsers))
        await service.hear_due(task)
        assert sorted(await told(town, "push", 2)) == ["delivered", "failed"]
        (request,) = alive.received
        read = http_ece.decrypt(request.body, private_key=key, auth_secret=secret, version="aes128gcm")
        assert json.loads(read)["title"] == task.title
        assert request.headers["authorization"].startswith("vapid t=")
        assert len(request.headers["topic"]) == 32
        ours = (await service.call(task.user_id, "GET", "/push-key")).json()["public_key"]
        signed_with = request.headers["authorization"].partition("k=")[2].partition(",")[0]
        assert ours == signed_with, "a browser that subscribed to another key would refuse it"
        assert len(base64.urlsafe_b64decode(ours + "=")) == 65
        struck = [
            path for app, method, path in town.sidecar.invocations if (app, method) == (TASK_API, "DELETE")
        ]
        assert struck == [f"/internal/v1/push-subscriptions/{browsers[1]['id']}"]


async def test_without_a_key_the_answer_says_what_is_missing(
    redis: Redis, redis_url: str, sink: Sink
) -> None:
    town = Town(redis_url, sink, vapid_private_key=None)
    async with Running(town) as service:
        answer = await service.call(town.person(), "GET", "/push-key")
        assert (answer.status_code, answer.json()["error_code"]) == (404, "web_push_not_set_up")
        assert (await service.client.get("/api/v1/notifications/push-key")).status_code == 401


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f.1:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://user:pass@127.0.0.1:{port}/",
    ],
)
async def test_an_inner_address_is_never_called(
    redis: Redis, redis_url: str, sink: Sink, receivers: NewReceiver, url: str
) -> None:
    town = Town(redis_url, sink, outbound_allow_cidrs=())
    receiver = await receivers()
    address = url.format(port=receiver.port)
    room = {"id": str(uuid4()), "name": "x", "url": f"ntfy://{address.removeprefix('http://')}tasks"}
    async with Running(town) as service:
        await eventually(service.ready)
        person = town.person(channels=["inbox", "webhook", "chat"], webhooks=[webhook(address)], chats=[room])
        await service.hear_due(town.task(person))
        assert await told(town, "webhook", 1) == ["failed"]
        assert await told(town, "inbox", 1) == ["delivered"]
        await asyncio.sleep(0.2)
    assert receiver.received == []
    assert "delivered" not in town.outcomes("chat")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
