"""A running stack: what listens, what the components allow, what crashes and pauses do."""

from __future__ import annotations

import json
import smtplib
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from stack import Instance
from stack.errors import NotRunningError, StackError

EXPECTED = [
    "postgres", "redis", "kafka", "smtp", "exporter",
    "task-api", "task-api.dapr", "task-api-2", "task-api-2.dapr", "reminders", "reminders.dapr",
]  # fmt: skip


def eventually(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Fails unless it holds at some moment within the time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.05)


def publish(instance: Instance, app: str, topic: str, data: dict[str, Any], event_id: str) -> int:
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": app,
        "type": "probe.v1",
        "datacontenttype": "application/json",
        "data": data,
    }
    return httpx.post(
        f"{instance.dapr_url(app)}/v1.0/publish/pubsub/{topic}",
        content=json.dumps(event),
        headers={"content-type": "application/cloudevents+json", "dapr-api-token": instance.dapr_api_token},
    ).status_code


def seen(instance: Instance, service: str = "reminders") -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{instance.app_url(service)}/seen").json()
    return found


def invoked_port(instance: Instance) -> int | None:
    """The application port of the task-api replica that reminders' sidecar found; None on a failure."""
    answer = httpx.get(
        f"{instance.dapr_url('reminders')}/v1.0/invoke/task-api/method/seen",
        headers={"dapr-api-token": instance.dapr_api_token},
        timeout=5,
    )
    return int(answer.json()["port"]) if answer.status_code == 200 else None


def test_everything_runs_and_listens_on_loopback_alone(running: Instance) -> None:
    lines = {line.name: line for line in running.status()}
    assert list(lines) == EXPECTED
    assert {line.state for line in lines.values()} == {"running"}
    outside = [
        address[4][0]
        for address in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        if not str(address[4][0]).startswith("127.")
    ]
    for line in lines.values():
        for port in line.ports.values():
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                pass
            for host in outside:
                with pytest.raises(OSError), socket.create_connection((str(host), port), timeout=1):
                    pass


def test_the_exporter_sees_this_instances_kafka(running: Instance) -> None:
    url = running.env()["EXPORTER_URL"]
    assert url == f"http://{running.address('exporter')}"

    def looked() -> bool:
        metrics = httpx.get(f"{url}/metrics").text
        [at] = [
            line for line in metrics.splitlines() if line.startswith("kafka_looked_at_timestamp_seconds ")
        ]
        return time.time() - float(at.split()[1]) < 60 and 'dead_letters{consumer="reminders"}' in metrics

    eventually(looked, 20)


def test_a_second_up_changes_nothing(running: Instance) -> None:
    before = {line.name: line.pid for line in running.status()}
    options = running.options
    begun = time.monotonic()
    running.up(services=options.services, replicas=options.replicas, env=options.env)
    assert time.monotonic() - begun < 5
    assert {line.name: line.pid for line in running.status()} == before


def test_a_service_gets_its_settings_and_no_others(
    running: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    got = httpx.get(f"{running.app_url('reminders')}/env").json()
    expected = running.env("reminders")
    assert {key: got[key] for key in expected} == expected
    assert got["TEST_CLOCK"] == "false"
    assert "DATABASE_URL" not in got
    assert "DATABASE_URL" in httpx.get(f"{running.app_url('task-api', 2)}/env").json()


def test_scopes_decide_who_publishes_what(running: Instance) -> None:
    allowed = [("task-api", "task-created"), ("reminders", "reminder-due"), ("reminders", "reminders-dlq")]
    refused = [
        ("reminders", "task-created"), ("task-api", "reminder-due"),
        ("reminders", "notifier-dlq"), ("task-api", "made-up"),
    ]  # fmt: skip
    assert [publish(running, app, topic, {}, "scope") for app, topic in allowed] == [204] * len(allowed)
    assert [publish(running, app, topic, {}, "scope") for app, topic in refused] == [403] * len(refused)


def test_events_and_ticks_reach_the_application(running: Instance) -> None:
    assert publish(running, "task-api", "task-created", {"hello": "there"}, "delivery-1") == 204
    eventually(lambda: {"hello": "there"} in seen(running)["events"].get("task-created", []))
    eventually(lambda: seen(running)["ticks"].get("reminder-cron", 0) >= 2)


def test_a_failing_event_is_tried_again(running: Instance) -> None:
    publish(running, "task-api", "task-created", {"fail": True}, "failing")
    eventually(lambda: seen(running)["tries"].get("failing", 0) >= 3)


def test_only_consumers_have_the_state_store(running: Instance) -> None:
    def create(app: str) -> int:
        return httpx.post(
            f"{running.dapr_url(app)}/v1.0/state/statestore",
            json=[{"key": "once", "value": 1, "etag": "0", "options": {"concurrency": "first-write"}}],
            headers={"dapr-api-token": running.dapr_api_token},
        ).status_code

    assert [create("reminders"), create("reminders")] == [204, 409]
    assert create("task-api") == 500


def test_the_sidecar_asks_for_its_token(running: Instance) -> None:
    url = f"{running.dapr_url('reminders')}/v1.0/metadata"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"dapr-api-token": running.dapr_api_token}).status_code == 200


def test_mail_is_kept_and_read(running: Instance) -> None:
    host, _, port = running.address("smtp").partition(":")
    with smtplib.SMTP(host, int(port), timeout=5) as client:
        client.sendmail("a@taskstream.example", ["ada@taskstream.example"], "Subject: hello\r\n\r\nbody\r\n")
    [mail] = running.mail("ada@taskstream.example", wait=2)
    assert (mail.subject, mail.text.strip()) == ("hello", "body")
    assert running.mail("bob@taskstream.example") == []


def test_replicas_are_found_and_a_killed_one_is_forgotten(running: Instance) -> None:
    first, second = (int(running.app_url("task-api", replica).rpartition(":")[2]) for replica in (1, 2))
    found = Counter(invoked_port(running) for _ in range(20))
    assert set(found) == {first, second}

    running.kill("task-api.dapr")
    assert not running.is_running("task-api.dapr")
    assert running.is_running("task-api")
    eventually(lambda: {invoked_port(running) for _ in range(5)} == {second}, 5)

    running.restart("task-api.dapr")
    eventually(lambda: first in {invoked_port(running) for _ in range(10)})


def test_a_killed_service_comes_back_alone(running: Instance) -> None:
    sidecar = [line.pid for line in running.status() if line.name == "reminders.dapr"]
    running.kill("reminders")
    assert not running.is_running("reminders")
    assert [line.state for line in running.status() if line.name == "reminders"] == ["stopped"]
    with pytest.raises(NotRunningError, match="reminders is not running"):
        running.kill("reminders")
    running.restart("reminders")
    assert seen(running)["port"]
    assert [line.pid for line in running.status() if line.name == "reminders.dapr"] == sidecar


def test_a_paused_store_answers_nothing_and_goes_on_afterwards(running: Instance) -> None:
    host, _, port = running.address("redis").partition(":")
    ping = f"AUTH {running.identity.redis_password}\r\nPING\r\n".encode()
    running.pause("redis")
    assert [line.state for line in running.status() if line.name == "redis"] == ["paused"]
    with socket.create_connection((host, int(port)), timeout=1) as connection:
        connection.settimeout(0.3)
        connection.sendall(ping)
        with pytest.raises(TimeoutError):
            connection.recv(100)
        running.resume("redis")
        connection.settimeout(3)
        assert connection.recv(100).startswith(b"+OK")


def test_a_crashed_database_recovers(running: Instance) -> None:
    running.kill("postgres")
    running.restart("postgres")
    assert running.is_running("postgres")


def test_an_unknown_process_is_named_with_those_there_are(running: Instance) -> None:
    with pytest.raises(StackError, match=r"no process 'reminder'; it has postgres, .*reminders"):
        running.restart("reminder")
