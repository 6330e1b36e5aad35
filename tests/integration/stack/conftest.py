"""One running stack for all tests of this folder, with probe applications in place of the services."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stack import TASKSTREAM, Catalogue, Instance

HERE = Path(__file__).parent
NAME = "stack-test"
PROBES = Catalogue(
    services=tuple(replace(service, module="probe_app", migrate=False) for service in TASKSTREAM.services),
    topics_command=TASKSTREAM.topics_command,
    exporter_command=TASKSTREAM.exporter_command,
)


@pytest.fixture(scope="package")
def probes() -> Callable[[str], Instance]:
    """Makes an instance, by its name, whose services are probe applications."""
    return lambda name: Instance(name, catalogue=PROBES)


def probe_settings() -> dict[str, str]:
    """Settings that make every probe subscribe to task-created."""
    subscription = {
        "pubsubname": "pubsub",
        "topic": "task-created",
        "route": "/events/task-created",
        "deadLetterTopic": "reminders-dlq",
    }
    return {"PYTHONPATH": str(HERE), "PROBE_SUBSCRIPTIONS": json.dumps([subscription])}


@pytest.fixture(scope="package")
def running(probes: Callable[[str], Instance]) -> Iterator[Instance]:
    """Infrastructure, two replicas of task-api and one of reminders, each with its sidecar."""
    instance = probes(NAME)
    try:
        instance.up(
            services=["task-api", "reminders"], replicas={"task-api": 2}, env=probe_settings(), fresh=True
        )
        yield instance
    finally:
        instance.down(wipe=True)
