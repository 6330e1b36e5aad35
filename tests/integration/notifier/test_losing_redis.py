"""Redis is lost, wholly or in part: inboxes come back once, nothing is sent twice, what was under way goes out."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from redis.asyncio import Redis
from tests.integration.notifier.receiver import Receiver
from tests.integration.notifier.running import Running, Town
from tests.integration.notifier.sink import Sink
from tests.unit.notifier.samples import completed, made_again, reminder, reopened, snapshot, withdrawn

from event_contracts.tasks import TaskSnapshot
from event_contracts.topics import TASK_API
from notifier.adapters.redis_past import RedisPast
from notifier.application.keep_whole import LATECOMERS_AFTER
from service_kit.clock import CLOCK_OFFSET_KEY
from service_kit.redis_lock import RedisLock
from service_kit.revocations import RevocationMirror
from service_kit.testing.waiting import eventually


@pytest_asyncio.fixture(loop_scope="session")
async def town(redis: Redis, redis_url: str, sink: Sink) -> Town:
    return Town(redis_url, sink)


@pytest_asyncio.fixture(loop_scope="session")
async def service(town: Town) -> AsyncIterator[Running]:
    async with Running(town) as running:
        await eventually(running.ready)
        yield running


async def _wipe(town: Town, redis: Redis) -> None:
    """FLUSHALL, and task-api's part of what comes back."""
    await redis.flushdb()
    town.sidecar.state.flush()
    await RevocationMirror(redis).fill([])


async def _begun(town: Town) -> None:
    """Wait until it was noticed."""

    async def marked() -> bool:
        marker = await town.sidecar.state.get("marker")
        return marker is not None and marker.value["run_id"] == "rebuilding"

    await eventually(marked)


async def _whole(town: Town, running: Running) -> None:
    """Wait until it was noticed and put back, in this replica too."""

    async def marked() -> bool:
        marker = await town.sidecar.state.get("marker")
        return marker is not None and marker.value["run_id"] != "rebuilding"

    await eventually(marked, 20)
    await asyncio.sleep(0.6)  # for as long is an answer of readiness kept
    await eventually(running.ready)


async def _told(town: Town, channel: str, number: int) -> None:
    async def there() -> bool:
        return len(town.outcomes(channel)) >= number

    await eventually(there)


async def _ended(town: Town, service: Running, task: TaskSnapshot) -> None:
    """Its reminder is due, and all that follows is over: sent, or cancelled."""
    await service.hear_due(task)
    await _told(town, "email", 1)
    await _told(town, "inbox", 1)


def _shown(page: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What must be as before. When it was made is taken from the outcome, which was noted some milliseconds later."""
    for item in page["items"]:
        age = datetime.now(UTC) - datetime.fromisoformat(item["created_at"])
        assert timedelta(0) <= age < timedelta(seconds=30)
    names = ("id", "task_id", "reminder_id", "title", "body", "due", "fire_at", "cleared")
    return [(*(item[name] for name in names), item["read_at"] is None) for item in page["items"]]


async def test_inboxes_come_back_as_they_were_and_nothing_goes_out_twice(
    town: Town, service: Running, redis: Redis
) -> None:
    ada, bob = town.person(), town.person("bob@example.org")
    tasks = []
    for number in range(8):
        late = number * timedelta(minutes=7)
        tasks.append(town.task(ada, late, title=f"Task {number}"))
        await service.hear_late(tasks[-1], late)
        await _told(town, "inbox", number + 1)
    other = town.task(bob, title="Of somebody else")
    await service.hear_due(other)
    await _told(town, "inbox", 9)
    await _told(town, "email", 9)
    ids = {item["title"]: item["id"] for item in (await service.inbox(ada))["items"]}
    await service.call(ada, "POST", f"/{ids['Task 3']}/read")
    await service.hear("task-completed", town.commit(completed(tasks[5])))

    async def told() -> bool:
        return bool(town.sidecar.events("notification-read"))

    await eventually(told)
    before, of_bob = await service.inbox(ada), await service.inbox(bob)
    assert sum("late" in item["body"] for item in before["items"]) == 5
    tries = (await service.call(ada, "GET", f"/{ids['Task 1']}/deliveries")).json()

    async with Running(town) as second:
        await eventually(second.ready)
        await _wipe(town, redis)
        await _whole(town, service)
        await _whole(town, second)
        for task in (*tasks, other):
            await asyncio.gather(service.hear_due(task), second.hear_due(task))
        after = await second.inbox(ada)
        assert _shown(after) == _shown(before)
        assert after["unread"] == before["unread"] == 6
        assert _shown(await service.inbox(bob)) == _shown(of_bob)
        again = (await service.call(ada, "GET", f"/{ids['Task 1']}/deliveries")).json()
        assert sorted(one["channel"] for one in again["items"]) == ["email", "inbox"]
        assert {tuple(one.items()) for one in again["items"]} == {
            tuple(one.items()) for one in tries["items"]
        }
        await asyncio.sleep(1.5)
    assert len(town.sink.mails) == 9
    assert town.outcomes("email") == town.outcomes("inbox") == ["delivered"] * 9


async def test_an_entry_of_which_task_api_hears_late_comes_back_all_the_same(
    town: Town, service: Running, redis: Redis
) -> None:
    """Of a task that is closed by then: with its outcome unknown, it is taken for one that does not matter any more."""
    ada = town.person()
    first, task = town.task(ada, title="First"), town.task(ada, title="Heard")
    await service.hear_due(first)
    await _told(town, "inbox", 1)
    await _told(town, "email", 1)
    town.sidecar.behind = len(town.sidecar.events("notification-delivered"))
    await service.hear_due(task)
    await _told(town, "inbox", 2)
    await _told(town, "email", 2)
    before = await service.inbox(ada)
    town.commit(completed(task))
    await _wipe(town, redis)
    await _whole(town, service)
    await _told(town, "inbox", 3)
    assert [item["title"] for item in (await service.inbox(ada))["items"]] == ["First"]
    town.sidecar.behind = None
    await redis.set(CLOCK_OFFSET_KEY, LATECOMERS_AFTER[0] // timedelta(milliseconds=1))

    async def back() -> bool:
        items = (await service.inbox(ada))["items"]
        return len(items) == 2 and items[0]["cleared"]  # which comes a moment after the entry itself

    await eventually(back)
    after = await service.inbox(ada)
    assert [(item["title"], item["cleared"]) for item in after["items"]] == [
        ("Heard", True),
        ("First", False),
    ]
    assert [item["id"] for item in after["items"]] == [item["id"] for item in before["items"]]
    assert len(town.sink.mails) == 2


async def test_what_was_under_way_goes_out_after_all_and_what_is_long_past_does_not(
    town: Town, service: Running, redis: Redis
) -> None:
    ada = town.person()
    await town.sink.stop()
    task = town.task(ada, title="Still to be mailed")
    await service.hear_due(task)
    await _told(town, "inbox", 1)
    fire_at = datetime.now(UTC) - timedelta(days=2)
    old = town.commit(snapshot(user_id=ada, title="Long past", reminders=(reminder(at=fire_at),)))
    town.fire(old)
    await town.sink.start()
    town.sink.gate.clear()
    await _wipe(town, redis)
    await _whole(town, service)
    town.sink.gate.set()
    await _told(town, "email", 1)
    await asyncio.sleep(1.2)
    (mail,) = town.sink.mails
    assert "Still to be mailed" in str(mail["Subject"])
    assert [item["title"] for item in (await service.inbox(ada))["items"]] == ["Still to be mailed"]


def _place(channel: str, receiver: Receiver) -> dict[str, str]:
    """A destination of this channel, as task-api gives it."""
    if channel == "webhook":
        address = {"url": receiver.url, "secret": "whsec_" + base64.b64encode(b"s" * 32).decode()}
    elif channel == "chat":
        address = {"url": f"ntfy://127.0.0.1:{receiver.port}/tasks"}
    else:
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        public = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        keys = {"p256dh": public, "auth": b"a" * 16}
        texts = {name: base64.urlsafe_b64encode(raw).rstrip(b"=").decode() for name, raw in keys.items()}
        address = {"endpoint": receiver.url} | texts
    return {"id": str(uuid4()), "name": "home"} | address


@pytest.mark.parametrize(
    ("channel", "places"), [("webhook", "webhooks"), ("chat", "chats"), ("push", "push")]
)
async def test_of_two_destinations_the_one_that_still_waited_hears_of_it_and_the_other_not_again(
    town: Town,
    service: Running,
    redis: Redis,
    receivers: Callable[[], Awaitable[Receiver]],
    channel: str,
    places: str,
) -> None:
    works, fails = await receivers(), await receivers()
    works.status, fails.status = 200, 500
    here, there = _place(channel, works), _place(channel, fails)
    preferences: dict[str, Any] = {"channels": ["inbox", channel], places: [here, there]}
    ada = town.person(**preferences)
    task = town.task(ada)
    await service.hear_due(task)
    await _told(town, channel, 1)
    await _told(town, "inbox", 1)

    async def tried() -> bool:
        return bool(fails.received)

    await eventually(tried)
    town.sidecar.gate.clear()
    await _wipe(town, redis)
    await _begun(town)
    await asyncio.sleep(town.settings.outbound_timeout)  # until what was under way has ended
    assert (len(works.received), town.outcomes(channel)) == (1, ["delivered"])
    before, fails.status = len(fails.received), 200
    town.sidecar.gate.set()
    await _whole(town, service)
    await _told(town, channel, 2)
    await service.hear_due(task)
    await service.tick()
    await asyncio.sleep(0.5)
    assert (len(works.received), len(fails.received)) == (1, before + 1)
    assert town.outcomes(channel) == ["delivered"] * 2
    (item,) = (await service.inbox(ada))["items"]
    tries = (await service.call(ada, "GET", f"/{item['id']}/deliveries")).json()["items"]
    ended = [one["destination_id"] for one in tries if one["channel"] == channel]
    assert ended == [here["id"], there["id"]]


async def test_news_that_comes_while_it_is_put_back(town: Town, service: Running, redis: Redis) -> None:
    """Copies of old news and new ones are put off; a task that is closed meanwhile stays cleared."""
    ada = town.person()
    first, second = town.task(ada, title="First"), town.task(ada, title="Second")
    for task in (first, second):
        await service.hear_due(task)
    await _told(town, "email", 2)
    await _told(town, "inbox", 2)
    town.sidecar.gate.clear()
    await _wipe(town, redis)
    await _begun(town)
    third = town.task(ada, title="Third")
    for task in (first, third):
        assert await service.hear("reminder-due", town.fire(task)) == "RETRY"

    async def unready() -> bool:
        return not await service.ready()

    await eventually(unready)
    # task-api still gives it as open to whoever asked before this.
    assert await service.hear("task-completed", completed(first)) == "SUCCESS"
    town.sidecar.gate.set()
    await _whole(town, service)
    for task in (first, third):
        await service.hear_due(task)
    await _told(town, "inbox", 3)
    await _told(town, "email", 3)
    page = await service.inbox(ada)
    assert sorted((item["title"], item["cleared"]) for item in page["items"]) == [
        ("First", True),
        ("Second", False),
        ("Third", False),
    ]
    assert page["unread"] == 2
    await asyncio.sleep(1.2)
    assert sorted(mail["Subject"] for mail in town.sink.mails) == [
        f"Reminder: {one}" for one in ("First", "Second", "Third")
    ]


async def test_what_was_cancelled_for_a_closed_task_still_waits_for_it(
    town: Town, service: Running, redis: Redis
) -> None:
    ada = town.person()
    task = town.commit(completed(town.task(ada)))
    await _ended(town, service, task)
    assert town.outcomes("email") == town.outcomes("inbox") == ["cancelled"]
    await _wipe(town, redis)
    await _whole(town, service)
    assert (await service.inbox(ada))["items"] == []
    await service.hear("task-updated", town.commit(reopened(task)))

    async def arrived() -> bool:
        return len(town.sink.mails) == 1 and (await service.inbox(ada))["unread"] == 1

    await eventually(arrived)


@pytest.mark.parametrize("heard", ["nobody", "while it was put back"])
async def test_what_was_cancelled_goes_out_when_its_task_was_opened_again_since(
    town: Town, service: Running, redis: Redis, heard: str
) -> None:
    """Whoever heard of it had queued it, and that was lost; or its news comes before there is anything to queue."""
    ada = town.person()
    task = town.commit(completed(town.task(ada)))
    await _ended(town, service, task)
    again = reopened(task)
    if heard == "nobody":
        town.commit(again)
        await _wipe(town, redis)
    else:
        town.sidecar.gate.clear()
        await _wipe(town, redis)
        town.commit(again)
        await _begun(town)
        assert await service.hear("task-updated", again) in ("SUCCESS", "RETRY")
        town.sidecar.gate.set()
    await _whole(town, service)

    async def arrived() -> bool:
        return len(town.sink.mails) == 1 and (await service.inbox(ada))["unread"] == 1

    await eventually(arrived)
    assert await service.hear("task-updated", again) == "SUCCESS"
    await service.tick()
    await asyncio.sleep(0.5)
    assert await arrived(), "and the news of it brings it no second time"


async def test_a_redis_that_forgot_its_last_second_is_mended_while_all_goes_on(
    town: Town, service: Running, redis: Redis
) -> None:
    ada = town.person()
    task = town.task(ada)
    await _ended(town, service, task)
    for pattern in (f"inbox:{ada}*", "announced:*", "attempts:*"):
        await redis.delete(*await redis.keys(pattern))
    stored = await town.sidecar.state.get("marker")
    assert stored is not None
    await town.sidecar.state.replace("marker", stored.value | {"run_id": "the run before"}, stored.etag)

    async def back() -> bool:
        assert await service.ready()
        return bool((await service.inbox(ada))["items"])

    await eventually(back)
    await service.hear_due(task)
    await asyncio.sleep(1.2)
    assert len(town.sink.mails) == 1
    marker = await town.sidecar.state.get("marker")
    assert marker is not None
    assert marker.value["generation"] == stored.value["generation"]
    assert marker.value["run_id"] != "the run before"


async def test_after_a_restore_of_postgresql_no_inbox_tells_of_what_never_happened(
    redis: Redis, redis_url: str, sink: Sink
) -> None:
    """Redis knows a future: a task that is gone, one that was closed in it, a mail that was not wanted then."""
    town = Town(redis_url, sink, contact_cache_seconds=0)
    async with Running(town) as service:
        await eventually(service.ready)
        await _restored(town, service, redis)


async def _restored(town: Town, service: Running, redis: Redis) -> None:
    ada, lock = town.person(), RedisLock(redis, "notifier:rebuild-lock")
    kept, lost, unwanted = (town.task(ada, title=title) for title in ("Kept", "Lost", "Unwanted"))
    for number, task in enumerate((kept, lost), start=1):
        await service.hear_due(task)
        await _told(town, "inbox", number)
        await _told(town, "email", number)
    assert await service.hear("task-completed", completed(kept)) == "SUCCESS"
    town.prefer(ada, channels=["inbox"])
    await service.hear_due(unwanted)
    await _told(town, "email", 3)
    assert town.outcomes("email")[2] == "cancelled"

    # The backup is from before: one reminder had fired, the preference was another, the second task was not there.
    town.prefer(ada)
    town.sidecar.fired[:] = [one for one in town.sidecar.fired if one.task_id == kept.task_id]
    town.sidecar.on_invoke(TASK_API, f"/internal/v1/tasks/{lost.task_id}", status=404)
    town.sidecar.on_invoke(TASK_API, "/internal/v1/epoch", json={"epoch": 2})
    assert await RedisPast(redis, lock).forget_before(2) is False, "not without the lock"
    assert len((await service.inbox(ada))["items"]) == 3
    town.sidecar.state.flush()  # noticed at once: the epoch is asked for now and then
    await _whole(town, service)
    (entry,) = (await service.inbox(ada))["items"]
    assert (entry["title"], entry["cleared"], entry["read_at"]) == ("Kept", False, None)
    # What had not fired fires again, and now the mail is wanted; what had is told of no more.
    for task in (kept, unwanted):
        await service.hear_due(task)
    await eventually(lambda: _mails(town, 3))
    assert [item["title"] for item in (await service.inbox(ada))["items"]] == ["Unwanted", "Kept"]


async def _mails(town: Town, number: int) -> bool:
    return len(town.sink.mails) >= number


async def test_a_rebuild_of_the_same_postgresql_keeps_what_is_known_to_be_sent(
    town: Town, service: Running, redis: Redis
) -> None:
    """Its outcome may be on its way to task-api still: nothing but Redis knows of it."""
    ada = town.person()
    task = town.task(ada)
    await service.hear_due(task)
    await _told(town, "email", 1)
    town.sidecar.fired.clear()
    town.sidecar.state.flush()
    await _whole(town, service)
    await service.hear_due(task)
    await service.tick()
    await asyncio.sleep(0.5)
    assert await _mails(town, 1)
    assert not await _mails(town, 2)


async def _hear_made(running: Running, *tasks: TaskSnapshot) -> None:
    for task in tasks:
        assert await running.hear("task-created", task) == "SUCCESS"


async def test_words_on_occurrences_come_back_in_their_place_and_nothing_goes_out_twice(
    town: Town, service: Running, redis: Redis
) -> None:
    """Told before and after a reminder, one of them read, one withdrawn since; one of somebody who never asked."""
    ada, bob = town.person(generated=True), town.person("bob@example.org")
    first = town.make(ada, title="First")
    await _hear_made(service, first)
    await _told(town, "inbox", 1)
    reminded = town.task(ada, title="Between")
    await service.hear_due(reminded)
    await _told(town, "inbox", 2)
    gone, last = town.make(ada, title="Gone"), town.make(ada, title="Last")
    unasked = town.make(bob, title="Of somebody who did not ask")
    await _hear_made(service, gone)
    await _told(town, "inbox", 3)
    await _hear_made(service, last, unasked)
    await _told(town, "inbox", 4)
    await service.hear("task-updated", town.commit(withdrawn(gone)))

    # Mail about occurrences waits for others; all of it is one mail.
    async def mailed() -> bool:
        return len(town.outcomes("email")) >= 4

    await eventually(mailed, 60)
    mails = len(town.sink.mails)
    (read,) = [one["id"] for one in (await service.inbox(ada))["items"] if one["title"] == "Last"]
    await service.call(ada, "POST", f"/{read}/read")

    async def told() -> bool:
        return bool(town.sidecar.events("notification-read"))

    await eventually(told)
    before = await service.inbox(ada)
    async with Running(town) as second:
        await eventually(second.ready)
        await _wipe(town, redis)
        await _whole(town, service)
        await _whole(town, second)
        for running in (service, second):
            await _hear_made(running, first, gone, last, unasked)
        after = await second.inbox(ada)
        assert _shown(after) == _shown(before)
        assert [(item["title"], item["reminder_id"] is None) for item in after["items"]] == [
            ("Last", True), ("Gone", True), ("Between", False), ("First", True)
        ]  # fmt: skip
        assert after["unread"] == before["unread"] == 2
        assert (await second.inbox(bob))["items"] == []
        await asyncio.sleep(1.5)
    assert len(town.sink.mails) == mails
    assert town.outcomes("inbox") == ["delivered"] * 4


async def test_a_word_that_was_under_way_goes_out_once(town: Town, service: Running, redis: Redis) -> None:
    """In the inbox already, and no mail yet; or nowhere yet. Nobody hears of it who did not ask."""
    ada, bob = town.person(generated=True), town.person("bob@example.org")
    heard = town.make(ada, title="Heard")
    await _hear_made(service, heard)
    await _told(town, "inbox", 1)
    fresh, unasked = town.make(ada, title="Fresh"), town.make(bob, title="Not asked for")
    assert town.outcomes("email") == []
    await _wipe(town, redis)
    await _whole(town, service)
    await _hear_made(service, heard, fresh, unasked)
    await _told(town, "inbox", 2)

    async def mailed() -> bool:
        return len(town.outcomes("email")) >= 2

    await eventually(mailed, 60)
    assert [item["title"] for item in (await service.inbox(ada))["items"]] == ["Fresh", "Heard"]
    assert (await service.inbox(bob))["items"] == []
    assert {str(mail["To"]) for mail in town.sink.mails} == {"ada@example.org"}
    assert town.outcomes("inbox") == ["delivered"] * 2
    assert town.outcomes("email") == ["delivered"] * 2


async def test_an_occurrence_made_again_elsewhere_has_its_own_word(
    town: Town, service: Running, redis: Redis
) -> None:
    """Withdrawn and made again at another slot while it was put back: told of at that one, and of the first no more."""
    ada = town.person(generated=True)
    task = town.make(ada, title="Moved", occurrence_key="2026-01-05")
    await _hear_made(service, task)
    await _told(town, "inbox", 1)
    town.sidecar.gate.clear()
    await _wipe(town, redis)

    async def begun() -> bool:
        marker = await town.sidecar.state.get("marker")
        return marker is not None and marker.value["run_id"] == "rebuilding"

    await eventually(begun)
    gone = withdrawn(task)
    assert await service.hear("task-updated", gone) == "SUCCESS"
    again = town.note_made(made_again(gone, occurrence_key="2026-01-12", updated_at=datetime.now(UTC)))
    assert await service.hear("task-updated", again) == "RETRY"
    town.sidecar.gate.set()
    await _whole(town, service)
    await _hear_made(service, again, task)
    await _told(town, "inbox", 2)
    page = await service.inbox(ada)
    assert len({item["id"] for item in page["items"]}) == len(page["items"]) == 2
    assert town.outcomes("inbox") == ["delivered"] * 2
