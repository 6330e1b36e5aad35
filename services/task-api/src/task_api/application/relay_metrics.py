"""What the relay counts. Every replica reports the same table in the gauges: take the greatest, not the sum."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

DEPTH = Gauge("outbox_depth", "Events committed and not yet published, parked ones aside.")
OLDEST_AGE = Gauge("outbox_oldest_age_seconds", "Age of the oldest event that waits to be published.")
PARKED = Gauge("outbox_parked", "Events that are parked after ten failures of their own.")
PARKED_TOTAL = Counter("outbox_parked_events_total", "Events that this process parked.", ["topic"])
PUBLISHED = Counter("outbox_published_total", "Events that the broker accepted.", ["topic"])
FAILURES = Counter(
    "outbox_failures_total",
    "Failed publications: single events (event), or whole requests: rejected, refused or unavailable.",
    ["topic", "kind"],
)
SWEPT = Counter("task_api_swept_total", "Rows that had had their time, by what they were.", ["what"])
