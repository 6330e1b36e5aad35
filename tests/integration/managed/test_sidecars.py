"""Sidecars on a provider's Kafka and Redis: what one publishes another delivers; on a wrong secret none starts."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.deploy.rendering import ROOT, Manifest
from tests.integration.managed.authority import Authority
from tests.integration.managed.conftest import Secrets
from tests.integration.managed.sidecars import ready, sidecar

from service_kit.testing.waiting import eventually
from stack.ports import free_ports
from taskstream_cli.topics import apply_topics

EVENT = {
    "specversion": "1.0", "id": "over-tls", "source": "task-api", "type": "probe.v1",
    "datacontenttype": "application/json", "data": {"hello": "there"},
}  # fmt: skip


@pytest.fixture
async def reminders_port() -> AsyncIterator[int]:
    """The port of an application that subscribes to task-created and shows at /seen what it was sent."""
    (port,) = free_ports(1)
    subscription = {
        "pubsubname": "pubsub", "topic": "task-created", "route": "/events/task-created",
        "deadLetterTopic": "reminders-dlq",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "tests/integration/stack/probe_app.py"),
        env={"PATH": os.environ["PATH"], "APP_HOST": "127.0.0.1", "APP_PORT": str(port),
             "PROBE_SUBSCRIPTIONS": json.dumps([subscription])},
    )  # fmt: skip

    async def answers() -> bool:
        try:
            await _delivered(port)
        except httpx.TransportError:
            return False
        return True

    try:
        await eventually(answers)
        yield port
    finally:
        process.terminate()
        await process.wait()


async def _delivered(port: int) -> list[Any]:
    """The data of each event that came to the application."""
    async with httpx.AsyncClient(trust_env=False) as client:
        events = (await client.get(f"http://127.0.0.1:{port}/seen")).json()["events"]
    return list(events.get("task-created", []))


@pytest.fixture
async def topics(secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = secrets["kafka-secret"]
    for name, value in {"TLS": "true", "CA": kafka["ca"], "USERNAME": kafka["username"],
                        "PASSWORD": kafka["password"]}.items():  # fmt: skip
        monkeypatch.setenv(f"KAFKA_{name}", value)
    await apply_topics(kafka["brokers"])


@pytest.mark.usefixtures("topics")
async def test_an_event_is_published_and_delivered(
    tmp_path: Path, cluster: list[Manifest], secrets: Secrets, reminders_port: int
) -> None:
    redis = secrets["redis-secret"]["ca"]
    both = ("pubsub", "statestore")
    async with (
        sidecar(tmp_path, "task-api", cluster, ("pubsub",), secrets) as publisher,
        sidecar(
            tmp_path, "reminders", cluster, both, secrets, app_port=reminders_port, authority=redis
        ) as consumer,
    ):
        await ready(publisher)
        answer = await publisher.client.post(
            "/v1.0/publish/pubsub/task-created",
            content=json.dumps(EVENT),
            headers={"content-type": "application/cloudevents+json"},
        )
        assert answer.status_code == 204, answer.text

        async def delivered() -> bool:
            return await _delivered(reminders_port) == [{"hello": "there"}]

        await eventually(delivered)
        document = [
            {"key": "over-tls", "value": {"a": 1}, "etag": "0", "options": {"concurrency": "first-write"}}
        ]
        assert (await consumer.client.post("/v1.0/state/statestore", json=document)).status_code == 204
        assert (await consumer.client.get("/v1.0/state/statestore/over-tls")).json() == {"a": 1}


@pytest.mark.parametrize(
    ("component", "secret", "key", "said"),
    [
        ("pubsub", "kafka-secret", "ca", "certificate signed by unknown authority"),
        ("pubsub", "kafka-secret", "password", "invalid credentials"),
        ("statestore", "redis-secret", "ca", "certificate signed by unknown authority"),
    ],
)
async def test_a_sidecar_does_not_start_on_a_store_that_it_cannot_trust(
    tmp_path: Path, cluster: list[Manifest], secrets: Secrets, stranger: Authority, component: str, secret: str,
    key: str, said: str,
) -> None:  # fmt: skip
    other = stranger.pem if key == "ca" else "another"
    changed = {**secrets, secret: {**secrets[secret], key: other}}
    async with sidecar(
        tmp_path, "reminders", cluster, (component,), changed, authority=changed["redis-secret"]["ca"]
    ) as running:
        # Asked at its port it could not be told from whoever got the port after it.
        await eventually(running.gave_up)
        assert await running.says(said)
