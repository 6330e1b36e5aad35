"""The service put together: routes, tokens, outcomes, health, settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Self
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from tests.unit.recurrence.conftest import NEXT_MONDAY, NOW, USER, closed, instance_of, series_of

from event_contracts.envelope import CloudEvent
from event_contracts.tasks import TaskSnapshot
from event_contracts.topics import consumed_by
from event_contracts.users import UserDeleted
from recurrence.app import build
from recurrence.settings import RecurrenceSettings
from service_kit.settings import load_settings
from service_kit.testing.fakes import InMemoryStateStore, ManualClock, RecordingSidecar

TOKEN = {"dapr-api-token": "app-token"}


class StandInRedis:
    """As much of Redis as the service uses when nothing is due."""

    def __init__(self) -> None:
        self.added: dict[str, float] = {}

    async def ping(self) -> bool:
        return True

    async def info(self, section: str) -> dict[str, Any]:
        return {"run_id": "run-1"}

    async def set(self, *_: Any, **__: Any) -> bool:
        return True

    def register_script(self, script: str) -> Any:
        class Script:
            sha = "0" * 40

            async def __call__(self, keys: Any = (), args: Any = ()) -> list[Any]:
                return [0, 0, []]

        return Script()

    def pipeline(self, transaction: bool = True) -> Any:
        return StandInPipeline(self)

    async def aclose(self) -> None:
        """Nothing to close."""


class StandInPipeline:
    def __init__(self, redis: StandInRedis) -> None:
        self._redis = redis
        self._answers: list[Any] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def zadd(self, key: str, scores: dict[str, float], nx: bool = False) -> None:
        self._redis.added |= scores
        self._answers.append(len(scores))

    def zrange(self, *_: Any, **__: Any) -> None:
        self._answers.append([])

    def evalsha(self, *_: Any) -> None:
        self._answers.append([0, 0, []])

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        return self._answers


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> RecurrenceSettings:
    """The settings from an environment with nothing but what must be set."""
    for name, value in {
        "APP_API_TOKEN": "app-token",
        "DAPR_API_TOKEN": "dapr-token",
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("APP_PORT", "SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)
    return load_settings(RecurrenceSettings)


@pytest.fixture
def sidecar() -> RecordingSidecar:
    """A sidecar behind which task-api is in epoch 1 and has no series."""
    made = RecordingSidecar()
    made.on_invoke("task-api", "/internal/v1/epoch", json={"epoch": 1})
    made.on_invoke("task-api", "/internal/v1/snapshot", json={"items": [], "next_cursor": None, "epoch": 1})
    return made


@pytest.fixture
def redis() -> StandInRedis:
    """Redis's stand-in."""
    return StandInRedis()


@pytest.fixture
async def app(settings: RecurrenceSettings, sidecar: RecordingSidecar, redis: StandInRedis) -> FastAPI:
    return build(
        settings,
        redis=redis,  # type: ignore[arg-type]
        sidecar=sidecar,
        documents=InMemoryStateStore(),
        clock=ManualClock(NOW),
    )


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the running app, once it is ready."""
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as made,
    ):
        for _ in range(200):
            if (await made.get("/health/ready")).status_code == 200:
                break
        yield made


def event(data: TaskSnapshot | UserDeleted, event_type: str) -> bytes:
    return CloudEvent[Any](id="1", source="/task-api", type=event_type, time=NOW, data=data).encode()


async def test_it_becomes_ready_when_the_documents_are_complete(
    settings: RecurrenceSettings, sidecar: RecordingSidecar, redis: StandInRedis
) -> None:
    sidecar.unavailable = True
    app = build(settings, redis=redis, sidecar=sidecar, documents=InMemoryStateStore())  # type: ignore[arg-type]
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client,
    ):
        health = await client.get("/health")
        assert health.status_code == 503
        named = {one["name"]: one["available"] for one in health.json()["dependencies"]}
        assert named == {"redis": True, "documents": False, "sidecar": False}
        assert (await client.get("/health/live")).status_code == 200


async def test_it_subscribes_to_what_the_registry_says(client: httpx.AsyncClient) -> None:
    subscriptions = (await client.get("/dapr/subscribe", headers=TOKEN)).json()
    assert {one["topic"] for one in subscriptions} == {topic.name for topic in consumed_by("recurrence")}
    assert {one["deadLetterTopic"] for one in subscriptions} == {"recurrence-dlq"}


async def test_a_completion_becomes_a_proposal(
    client: httpx.AsyncClient, sidecar: RecordingSidecar, redis: StandInRedis
) -> None:
    series = series_of()
    done = closed(instance_of(series), 2)
    sidecar.on_invoke(
        "task-api", f"/internal/v1/series/{series.series_id}", json=series.model_dump(mode="json")
    )
    answer = await client.post(
        "/events/task-completed", content=event(done, "task.completed.v1"), headers=TOKEN
    )
    assert answer.json() == {"status": "SUCCESS"}
    (sent,) = sidecar.events("recurring-task-generated")
    assert sent["data"]["occurrence_key"] == NEXT_MONDAY
    assert list(redis.added) == [f"{series.series_id.hex}:{done.task_id.hex}:2"]


async def test_trouble_with_task_api_is_retried(client: httpx.AsyncClient, sidecar: RecordingSidecar) -> None:
    done = closed(instance_of(series_of()), 2)
    sidecar.unavailable = True
    answer = await client.post("/events/task-updated", content=event(done, "task.updated.v1"), headers=TOKEN)
    assert answer.json() == {"status": "RETRY"}


async def test_what_does_not_parse_is_dropped(client: httpx.AsyncClient) -> None:
    answer = await client.post("/events/series-updated", content=b"{}", headers=TOKEN)
    assert answer.json() == {"status": "DROP"}


async def test_a_new_epoch_makes_it_doubt_itself(
    client: httpx.AsyncClient, sidecar: RecordingSidecar
) -> None:
    done = closed(instance_of(series_of(epoch=2)), 2)
    answer = await client.post("/events/task-updated", content=event(done, "task.updated.v1"), headers=TOKEN)
    assert answer.json() == {"status": "RETRY"}
    sidecar.on_invoke("task-api", "/internal/v1/epoch", json={"epoch": 2})


async def test_a_deleted_user_is_noted(client: httpx.AsyncClient) -> None:
    gone = UserDeleted(user_id=UUID(int=1), deleted_at=NOW)
    answer = await client.post("/events/user-deleted", content=event(gone, "user.deleted.v1"), headers=TOKEN)
    assert answer.json() == {"status": "SUCCESS"}
    assert gone.user_id != USER


@pytest.mark.parametrize(
    "headers", [{}, {"dapr-api-token": "guess"}, TOKEN | {"dapr-caller-app-id": "notifier"}]
)
async def test_nobody_but_the_own_sidecar_gets_in(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert (await client.post("/events/task-created", content=b"{}", headers=headers)).status_code == 403
    assert (await client.post("/recurrence-cron", headers=headers)).status_code == 403


async def test_the_rule_routes_are_served_to_users_alone(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/v1/recurrence/preview", json={})).status_code == 401


async def test_the_cron_tick_answers_exactly_200(client: httpx.AsyncClient) -> None:
    assert (await client.options("/recurrence-cron", headers=TOKEN)).status_code == 200
    assert (await client.post("/recurrence-cron", headers=TOKEN)).status_code == 200


async def test_the_settings_have_this_services_name_and_port(settings: RecurrenceSettings) -> None:
    assert (settings.service_name, settings.app_port) == ("recurrence", 8002)


async def test_metrics_are_served(client: httpx.AsyncClient) -> None:
    text = (await client.get("/metrics")).text
    for name in (
        "occurrences_generated_total",
        "recurrence_sweep_checks_total",
        "recurrence_evaluation_seconds",
        "recurrence_expansion_bound_total",
    ):
        assert name in text
