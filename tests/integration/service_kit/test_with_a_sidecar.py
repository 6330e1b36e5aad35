"""The kit and a real sidecar: a small service in this process, daprd beside it, Kafka and Redis behind it."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
import uvicorn
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from fastapi import Depends, FastAPI, Request
from pydantic import SecretStr
from starlette.middleware.base import RequestResponseEndpoint
from starlette.responses import Response
from tests.integration.real_sidecar import REPLICA, start_daprd

from event_contracts.envelope import CloudEvent
from event_contracts.reminders import ReminderDue
from event_contracts.topics import SERVICES, TOPICS, consumed_by, dead_letter_topic
from service_kit.cron import on_cron
from service_kit.health import Dependency, install_health
from service_kit.http_app import install_http
from service_kit.marker import MarkerStore
from service_kit.metrics import DELIVERIES_OFF
from service_kit.pubsub import Outcome, subscribe
from service_kit.settings import ServiceSettings
from service_kit.sidecar import Answer, Outgoing, PublishRejected, Sidecar, SidecarUnavailable
from service_kit.sidecar_auth import require_sibling
from service_kit.state_store import DocumentStore, Replacement, StateConflict, StateStore, Stored
from service_kit.telemetry import (
    bind_request,
    correlation_id,
    current_traceparent,
    request_id,
    span,
    unbind_request,
)
from service_kit.testing.fakes import InMemoryStateStore
from service_kit.testing.infrastructure import Infrastructure
from service_kit.testing.native_stack import NativeStack
from service_kit.testing.waiting import eventually

APP_ID = "reminders"
HEARD = [topic.name for topic in consumed_by(APP_ID)]
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
EXAMPLES = Path(__file__).parents[3] / "packages/event-contracts/examples"


@dataclass
class Probe:
    """The small service: what it got, and what it answers next, by event id."""

    settings: ServiceSettings
    sidecar: Sidecar
    received: dict[str, list[CloudEvent[Any]]]
    traces: dict[str, str | None]
    answers: dict[str, list[Outcome | Exception]]
    ticks: int = 0
    late_answers: int = 0
    """How many of the next answers to the sidecar's question, whether it may deliver, come too late."""

    async def handle(self, event: CloudEvent[Any]) -> Outcome:
        self.received[event.id].append(event)
        self.traces[event.id] = current_traceparent()
        answers = self.answers.get(event.id)
        answer = answers.pop(0) if answers else Outcome.SUCCESS
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def tick(self) -> None:
        self.ticks += 1

    def app(self) -> FastAPI:
        service = FastAPI()
        install_http(service, self.settings)
        install_health(service, self.settings, [Dependency("sidecar", self.sidecar.check, critical=False)])
        subscribe(service, self.settings, dict.fromkeys(HEARD, self.handle))
        on_cron(service, self.settings, "reminder-cron", self.tick)
        notifier, task_api = (
            [Depends(require_sibling(self.settings, app_id))] for app_id in ("notifier", "task-api")
        )

        @service.middleware("http")
        async def late(request: Request, answer: RequestResponseEndpoint) -> Response:
            if request.url.path == "/health/deliveries" and self.late_answers:
                self.late_answers -= 1
                await asyncio.sleep(3)
            return await answer(request)

        @service.get("/internal/who", dependencies=notifier)
        async def who(request: Request) -> str:
            return request.headers["dapr-caller-app-id"]

        @service.get("/internal/ids", dependencies=notifier)
        async def ids() -> list[str | None]:
            return [request_id(), correlation_id(), current_traceparent()]

        @service.get("/internal/not-for-notifier", dependencies=task_api)
        async def not_for_notifier() -> None:
            raise AssertionError("a stranger got in")

        return service


@pytest.fixture(scope="module")
def stack(infrastructure: Infrastructure) -> NativeStack:
    if not isinstance(infrastructure, NativeStack):
        pytest.skip("needs the sidecar of the native stack")
    return infrastructure


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bootstrap(stack: NativeStack) -> str:
    """Kafka with all topics of the registry."""
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    await admin.start()
    try:
        wanted = {topic.name: topic.partitions for topic in TOPICS.values()}
        wanted |= {dead_letter_topic(service): 1 for service in SERVICES}
        missing = wanted.keys() - set(await admin.list_topics())
        await admin.create_topics([NewTopic(name, wanted[name], 1) for name in missing])
    finally:
        await admin.close()
    return stack.kafka_bootstrap


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def probe(stack: NativeStack, bootstrap: str, tmp_path_factory: Any) -> AsyncIterator[Probe]:
    """The small service, served, with its sidecar ready and subscribed."""
    instance = stack.instance
    ports = instance.ports.replica(1, REPLICA)
    settings = ServiceSettings(
        service_name=APP_ID,
        app_port=ports.app,
        dapr_http_port=ports.dapr_http,
        app_api_token=SecretStr(instance.app_api_token),
        dapr_api_token=SecretStr(instance.dapr_api_token),
        redis_url=SecretStr(instance.redis_url),
    )
    small = Probe(settings, Sidecar(settings), defaultdict(list), {}, {})
    config = uvicorn.Config(small.app(), port=ports.app, log_config=None, access_log=False, ws="none")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    log = tmp_path_factory.mktemp("daprd") / "daprd.log"
    daprd = start_daprd(stack, log, APP_ID)
    try:
        try:
            await eventually(lambda: _subscribed(small.sidecar))
        except TimeoutError:
            pytest.fail(f"the sidecar did not get ready:\n{log.read_text()[-3000:]}")
        yield small
    finally:
        daprd.terminate()
        await asyncio.to_thread(daprd.wait, 20)
        server.should_exit = True
        await serving
        await small.sidecar.aclose()


async def _subscribed(sidecar: Sidecar) -> bool:
    try:
        return len((await sidecar.metadata()).get("subscriptions", [])) == len(HEARD)
    except SidecarUnavailable:
        return False


@pytest.fixture
def sidecar(probe: Probe) -> Sidecar:
    return probe.sidecar


# Publishing


def _due() -> CloudEvent[ReminderDue]:
    now = datetime.now(UTC)
    data = ReminderDue(reminder_id=uuid4(), task_id=uuid4(), user_id=uuid4(), fire_at=now, fired_at=now)
    return CloudEvent[ReminderDue](
        id=str(uuid4()),
        source="/reminders",
        type="reminder.due.v1",
        subject=str(data.task_id),
        time=now,
        traceid=TRACE,
        traceparent=TRACE,
        data=data,
    )


class Tail:
    """Reads a topic from where it ended when the test began."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def find(self, ids: set[str], seconds: float = 15) -> dict[str, Any]:
        """The records of these events, by event id; a dead letter may be a whole envelope as well."""
        found: dict[str, Any] = {}
        async with asyncio.timeout(seconds):
            while found.keys() < ids:
                record = await self._consumer.getone()
                for wanted in ids:
                    if wanted.encode() in record.value:
                        found[wanted] = record
        return found


@pytest_asyncio.fixture(loop_scope="session")
async def tail(bootstrap: str) -> AsyncIterator[Any]:
    opened: list[AIOKafkaConsumer] = []

    async def follow(topic: str) -> Tail:
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, enable_auto_commit=False)
        await consumer.start()
        opened.append(consumer)
        await consumer.seek_to_end()
        for partition in consumer.assignment():
            await consumer.position(partition)
        return Tail(consumer)

    yield follow
    for consumer in opened:
        await consumer.stop()


async def test_an_event_arrives_with_its_id_its_key_and_its_trace(sidecar: Sidecar, tail: Any) -> None:
    follower, event = await tail("reminder-due"), _due()
    await sidecar.publish("reminder-due", event.encode(), str(event.data.task_id))
    record = (await follower.find({event.id}))[event.id]
    arrived = CloudEvent[ReminderDue].model_validate_json(record.value)
    assert record.key.decode() == str(event.data.task_id)
    assert (arrived.id, arrived.type, arrived.data) == (event.id, event.type, event.data)
    assert arrived.traceid == TRACE


async def test_a_bulk_has_a_key_for_each_event(sidecar: Sidecar, tail: Any) -> None:
    follower, events = await tail("reminder-due"), [_due() for _ in range(50)]
    entries = [Outgoing(event.id, str(event.data.task_id), event.encode()) for event in events]
    result = await sidecar.publish_bulk("reminder-due", entries)
    assert sorted(result.accepted) == sorted(event.id for event in events)
    assert result.failed == {}
    records = await follower.find({event.id for event in events})
    for event in events:
        arrived = CloudEvent[ReminderDue].model_validate_json(records[event.id].value)
        assert records[event.id].key.decode() == str(event.data.task_id)
        assert (arrived.id, arrived.data, arrived.traceparent) == (event.id, event.data, TRACE)
    assert len({record.partition for record in records.values()}) > 1


async def test_a_topic_that_is_not_ours_is_refused(sidecar: Sidecar) -> None:
    event = _due()
    with pytest.raises(PublishRejected):
        await sidecar.publish("task-created", event.encode(), "k")
    with pytest.raises(PublishRejected):
        await sidecar.publish_bulk("task-created", [Outgoing("1", "k", event.encode())])


async def test_an_event_that_is_too_large_fails_alone(sidecar: Sidecar) -> None:
    small, large = _due(), _due()
    padded = large.encode()[:-1] + b',"padding":"' + b"x" * 1_100_000 + b'"}'
    result = await sidecar.publish_bulk(
        "reminder-due", [Outgoing("small", "k", small.encode()), Outgoing("large", "k", padded)]
    )
    assert "large" in result.failed
    assert "large" not in result.accepted


# Deliveries


@pytest_asyncio.fixture(loop_scope="session")
async def producer(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    sending = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await sending.start()
    yield sending
    await sending.stop()


async def _send(producer: AIOKafkaProducer, topic: str = "task-created", **changes: Any) -> str:
    """Put an example of a topic on the bus, under an id of its own."""
    text = (EXAMPLES / f"{TOPICS[topic].event_type}.json").read_text(encoding="utf-8")
    event = json.loads(text) | {"id": str(uuid4())} | changes
    await producer.send_and_wait(topic, json.dumps(event).encode(), key=event["subject"].encode())
    return str(event["id"])


async def _times(probe: Probe, event_id: str, count: int, seconds: float = 60) -> None:
    async def enough() -> bool:
        return len(probe.received[event_id]) >= count

    await eventually(enough, seconds=seconds)


async def test_an_event_is_delivered_once_with_its_trace(probe: Probe, producer: AIOKafkaProducer) -> None:
    event_id = await _send(producer, traceid=TRACE, traceparent=TRACE)
    await _times(probe, event_id, 1)
    following = await _send(producer)
    await _times(probe, following, 1)
    assert len(probe.received[event_id]) == 1
    assert str(probe.traces[event_id]).split("-")[1] == TRACE.split("-")[1]
    assert probe.received[event_id][0].data.title


@pytest.mark.parametrize("answer", [Outcome.RETRY, StateConflict("busy"), ZeroDivisionError("a bug")])
async def test_what_is_to_be_retried_comes_again(
    probe: Probe, producer: AIOKafkaProducer, answer: Outcome | Exception
) -> None:
    event_id = str(uuid4())
    probe.answers[event_id] = [answer, Outcome.SUCCESS]
    await _send(producer, id=event_id)
    await _times(probe, event_id, 2)


async def test_what_is_dropped_is_parked(probe: Probe, producer: AIOKafkaProducer, tail: Any) -> None:
    parked = await tail("reminders-dlq")
    unreadable = await _send(producer, data={"title": "not a snapshot"})
    dropped = str(uuid4())
    probe.answers[dropped] = [Outcome.DROP]
    await _send(producer, id=dropped)
    assert (await parked.find({unreadable, dropped})).keys() == {unreadable, dropped}
    assert probe.received[unreadable] == []


async def test_an_app_whose_answer_was_late_goes_on_hearing_every_topic(
    probe: Probe, producer: AIOKafkaProducer
) -> None:
    """daprd drops the subscriptions for a moment when an answer is late; with events under way it may lose topics over
    that. The app need not notice that it was late, so the sidecar's own sign has to be.
    """
    before = _times_resubscribed()
    under_way = str(uuid4())
    probe.answers[under_way] = [Outcome.RETRY] * 3
    await _send(producer, id=under_way)
    await _times(probe, under_way, 1)
    probe.late_answers = 1

    async def noticed() -> bool:
        return _times_resubscribed() == before + 1

    await eventually(noticed)
    for topic in HEARD:
        event_id = await _send(producer, topic)
        await _times(probe, event_id, 1)


def _times_resubscribed() -> float:
    return float(DELIVERIES_OFF.labels("resubscribed")._value.get())


async def test_only_the_sidecar_may_deliver(probe: Probe) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{probe.settings.app_port}") as stranger:
        for path in ("/events/task-created", "/reminder-cron"):
            assert (await stranger.post(path, content=b"{}")).status_code == 403
        assert (await stranger.get("/dapr/subscribe")).status_code == 403


@pytest_asyncio.fixture(loop_scope="session")
async def sibling(probe: Probe, stack: NativeStack, tmp_path: Path) -> AsyncIterator[Sidecar]:
    """The sidecar of another service of ours."""
    ports = stack.instance.ports.replica(stack.instance.catalogue.index("notifier"), REPLICA)
    other = Sidecar(
        probe.settings.model_copy(update={"service_name": "notifier", "dapr_http_port": ports.dapr_http})
    )
    daprd = start_daprd(stack, tmp_path / "daprd.log", "notifier", alone=True)
    try:
        await eventually(other.healthy)
        yield other
    finally:
        daprd.terminate()
        await asyncio.to_thread(daprd.wait, 20)
        await other.aclose()


async def _invoked(sibling: Sidecar, method: str, path: str) -> Answer:
    """The service's answer; asked again while its sidecar holds everything back, as when deliveries are off."""

    async def answer() -> Answer | None:
        try:
            return await sibling.invoke(APP_ID, method, path, json={} if method == "POST" else None)
        except SidecarUnavailable as error:
            if "not in a healthy state" not in str(error):
                raise
            return None

    found = await eventually(answer, every=0.2)
    assert found is not None
    return found


async def test_a_sibling_gets_in_where_siblings_may_and_nowhere_else(sibling: Sidecar) -> None:
    # The sidecar passes every invocation on with the service's own token; what tells it apart is the caller's name.
    assert (await _invoked(sibling, "GET", "/internal/who")).json() == "notifier"
    for method, path in (
        ("POST", "/events/task-created"),
        ("POST", "/reminder-cron"),
        ("GET", "/dapr/subscribe"),
        ("GET", "/internal/not-for-notifier"),
    ):
        answer = await _invoked(sibling, method, path)
        assert (path, answer.status_code) == (path, 403)


async def test_a_request_id_reaches_the_sibling(sibling: Sidecar) -> None:
    tokens = bind_request("request-7", "chain-7")
    with span("work", traceparent=TRACE):
        answer = await _invoked(sibling, "GET", "/internal/ids")
    unbind_request(tokens)
    assert answer.json()[:2] == ["request-7", "chain-7"]
    assert TRACE.split("-")[1] in answer.json()[2]


async def test_ticks_arrive(probe: Probe) -> None:
    before = probe.ticks

    async def ticked() -> bool:
        return probe.ticks >= before + 2

    # The test before may have turned deliveries off for a while, and ticks with them.
    await eventually(ticked)


async def test_the_sidecar_is_healthy_and_describes_itself(sidecar: Sidecar) -> None:
    assert await sidecar.healthy()
    found = (await sidecar.metadata())["subscriptions"]
    parked = {(one["topic"], one["deadLetterTopic"]) for one in found}
    assert parked == {(topic, "reminders-dlq") for topic in HEARD}


async def test_a_service_that_is_not_there_is_unavailable(sidecar: Sidecar) -> None:
    with pytest.raises(SidecarUnavailable):
        await sidecar.invoke("no-such-service", "GET", "/x", timeout=3.0)


# Documents: one behaviour, in memory and behind the sidecar


@pytest.fixture(params=["memory", "sidecar"])
def store(request: pytest.FixtureRequest) -> Iterator[DocumentStore]:
    if request.param == "memory":
        yield InMemoryStateStore()
    else:
        small: Probe = request.getfixturevalue("probe")
        yield StateStore(small.sidecar, small.settings.state_store_name)


@pytest.fixture
def key() -> str:
    return f"kit/{uuid4()}|with spaces & ünïcode"


async def test_a_document_is_made_once(store: DocumentStore, key: str) -> None:
    assert await store.get(key) is None
    await store.create(key, {"n": 1, "text": "Zoë", "at": None, "list": [1, 2]})
    assert await store.get(key) == Stored({"n": 1, "text": "Zoë", "at": None, "list": [1, 2]}, "1")
    with pytest.raises(StateConflict):
        await store.create(key, {"n": 2})
    assert (await store.get(key) or Stored({}, "")).value["n"] == 1


async def test_a_document_is_replaced_by_its_etag(store: DocumentStore, key: str) -> None:
    await store.create(key, {"n": 1})
    await store.replace(key, {"n": 2}, "1")
    with pytest.raises(StateConflict):
        await store.replace(key, {"n": 3}, "1")
    assert await store.get(key) == Stored({"n": 2}, "2")


async def test_a_document_that_is_gone_takes_any_etag(store: DocumentStore, key: str) -> None:
    await store.replace(key, {"n": 1}, "7")
    assert await store.get(key) == Stored({"n": 1}, "1")


async def test_a_document_is_deleted_by_its_etag(store: DocumentStore, key: str) -> None:
    await store.create(key, {"n": 1})
    with pytest.raises(StateConflict):
        await store.delete(key, "9")
    assert await store.get(key) is not None
    await store.delete(key, "1")
    assert await store.get(key) is None
    await store.delete(key, "1")


async def test_many_documents_are_read_at_once(store: DocumentStore, key: str) -> None:
    await store.create(f"{key}1", {"n": 1})
    await store.create(f"{key}2", {"n": 2})
    found = await store.get_many([f"{key}1", f"{key}2", f"{key}3"])
    assert found == {f"{key}1": Stored({"n": 1}, "1"), f"{key}2": Stored({"n": 2}, "1")}


async def test_many_documents_are_replaced_at_once_each_by_its_own_etag(
    store: DocumentStore, key: str
) -> None:
    await store.create(f"{key}1", {"n": 1})
    await store.create(f"{key}2", {"n": 2})
    await store.replace_many([Replacement(f"{key}1", {"n": 10}, "1"), Replacement(f"{key}2", {"n": 20}, "1")])
    assert await store.get_many([f"{key}1", f"{key}2"]) == {
        f"{key}1": Stored({"n": 10}, "2"),
        f"{key}2": Stored({"n": 20}, "2"),
    }
    with pytest.raises(StateConflict):
        await store.replace_many(
            [Replacement(f"{key}1", {"n": 11}, "1"), Replacement(f"{key}2", {"n": 21}, "2")]
        )
    # The one that was refused is as it was; the other may have been written.
    assert await store.get(f"{key}1") == Stored({"n": 10}, "2")
    await store.replace_many([])


async def test_of_many_who_write_at_once_one_wins(store: DocumentStore, key: str) -> None:
    await store.create(key, {"n": 0})
    writes = [store.replace(key, {"n": number}, "1") for number in range(8)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(one) for one in results].count(StateConflict) == 7
    assert (await store.get(key) or Stored({}, "")).etag == "2"


async def test_a_marker_is_kept(store: DocumentStore) -> None:
    markers = MarkerStore(store)
    made = await markers.create(1, "run")
    assert await markers.read() == made


async def test_a_document_has_the_time_to_live_of_its_last_write(
    probe: Probe, key: str, stack: NativeStack
) -> None:
    from redis.asyncio import Redis

    store = StateStore(probe.sidecar, probe.settings.state_store_name)
    async with Redis.from_url(stack.redis_url) as redis:
        stored_at = f"{APP_ID}||{key}"
        await store.create(key, {"n": 1}, ttl_seconds=100)
        assert 0 < await redis.ttl(stored_at) <= 100
        await store.replace(key, {"n": 2}, "1")
        assert await redis.ttl(stored_at) == -1
        await store.replace(key, {"n": 3}, "2", ttl_seconds=50)
        assert 0 < await redis.ttl(stored_at) <= 50
