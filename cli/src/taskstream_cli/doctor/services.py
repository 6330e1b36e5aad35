"""The services: do they answer, what do they miss, do they tick, and does the sidecar's token fit."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import httpx
from prometheus_client.parser import text_string_to_metric_families

from event_contracts.topics import NOTIFIER, RECURRENCE, REMINDERS, SERVICES, consumed_by
from taskstream_cli.doctor.report import Report
from taskstream_cli.doctor.stores import reading
from taskstream_cli.places import service_url

CRONS = {
    REMINDERS: ("reminder-cron", 15),
    NOTIFIER: ("delivery-cron", 60),
    RECURRENCE: ("recurrence-cron", 3_900),
}
"""The cron binding of a service, and the seconds after which a tick was due (components/*-cron.yaml)."""
LOOP_LATE_SECONDS = 300
"""A step that is this much overdue hangs, or its process does; an hourly loop is silent for an hour."""


async def look_at_service(report: Report, service: str, token: str | None) -> None:
    address = service_url(service)
    try:
        async with httpx.AsyncClient(base_url=address, timeout=5, trust_env=False) as client:
            before = datetime.now(UTC)
            live = await client.get("/health/live")
            after = datetime.now(UTC)
            health = (await client.get("/health")).json()
            metrics = (await client.get("/metrics")).text
            subscribed = await client.get("/dapr/subscribe", headers={"dapr-api-token": token or ""})
        shown = datetime.fromisoformat(live.json()["timestamp"])
    except httpx.TransportError as error:
        variable = f"{service.upper().replace('-', '_')}_URL"
        report.find(
            service, f"It does not answer at {address} ({type(error).__name__}): start it, or set {variable}."
        )
        return
    except (ValueError, KeyError):
        report.find(service, f"What answers at {address} is no {service}: mend its address.")
        return
    report.clocks.append(reading(service, shown, before, after))
    report.versions[service] = health["version"]
    report.seen[service] = f"{health['version']}, {health['status']}"
    for one in health["dependencies"]:
        if not one["available"]:
            report.find(
                service, f"Its {one['name']} is {one.get('error', 'away')}: start it, or mend its address."
            )
    _check_subscriptions(report, service, token, subscribed)
    check_work(report, service, metrics)


def _check_subscriptions(report: Report, service: str, token: str | None, answer: httpx.Response) -> None:
    if token is None:
        return
    if answer.status_code == httpx.codes.FORBIDDEN:
        report.find(service, "It refuses APP_API_TOKEN: give its own, or its sidecar cannot call it either.")
        return
    wants = {one["topic"] for one in answer.json()}
    if missing := {topic.name for topic in consumed_by(service)} - wants:
        report.find(service, f"It does not ask for {', '.join(sorted(missing))}: deploy this release of it.")


def check_work(report: Report, service: str, metrics: str) -> None:
    """See in the service's metrics, as it serves them, whether its cron binding ticks and its loops step."""
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    }
    now = time.time()
    started = values.get(("process_start_time_seconds",), now)
    if service in CRONS:
        cron, longest = CRONS[service]
        last = values.get(("last_tick_timestamp_seconds", cron), started)
        if now - max(last, started) > longest:
            report.find(
                service, f"{cron} has not ticked for {now - max(last, started):.0f} s: restart its sidecar."
            )
    for (name, *labels), value in values.items():
        if name == "loop_next_step_timestamp_seconds" and 0 < value < now - LOOP_LATE_SECONDS:
            report.find(service, f"Its loop {labels[0]} is {now - value:.0f} s late: its log says why.")


def compare_versions(report: Report) -> None:
    """Say so when the services are not of one release."""
    if len(set(report.versions.values())) > 1:
        listed = ", ".join(
            f"{service} {report.versions[service]}" for service in SERVICES if service in report.versions
        )
        report.find("versions", f"The services are of different releases ({listed}): finish the deployment.")
