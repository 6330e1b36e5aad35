"""Whatever is sent is part of the trace of what had it sent: spans that were really exported, lines that were really
written."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from tests.integration.notifier.receiver import Receiver
from tests.integration.notifier.running import Running, Town
from tests.integration.notifier.sink import Sink
from tests.integration.notifier.test_destinations import webhook
from tests.unit.notifier.samples import completed, occurrence, reopened

from service_kit.clock import RedisOffsetClock
from service_kit.logs import configure_logs
from service_kit.telemetry import configure_telemetry, shutdown_telemetry
from service_kit.testing.logging_restored import logging_restored
from service_kit.testing.spans import SentSpan, SpanCollector, collecting_spans, path_between
from service_kit.testing.waiting import eventually


class Story:
    """One request somewhere else, whose events carry its trace and its correlation id."""

    def __init__(self) -> None:
        self.trace = uuid4().hex
        self.correlation = f"request-{uuid4()}"

    @property
    def envelope(self) -> dict[str, str]:
        traceparent = f"00-{self.trace}-00f067aa0ba902b7-01"
        return {"traceparent": traceparent, "traceid": traceparent, "correlationid": self.correlation}


class Recorded:
    """What the collector has when everything was sent."""

    def __init__(self, collector: SpanCollector) -> None:
        shutdown_telemetry()
        self.spans = collector.spans()

    def one(self, name: str, story: Story | None = None) -> SentSpan:
        (found,) = self.all(name, story)
        return found

    def all(self, name: str, story: Story | None = None) -> list[SentSpan]:
        return [
            one for one in self.spans if one.name == name and (story is None or one.trace_id == story.trace)
        ]

    def path(self, above: SentSpan, below: SentSpan) -> list[str] | None:
        path = path_between(self.spans, above, below)
        return None if path is None else [one.name for one in path]


@pytest_asyncio.fixture(loop_scope="session")
async def town(redis: Redis, redis_url: str, sink: Sink) -> Town:
    return Town(redis_url, sink)


@pytest.fixture
def collector(town: Town) -> Iterator[SpanCollector]:
    with collecting_spans() as running:
        configure_telemetry(
            town.settings.model_copy(
                update={"otel_exporter_otlp_endpoint": running.url, "trace_sample_ratio": 1.0}
            )
        )
        yield running
        shutdown_telemetry()


@pytest_asyncio.fixture(loop_scope="session")
async def service(town: Town, collector: SpanCollector) -> AsyncIterator[Running]:
    async with Running(town) as running:
        await eventually(running.ready)
        yield running


async def told(
    town: Town, channel: str, number: int, meanwhile: Callable[[], Awaitable[None]] | None = None
) -> list[dict[str, Any]]:
    """The notification-delivered events that tell of an end on a channel, once there are so many."""

    async def there() -> list[dict[str, Any]]:
        if meanwhile is not None:
            await meanwhile()
        events = {
            one["id"]: one
            for one in town.sidecar.events("notification-delivered")
            if one["data"]["channel"] == channel and one["data"]["outcome"] != "to_be_repeated"
        }
        return list(events.values()) if len(events) >= number else []

    return await eventually(there)


def assert_carried_on(event: dict[str, Any], story: Story, by: SentSpan) -> None:
    """The event goes on from this span, in the story's trace and with its correlation id."""
    assert event["traceparent"] == event["traceid"] == f"00-{story.trace}-{by.span_id}-01"
    assert event["correlationid"] == story.correlation


async def test_from_the_news_to_the_mail_and_the_word_on_it(
    town: Town, service: Running, collector: SpanCollector
) -> None:
    story = Story()
    await service.hear_due(town.task(town.person()), **story.envelope)
    (mail,), (entry,) = await told(town, "email", 1), await told(town, "inbox", 1)
    await service.stop()

    recorded = Recorded(collector)
    news = recorded.one("reminder-due process", story)
    for channel, event in (("email", mail), ("inbox", entry)):
        sending = recorded.one(f"send {channel}", story)
        expected = ["reminder-due process", f"deliver {channel}", f"send {channel}"]
        assert recorded.path(news, sending) == expected
        deliver = recorded.one(f"deliver {channel}", story)
        assert deliver.attributes["taskstream.notification_id"] == event["data"]["notification_id"]
        assert_carried_on(event, story, deliver)


async def mail_is_away(town: Town, service: Running) -> Story:
    """A reminder is due, its inbox entry is there, and its mail cannot be sent."""
    story = Story()
    await town.sink.stop()
    await service.hear_due(town.task(town.person()), **story.envelope)
    await told(town, "inbox", 1)
    return story


async def test_a_try_that_failed_and_the_next_are_of_one_trace(
    town: Town, service: Running, collector: SpanCollector, redis: Redis
) -> None:
    story = await mail_is_away(town, service)

    async def tried() -> int:
        kept = [await redis.hget(key, "attempts") for key in await redis.keys("delivery:*email")]
        return int(kept[0] or 0) if kept else 0

    await eventually(tried)
    await town.sink.start()
    (mail,) = await told(town, "email", 1, partial(service.pass_time, redis, timedelta(seconds=5)))
    await service.stop()
    recorded = Recorded(collector)
    *failed, sent = recorded.all("send email", story)
    assert failed
    assert [one.has_failed for one in (*failed, sent)] == [True] * len(failed) + [False]
    *tries, last = recorded.all("deliver email", story)
    assert_carried_on(mail, story, last)
    by_mail = [
        one for one in town.sidecar.events("notification-delivered") if one["data"]["channel"] == "email"
    ]
    repeated = [one for one in by_mail if one["data"]["outcome"] == "to_be_repeated"]
    assert [one["data"]["attempt"] for one in repeated] == list(range(1, len(failed) + 1))
    for one, by in zip(repeated, tries, strict=True):
        assert_carried_on(one, story, by)


async def test_a_lane_goes_on_from_what_was_spread(
    town: Town, service: Running, collector: SpanCollector, receivers: Callable[[], Awaitable[Receiver]]
) -> None:
    story, receiver = Story(), await receivers()
    ada = town.person(channels=["webhook"], webhooks=[webhook(receiver.url)])
    await service.hear_due(town.task(ada), **story.envelope)
    (event,) = await told(town, "webhook", 1)
    await service.stop()
    recorded = Recorded(collector)
    news, sending = recorded.one("reminder-due process", story), recorded.one("send webhook", story)
    path = ["reminder-due process", "deliver webhook", "deliver webhook", "send webhook"]
    assert recorded.path(news, sending) == path
    (deliver,) = [one for one in recorded.all("deliver webhook", story) if one.span_id == sending.parent_id]
    assert_carried_on(event, story, deliver)


async def test_what_is_given_up_untried_says_so_in_its_own_trace(
    town: Town,
    service: Running,
    collector: SpanCollector,
    receivers: Callable[[], Awaitable[Receiver]],
    redis: Redis,
) -> None:
    receiver = await receivers()
    receiver.status = 500
    ada = town.person(channels=["webhook"], webhooks=[webhook(receiver.url)])
    stories = {}
    for _ in range(8):
        task = town.task(ada)
        stories[str(task.task_id)] = story = Story()
        await service.hear_due(task, **story.envelope)

    async def closed_with_all_in_it() -> bool:
        # The time of one begins when it comes into the lane: after the leap it would have all of it before it.
        notes = [await redis.hget(key, "closed_until") for key in await redis.keys("lane:webhook:*")]
        return any(int(until or 0) for until in notes) and len(await redis.keys("delivery:*:webhook:*")) == 8

    await eventually(closed_with_all_in_it)
    await service.pass_time(redis, timedelta(hours=25))
    events = await told(town, "webhook", 8)
    await service.stop()
    recorded = Recorded(collector)
    swept = [one for one in events if "did not answer for too long" in one["data"]["reason"]]
    assert swept
    for event in swept:
        story = stories[event["data"]["task_id"]]
        assert_carried_on(event, story, recorded.one("give up webhook", story))


async def test_an_occurrence_goes_on_by_way_of_the_inbox(
    town: Town, service: Running, collector: SpanCollector, redis: Redis
) -> None:
    story = Story()
    task = town.commit(occurrence(user_id=town.person(generated=True)))
    assert await service.hear("task-created", task, **story.envelope) == "SUCCESS"
    await _held(redis, followers=0)
    await service.pass_time(redis, timedelta(seconds=11))
    (mail,) = await told(town, "email", 1)
    await service.stop()
    recorded = Recorded(collector)
    path = recorded.path(recorded.one("task-created process", story), recorded.one("send email", story))
    assert path == ["task-created process", "deliver inbox", "deliver email", "send email"]
    assert_carried_on(mail, story, recorded.all("deliver email", story)[-1])


async def test_a_digest_is_of_its_first_ones_trace_and_leads_to_the_others(
    town: Town, service: Running, collector: SpanCollector, redis: Redis
) -> None:
    now = await RedisOffsetClock(redis).now()
    hours = {"start": f"{now - timedelta(hours=1):%H:%M}", "until": f"{now + timedelta(hours=1):%H:%M}"}
    ada = town.person(quiet_hours=hours, late_policy="digest", timezone="UTC")
    stories = {}
    for number in range(2):
        task = town.task(ada, due_at=now + timedelta(days=1))
        stories[str(task.task_id)] = story = Story()
        await service.hear_due(task, **story.envelope)
        await _held(redis, followers=number)
    await service.pass_time(redis, timedelta(hours=1))
    events = await told(town, "email", 2)
    await service.stop()

    assert len(town.sink.mails) == 1
    recorded = Recorded(collector)
    sending = recorded.one("send email")
    (first,) = [story for story in stories.values() if story.trace == sending.trace_id]
    (second,) = [story for story in stories.values() if story is not first]
    (digest,) = [one for one in recorded.all("deliver email", first) if one.span_id == sending.parent_id]
    assert digest.links == (second.trace,)
    for event in events:
        story = stories[event["data"]["task_id"]]
        last = recorded.all("deliver email", story)[-1]
        assert_carried_on(event, story, last)


async def _held(redis: Redis, *, followers: int) -> None:
    async def held() -> bool:
        led = sum([await redis.scard(key) for key in await redis.keys("followers:*")])
        return led == followers and bool(await redis.keys("digests-of:*"))

    await eventually(held)


async def test_what_is_queued_again_is_of_the_trace_that_had_it_so(
    town: Town, service: Running, collector: SpanCollector, redis: Redis
) -> None:
    fired, put_back = Story(), Story()
    task = town.task(town.person())
    done = town.commit(completed(task))
    await service.hear_due(task, **fired.envelope)
    (cancelled,) = await told(town, "email", 1)
    assert cancelled["correlationid"] == fired.correlation

    async def over() -> bool:
        return not await redis.keys("delivery:*")

    await eventually(
        over
    )  # until then who cancelled it, on any channel, asks again, and would queue it anew itself
    again = town.commit(reopened(done))
    assert await service.hear("task-updated", again, **put_back.envelope) == "SUCCESS"
    *_, mail = await told(town, "email", 2)
    await service.stop()
    recorded = Recorded(collector)
    assert recorded.all("send email", fired) == []
    path = recorded.path(recorded.one("task-updated process", put_back), recorded.one("send email", put_back))
    assert path == ["task-updated process", "deliver email", "send email"]
    assert_carried_on(mail, put_back, recorded.one("deliver email", put_back))


async def test_what_an_older_release_queued_is_sent_in_a_trace_of_its_own(
    town: Town, service: Running, collector: SpanCollector, redis: Redis
) -> None:
    story = await mail_is_away(town, service)

    async def as_it_was() -> bool:
        (key,) = await redis.keys("delivery:*:email")
        await redis.hdel(key, "traceparent", "correlation")
        return await redis.hget(key, "attempts") is not None

    await eventually(as_it_was)
    await town.sink.start()
    (mail,) = await told(town, "email", 1, partial(service.pass_time, redis, timedelta(seconds=5)))
    await service.stop()
    sent = Recorded(collector).all("send email")[-1]
    assert not sent.has_failed
    assert sent.trace_id != story.trace
    assert mail["traceparent"].split("-")[1] == sent.trace_id
    assert mail["correlationid"] == mail["data"]["notification_id"]


@pytest.fixture
def logs_put_back() -> Iterator[None]:
    """Put the logging of the test run back."""
    with logging_restored():
        yield


@pytest.mark.usefixtures("logs_put_back")
async def test_every_line_of_it_tells_the_trace_and_the_correlation_id(
    town: Town, service: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs(town.settings)
    ada = town.person()
    stories = [Story() for _ in range(3)]
    ids: dict[str, Story] = {}
    for story in stories:
        task = town.task(ada)
        ids[str(task.task_id)] = story
        await service.hear_due(task, subject=str(task.task_id), **story.envelope)
    await told(town, "email", 3)
    await told(town, "inbox", 3)
    await service.stop()

    lines: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    handled = [line for line in lines if line["message"] == "event_handled"]
    ended = [line for line in lines if line["message"] == "delivery_ended"]
    assert not [line for line in lines if str(line.get("path")).startswith("/events")], "told of once"
    assert [line["topic"] for line in handled] == ["reminder-due"] * 3
    assert sorted(line["channel"] for line in ended) == ["email"] * 3 + ["inbox"] * 3
    for line in (*handled, *ended):
        story = ids[line.get("task_id") or line["subject"]]
        assert (line["trace_id"], line["correlation_id"]) == (story.trace, story.correlation)
