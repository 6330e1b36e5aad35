"""The exporter, where its address is known: does it answer, and does it still see Kafka."""

from __future__ import annotations

import time

import httpx
from prometheus_client.parser import text_string_to_metric_families

from taskstream_cli.doctor.report import Report

STALE_SECONDS = 120
"""Eight of its usual looks; the alert on it rings after five minutes."""


async def look_at_exporter(report: Report, address: str | None) -> None:
    """Without an address nothing is looked at: an installation may have it out of our reach."""
    if not address:
        return
    try:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            metrics = (await client.get(f"{address.rstrip('/')}/metrics")).text
        check_exporter(report, metrics)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        report.find(
            "exporter",
            f"It does not answer at {address} ({type(error).__name__}): start `taskstream exporter`, or nobody hears "
            "of dead letters; or set EXPORTER_URL.",
        )
    except ValueError:
        report.find("exporter", f"What answers at {address} is no exporter: set EXPORTER_URL.")


def check_exporter(report: Report, metrics: str) -> None:
    """See in its metrics, as it serves them, whether what they say is of now. Raises ValueError for other text."""
    samples = [
        (sample.name, sample.value)
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    ]
    values = dict(samples)
    if "kafka_looked_at_timestamp_seconds" not in values:
        raise ValueError("these are other metrics")
    age = time.time() - values["kafka_looked_at_timestamp_seconds"]
    if age > STALE_SECONDS:
        since = f"for {age:.0f} s" if values["kafka_looked_at_timestamp_seconds"] else "since it was started"
        report.find("exporter", f"It has not seen Kafka {since}: start Kafka, or mend its KAFKA_BOOTSTRAP.")
        return
    letters = sum(value for name, value in samples if name == "dead_letters")
    report.seen["exporter"] = f"looked at Kafka {max(age, 0):.0f} s ago, {letters:.0f} dead letters"
