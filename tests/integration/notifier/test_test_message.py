"""A test goes through every channel of the caller at once, and its answer says how each fared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest_asyncio
from redis.asyncio import Redis
from standardwebhooks.webhooks import Webhook
from tests.integration.notifier.receiver import Receiver
from tests.integration.notifier.running import Running, Town
from tests.integration.notifier.sink import Sink
from tests.integration.notifier.test_destinations import SECRET, webhook

from service_kit.testing.waiting import eventually

NewReceiver = Callable[[], Awaitable[Receiver]]


@pytest_asyncio.fixture(loop_scope="session")
async def town(redis: Redis, redis_url: str, sink: Sink) -> Town:
    return Town(redis_url, sink)


@pytest_asyncio.fixture(loop_scope="session")
async def service(town: Town) -> AsyncIterator[Running]:
    async with Running(town) as running:
        await eventually(running.ready)
        yield running


async def test_each_channel_says_how_it_fared(town: Town, service: Running, receivers: NewReceiver) -> None:
    """Of three webhooks one works, one refuses, one hangs; the person sleeps."""
    works, refuses, hangs = await receivers(), await receivers(), await receivers()
    refuses.status = 410
    hangs.gate.clear()
    hooks = [webhook(one.url) for one in (works, refuses, hangs)]
    preferences: dict[str, Any] = {
        "channels": ["inbox", "email", "webhook"],
        "webhooks": hooks,
        "quiet_hours": {"start": "00:00", "until": "23:59:59"},
    }
    ada = town.person(**preferences)
    began = asyncio.get_running_loop().time()
    answer = await service.call(ada, "POST", "/test")
    assert asyncio.get_running_loop().time() - began < 5, "all at once"
    assert answer.status_code == 200, answer.text
    said = [
        (one["channel"], one["destination_id"], one["outcome"], one["reason"])
        for one in answer.json()["items"]
    ]
    assert said == [
        ("inbox", None, "delivered", None),
        ("email", None, "delivered", None),
        ("webhook", hooks[0]["id"], "delivered", None),
        ("webhook", hooks[1]["id"], "failed", "the webhook answered 410"),
        ("webhook", hooks[2]["id"], "failed", "no answer in time"),
    ]
    (mail,) = town.sink.mails
    assert mail["Subject"] == "Test of your notifications"
    (request,) = works.received
    content = Webhook(SECRET).verify(request.body, request.headers)
    assert content["type"] == "notification.test"
    (item,) = (await service.inbox(ada))["items"]
    assert (item["task_id"], item["reminder_id"], item["read_at"]) == (None, None, None)
    assert item["id"] == content["data"]["notification_id"] == request.headers["webhook-id"]
    assert (await service.call(ada, "POST", f"/{item['id']}/read")).status_code == 204
    assert (await service.inbox(ada))["unread"] == 0


async def test_a_mail_server_that_is_down_is_said_and_not_tried_again(town: Town, service: Running) -> None:
    await town.sink.stop()
    answer = await service.call(town.person(), "POST", "/test")
    by_channel = {one["channel"]: one["outcome"] for one in answer.json()["items"]}
    assert by_channel == {"inbox": "delivered", "email": "failed"}
    await town.sink.start()
    await service.tick()
    await asyncio.sleep(0.3)
    assert town.sink.mails == []


async def test_it_cannot_be_used_to_bother_others(town: Town, service: Running) -> None:
    ada = town.person(channels=["inbox"])
    answers = [await service.call(ada, "POST", "/test") for _ in range(7)]
    assert [one.status_code for one in answers] == [200] * 6 + [429]
    assert "retry-after" in answers[-1].headers
    assert (await service.call(town.person(channels=["inbox"]), "POST", "/test")).status_code == 200
    assert (await service.client.post("/api/v1/notifications/test")).status_code == 401


async def test_without_task_api_it_says_so(town: Town, service: Running) -> None:
    ada = town.person()
    assert (await service.inbox(ada))["items"] == []  # the keys of tokens are known now
    town.sidecar.unavailable = True
    answer = await service.call(ada, "POST", "/test")
    assert (answer.status_code, answer.json()["error_code"]) == (503, "unavailable")
