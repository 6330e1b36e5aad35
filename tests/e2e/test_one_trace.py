"""One trace from a person's request through outbox, Kafka and each consumer to the mail, and back to task-api.

The spans are those that services and sidecars really sent to a collector. Each edge is a way from parent to parent: a
sidecar's own spans may lie between the two.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.e2e.conftest import Json, Person
from tests.e2e.eventually import eventually

from service_kit.testing.spans import SentSpan, SpanCollector, path_between
from stack import Instance

Edge = tuple[tuple[str, str], tuple[str, str]]

CREATE = ("task-api", "POST /api/v1/tasks")
COMPLETE = ("task-api", "POST /api/v1/tasks/{task_id}/complete")
HEARD = ("reminders", "task-created process")
FIRED = ("notifier", "reminder-due process")
DELIVER = ("notifier", "deliver email")

FROM_REQUEST_TO_MAIL: list[Edge] = [
    (CREATE, HEARD),
    (CREATE, ("recurrence", "task-created process")),
    (CREATE, ("notifier", "task-created process")),
    (HEARD, ("task-api", "reminder-scheduled process")),
    (HEARD, FIRED),
    (HEARD, ("task-api", "reminder-due process")),
    (FIRED, ("notifier", "deliver inbox")),
    (FIRED, DELIVER),
    # Asked for once by all channels that want to know at the same moment: in the trace of the first.
    (FIRED, ("task-api", "GET /internal/v1/tasks/{task_id}")),
    (DELIVER, ("notifier", "send email")),
    (DELIVER, ("task-api", "notification-delivered process")),
]
FROM_REQUEST_TO_SUCCESSOR: list[Edge] = [
    (COMPLETE, ("recurrence", "task-completed process")),
    (("recurrence", "task-completed process"), ("task-api", "recurring-task-generated process")),
    (("task-api", "recurring-task-generated process"), ("reminders", "task-created process")),
    (("task-api", "recurring-task-generated process"), ("notifier", "task-created process")),
]
HANDLED = {
    ("reminders", "task-created"), ("recurrence", "task-created"), ("notifier", "task-created"),
    ("notifier", "reminder-due"), ("task-api", "reminder-due"), ("task-api", "notification-delivered"),
}  # fmt: skip


class Request:
    """A client that begins a trace and names its correlation id."""

    def __init__(self) -> None:
        self.trace, self.span = secrets.token_hex(16), secrets.token_hex(8)
        self.correlation = f"e2e-{secrets.token_hex(8)}"

    async def send(self, person: Person, path: str, body: Json) -> Json:
        headers = {
            "traceparent": f"00-{self.trace}-{self.span}-01",
            "x-correlation-id": self.correlation,
        }
        answer = await person.client.post(path, json=body, headers=headers)
        assert answer.is_success, answer.text
        answered: Json = answer.json()
        return answered


def _missing(spans: list[SentSpan], edges: list[Edge]) -> list[Edge]:
    """The edges that no two of these spans have."""

    def named(name: tuple[str, str]) -> list[SentSpan]:
        return [one for one in spans if (one.service, one.name) == name]

    return [
        (above, below)
        for above, below in edges
        if not any(path_between(spans, one, other) for one in named(above) for other in named(below))
    ]


async def _has_all(
    collector: SpanCollector, request: Request, root: tuple[str, str], edges: list[Edge]
) -> None:
    """Wait until the request's trace has all these edges and all of it descends from the one root.

    A span is sent when it has ended, each process sends its own in its own time: a parent often comes after its child.
    """

    async def amiss() -> tuple[list[Edge], list[tuple[str, str]], list[SentSpan]]:
        spans = [one for one in collector.spans() if one.trace_id == request.trace]
        roots = [one for one in spans if one.parent_id == request.span]
        stray = [one for one in spans if not any(path_between(spans, above, one) for above in roots)]
        return _missing(spans, edges), [(one.service, one.name) for one in roots], stray

    await eventually(amiss, lambda seen: seen == ([], [root], []), what="the whole trace")


def _told(system: Instance, trace: str) -> dict[str, list[dict[str, Any]]]:
    """What each process wrote about the trace."""
    return {
        name: [
            json.loads(line)
            for line in system.log(name).read_text(encoding="utf-8", errors="replace").splitlines()
            if trace in line and line.startswith("{")
        ]
        for name in ("task-api", "reminders", "reminders-2", "recurrence", "notifier")
    }


async def test_one_trace_from_the_request_to_the_mail_and_to_the_next_occurrence(
    system: Instance, person: Person, collector: SpanCollector
) -> None:
    creating, completing = Request(), Request()
    task = await creating.send(
        person,
        "/api/v1/tasks",
        {
            "title": "Water the plants",
            "due_at": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
            "timezone": "Europe/Berlin",
            "reminders": [{"at": (datetime.now(UTC) + timedelta(seconds=3)).isoformat()}],
            "recurrence": {"rrule": "FREQ=WEEKLY"},
        },
    )
    await asyncio.to_thread(system.mail, person.email, wait=60)
    await _has_all(collector, creating, CREATE, FROM_REQUEST_TO_MAIL)
    await completing.send(person, f"/api/v1/tasks/{task['id']}/complete", {})
    await _has_all(collector, completing, COMPLETE, FROM_REQUEST_TO_SUCCESSOR)

    async def handled() -> set[tuple[str, str]]:
        return {
            (name.removesuffix("-2"), line["topic"])
            for name, lines in _told(system, creating.trace).items()
            for line in lines
            if line["message"] == "event_handled"
        }

    await eventually(handled, HANDLED.issubset, what="a line for each event")
    told = _told(system, creating.trace)
    assert {line["correlation_id"] for lines in told.values() for line in lines} == {creating.correlation}
    ended = [line for line in told["notifier"] if line["message"] == "delivery_ended"]
    assert sorted(line["channel"] for line in ended) == ["email", "inbox"]
