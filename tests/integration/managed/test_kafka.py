"""The operators' command on a broker with SCRAM over TLS, with the variables that its pods are given."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.integration.managed.authority import Authority
from tests.integration.managed.conftest import Given

from event_contracts.topics import TOPICS
from service_kit.testing.waiting import eventually
from stack.ports import free_ports


def taskstream(environment: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "taskstream_cli", *words],
        env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def topics_job(given: Given) -> dict[str, str]:
    """The variables of a pod that has made the topics."""
    environment = given("taskstream-topics")
    done = taskstream(environment, "topics", "apply")
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in TOPICS)
    return environment


def test_what_speaks_to_kafka_is_let_in(topics_job: dict[str, str]) -> None:
    commands = {
        ("topics", "apply"): "topics: nothing to do",
        ("dlq", "list"): "no dead letters",
        ("dlq", "discard", "--all", "--reason", "none is there"): "",
        ("dlq", "replay", "--all", "--token", "x"): "",
    }
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda words: taskstream(topics_job, *words), commands)
    for said, done in zip(commands.values(), results, strict=True):
        assert (done.returncode, done.stderr) == (0, ""), done.args
        assert said in done.stdout


async def test_the_exporter_sees_the_broker(topics_job: dict[str, str], given: Given) -> None:
    (port,) = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "taskstream_cli", "exporter", "--listen", f"127.0.0.1:{port}",
        env={"PATH": os.environ["PATH"], **given("exporter")},
    )  # fmt: skip
    try:

        async def looked() -> bool:
            async with httpx.AsyncClient(trust_env=False) as client:
                try:
                    metrics = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
                except httpx.TransportError:
                    return False
            return 'consumer_lag_events{consumer="reminders",topic="task-created"} 0.0' in metrics

        await eventually(looked, seconds=30)
    finally:
        process.terminate()
        await process.wait()


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "password": (
        {"KAFKA_PASSWORD": "another"},
        "does not let us in (Authentication failed during authentication due to invalid credentials with SASL "
        "mechanism SCRAM-SHA-256): mend KAFKA_USERNAME, KAFKA_PASSWORD or KAFKA_SASL_MECHANISM.",
    ),
    "mechanism": (
        {"KAFKA_SASL_MECHANISM": "PLAIN"},
        "mend KAFKA_USERNAME, KAFKA_PASSWORD or KAFKA_SASL_MECHANISM.",
    ),
    "plaintext": ({"KAFKA_TLS": "false"}, "speaks TLS only: set KAFKA_TLS=true"),
    "nobody": (
        {"KAFKA_USERNAME": "", "KAFKA_PASSWORD": ""},
        "hangs up: where it asks for SASL, set KAFKA_USERNAME",
    ),
    "broker": (
        {"KAFKA_BOOTSTRAP": "127.0.0.1:9"},
        "does not answer: start it or set --bootstrap (KAFKA_BOOTSTRAP).",
    ),
    "system's authorities": ({"KAFKA_CA": ""}, "shows a certificate that is not to be trusted"),
}


def test_what_is_wrong_is_told_in_a_sentence(topics_job: dict[str, str], stranger: Authority) -> None:
    cases = {**WRONG, "authority": ({"KAFKA_CA": stranger.pem}, "certificate that is not to be trusted")}
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda case: taskstream({**topics_job, **case[0]}, "dlq", "list"), cases.values())
    for what, (_, said), done in zip(cases, cases.values(), results, strict=True):
        assert done.returncode == 1, what
        assert done.stderr.count("\n") == 1, done.stderr
        sentence = done.stderr.strip()
        assert sentence.startswith("Kafka at 127.0.0.1:"), what
        assert said in sentence
