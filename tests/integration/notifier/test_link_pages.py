"""Links in mails, from a mail that was sent to what task-api is asked for: on a real Redis, across two replicas."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from tests.integration.notifier.running import Running, Town
from tests.integration.notifier.sink import Sink
from tests.unit.notifier.samples import deleted

from event_contracts.topics import TASK_API
from service_kit.clock import CLOCK_OFFSET_KEY
from service_kit.testing.waiting import eventually

ACTIONS = "/internal/v1/actions"


@pytest_asyncio.fixture(loop_scope="session")
async def town(redis: Redis, redis_url: str, sink: Sink) -> Town:
    town = Town(redis_url, sink)
    for path in (ACTIONS, f"{ACTIONS}/stop-mail"):
        town.sidecar.on_invoke(TASK_API, path, json={"changed": True})
    return town


@pytest_asyncio.fixture(loop_scope="session")
async def service(town: Town) -> AsyncIterator[Running]:
    async with Running(town) as running:
        await eventually(running.ready)
        yield running


async def links_of_a_mail(town: Town, service: Running, ada: UUID, **fields: Any) -> dict[str, str]:
    """The paths of the links in the mail of a reminder, by their labels."""
    before = len(town.sink.mails)
    await service.hear_due(town.task(ada, **fields))

    async def there() -> bool:
        return len(town.sink.mails) > before

    await eventually(there)
    return links_in(town.sink.mails[-1])


def links_in(mail: EmailMessage) -> dict[str, str]:
    body = mail.get_body(("plain",))
    assert body is not None
    text = body.get_content().replace("\r\n", "\n")
    return dict(re.findall(r"^(.+): https://tasks\.example\.org(/api/v1/actions/\S+)$", text, re.MULTILINE))


def asked(town: Town, path: str = ACTIONS) -> list[dict[str, Any]]:
    return [body for asked_path, body in town.sidecar.bodies if asked_path == path]


async def test_looking_does_nothing_and_the_button_does_it_once(town: Town, service: Running) -> None:
    ada = town.person()
    links = await links_of_a_mail(town, service, ada, title='Buy <b>"milk"</b>')
    for _ in range(3):
        page = await service.client.get(links["Done"])
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "Is “Buy &lt;b&gt;&#34;milk&#34;&lt;/b&gt;” done?" in page.text
        assert '<form method="post">' in page.text
    assert asked(town) == []
    done = await service.client.post(links["Done"])
    assert (done.status_code, "is done." in done.text) == (200, True)
    assert "<form" not in done.text
    (body,) = asked(town)
    assert (body["action"], body["user_id"]) == ("complete", str(ada))
    for method in ("GET", "POST"):
        again = await service.client.request(method, links["Done"])
        assert (again.status_code, "used before" in again.text) == (410, True)
    assert len(asked(town)) == 1
    assert (await service.client.get(links["In an hour"])).status_code == 200, "the others are still there"


async def test_a_used_link_written_in_another_way_does_nothing(town: Town, service: Running) -> None:
    """The other alphabet's `+` for a `-` says the same bytes, and the signature stands for them."""
    ada = town.person()
    mails = [await links_of_a_mail(town, service, ada) for _ in range(4)]
    path = next(
        path for links in mails for label, path in links.items() if label != "No more mail" and "-" in path
    )
    assert (await service.client.post(path)).status_code == 200
    done = asked(town)
    for other in (path.replace("-", "+"), path.replace("-", "+", 1), f"{path}=", f"{path}===="):
        for method in ("GET", "POST"):
            assert (await service.client.request(method, other)).status_code == 404
    assert asked(town) == done


async def test_a_snooze_by_two_clicks_at_two_replicas_is_one_moment(town: Town, service: Running) -> None:
    links = await links_of_a_mail(town, service, town.person())
    async with Running(town) as second:
        await eventually(second.ready)
        both = (service.client.post(links["In an hour"]), second.client.post(links["In an hour"]))
        answers = await asyncio.gather(*both)
    assert {one.status_code for one in answers} <= {200, 410}
    assert len({(one["until"], one["reminder_id"]) for one in asked(town)}) == 1


async def test_a_click_whose_answer_was_lost_asks_for_the_same_again(
    town: Town, service: Running, redis: Redis
) -> None:
    """task-api did it and could not say so; half an hour later the link is followed again."""
    links = await links_of_a_mail(town, service, town.person())
    town.sidecar.on_invoke(TASK_API, ACTIONS, status=500)
    lost = await service.client.post(links["In a day"])
    assert lost.status_code in (502, 503)
    assert "retry-after" in lost.headers
    await redis.incrby(CLOCK_OFFSET_KEY, 1_800_000)
    town.sidecar.on_invoke(TASK_API, ACTIONS, json={"changed": False})
    assert (await service.client.post(links["In a day"])).status_code == 200
    first, second = asked(town)
    assert first == second
    assert (await service.client.post(links["In a day"])).status_code == 410


async def test_what_is_gone_or_too_old_is_said(town: Town, service: Running, redis: Redis) -> None:
    ada = town.person()
    links = await links_of_a_mail(town, service, ada)
    town.sidecar.on_invoke(TASK_API, ACTIONS, status=409)
    assert (await service.client.post(links["In an hour"])).status_code == 409
    (body,) = asked(town)
    task_path = f"/internal/v1/tasks/{body['task_id']}"
    town.sidecar.on_invoke(TASK_API, task_path, status=404)
    assert (await service.client.get(links["Done"])).status_code == 409
    await redis.incrby(CLOCK_OFFSET_KEY, timedelta(days=8) // timedelta(milliseconds=1))
    for label in ("Done", "In an hour", "In a day"):
        page = await service.client.post(links[label])
        assert (page.status_code, "too old" in page.text) == (410, True)
    assert len(asked(town)) == 1
    assert (await service.client.get(links["No more mail"])).status_code == 200, "the way out works for long"


async def test_a_deleted_task_is_not_done_by_a_link(town: Town, service: Running) -> None:
    ada = town.person()
    task = town.task(ada)
    await service.hear_due(task)

    async def there() -> bool:
        return bool(town.sink.mails)

    await eventually(there)
    town.commit(deleted(task))
    assert (await service.client.post(links_in(town.sink.mails[-1])["Done"])).status_code == 409
    assert asked(town) == []


async def test_one_click_ends_mail_as_often_as_it_is_clicked(town: Town, service: Running) -> None:
    ada = town.person()
    await links_of_a_mail(town, service, ada)
    header = town.sink.mails[-1]["List-Unsubscribe"]
    path = header.strip("<>").removeprefix("https://tasks.example.org")
    assert (await service.client.get(path)).status_code == 200
    assert asked(town, f"{ACTIONS}/stop-mail") == []
    for _ in range(2):
        answer = await service.client.post(path, data={"List-Unsubscribe": "One-Click"})
        assert answer.status_code == 200
    assert asked(town, f"{ACTIONS}/stop-mail") == [{"user_id": str(ada)}] * 2


@pytest.mark.parametrize("token", ["x", "A" * 95, "%00", "A" * 200])
async def test_what_is_no_link_is_not_found(service: Running, token: str) -> None:
    for method in ("GET", "POST"):
        answer: httpx.Response = await service.client.request(method, f"/api/v1/actions/{token}")
        assert answer.status_code == 404


async def test_without_a_secret_no_link_is_one(redis: Redis, redis_url: str, sink: Sink, town: Town) -> None:
    bare = Town(redis_url, sink, link_secrets=None)
    async with Running(town) as signing:
        await eventually(signing.ready)
        links = await links_of_a_mail(town, signing, town.person())
    async with Running(bare) as running:
        await eventually(running.ready)
        assert (await running.client.post(links["Done"])).status_code == 404
