"""What rules and dashboards ask for is served by the system that runs, with the labels that they go by."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.conftest import Json, Person
from tests.e2e.eventually import eventually
from tests.observability.queries import ROOT, asked, panels, rules

from event_contracts.topics import SERVICES
from stack import Instance

_SCRAPE = frozenset({"job", "instance"})
"""What Prometheus itself adds to every sample."""


@dataclass
class Served:
    """The metrics of one job: those that it names, and the labels of those that have counted something."""

    names: set[str] = field(default_factory=set)
    labels: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def read(self, text: str) -> None:
        for family in text_string_to_metric_families(text):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            self.names.add(name)
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    self.labels[name] |= sample.labels.keys()


async def _served(system: Instance) -> dict[str, Served]:
    """What Prometheus would read, by the job that reads it."""
    urls = [(service, system.app_url(service)) for service in SERVICES]
    urls += [("reminders", system.app_url("reminders", 2)), ("exporter", system.env()["EXPORTER_URL"])]
    served: dict[str, Served] = defaultdict(Served)
    async with httpx.AsyncClient(timeout=10) as client:
        for job, url in urls:
            answer = await client.get(f"{url}/metrics")
            assert answer.is_success, (job, answer.text)
            served[job].read(answer.text)
    return served


def _described() -> dict[str, set[str]]:
    """The labels that docs/metrics.md tells of each metric."""
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    return {name: set(re.findall(r"\w+", labels)) for name, labels in rows}


def _foreign() -> set[str]:
    others = yaml.safe_load((ROOT / "observability/exporters.yaml").read_text())
    others.pop("prometheus_client")
    return {name for names in others.values() for name in names}


async def _play(person: Person) -> None:
    """The main flow to its end: reminded, completed, followed by the next one."""
    task = await person.call(
        "POST",
        "/api/v1/tasks",
        {
            "title": "Water the plants",
            "due_at": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
            "reminders": [{"at": (datetime.now(UTC) + timedelta(seconds=1)).isoformat()}],
            "recurrence": {"rrule": "FREQ=WEEKLY"},
        },
    )
    await eventually(lambda: asyncio.to_thread(person.mails), what="the reminder's mail")
    await person.call("POST", f"/api/v1/tasks/{task['id']}/complete", {})

    async def open_tasks() -> list[Json]:
        items: list[Json] = (await person.call("GET", "/api/v1/tasks?status=pending"))["items"]
        return items

    await eventually(open_tasks, what="the next occurrence")


async def test_what_is_asked_for_is_served_with_its_labels(system: Instance, person: Person) -> None:
    await _play(person)
    described, foreign = _described(), _foreign()
    served = await _served(system)
    queries = [*((rule["alert"], rule["expr"]) for rule in rules()), *panels()]
    wrong, counted = [], set()
    for where, query in queries:
        for one in asked(query):
            if one.metric in foreign:
                continue
            jobs = [served[one.job]] if one.job else list(served.values())
            if not any(one.metric in job.names for job in jobs):
                wrong.append(f"{where}: nobody serves {one.metric}{f' as {one.job}' if one.job else ''}")
                continue
            # A counter that has counted nothing shows no label: of those the page is believed.
            shown = set().union(*(job.labels.get(one.metric, set()) for job in jobs))
            if shown:
                counted.add(one.metric)
            if missing := one.labels - _SCRAPE - (shown or described.get(one.metric, set())):
                wrong.append(
                    f"{where}: {one.metric} has no {', '.join(sorted(missing))}, it has {sorted(shown)}"
                )
    assert wrong == []
    assert {"http_requests_total", "events_handled_total", "last_tick_timestamp_seconds", "database_pool_size",
            "outbox_published_total", "reminder_lateness_seconds", "notifications_total", "consumer_lag_events",
            "occurrences_generated_total"} <= counted  # fmt: skip


async def test_the_page_of_metrics_tells_the_labels_that_are_served(system: Instance, person: Person) -> None:
    await _play(person)
    described = _described()
    told_wrong = {
        (job, name): sorted(labels)
        for job, one in (await _served(system)).items()
        for name, labels in one.labels.items()
        if name in described and labels - {"le"} != described[name]
    }
    assert told_wrong == {}
