"""What every service measures. Names and labels are a contract with dashboards and alerts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_AGE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0)

HTTP_REQUESTS = Counter("http_requests_total", "HTTP requests answered.", ["method", "route", "status"])
HTTP_DURATION = Histogram(
    "http_request_duration_seconds",
    "Time from a request's first byte to its answer's last.",
    ["method", "route"],
    buckets=_REQUEST_BUCKETS,
)
HTTP_IN_PROGRESS = Gauge("http_requests_in_progress", "HTTP requests being answered now.")
REQUESTS_WAITING = Gauge("http_requests_waiting", "Requests of people that wait for their turn now.")
REQUESTS_SHED = Counter(
    "http_requests_shed_total", "Requests of people refused with 503 because too much was asked.", ["reason"]
)

EVENTS_HANDLED = Counter(
    "events_handled_total", "Deliveries of events answered, by what was answered.", ["topic", "outcome"]
)
DELIVERIES_OFF = Counter(
    "deliveries_off_total", "Times that the sidecar was told to stop delivering, by why.", ["why"]
)
EVENT_HANDLING = Histogram(
    "event_handling_seconds", "Time a handler took for one delivery.", ["topic"], buckets=_REQUEST_BUCKETS
)
EVENT_AGE = Histogram(
    "event_age_seconds", "Age of an event when its handler got it.", ["topic"], buckets=_AGE_BUCKETS
)

CRON_TICKS = Counter("cron_ticks_total", "Ticks of a cron binding, by how they ended.", ["cron", "outcome"])
LAST_TICK = Gauge("last_tick_timestamp_seconds", "When a cron binding last ticked, Unix time.", ["cron"])

LOOP_ERRORS = Counter("loop_errors_total", "Steps of a background loop that failed.", ["loop"])
LOOP_LAST_STEP = Gauge(
    "loop_last_step_timestamp_seconds", "When a background loop last finished a step, Unix time.", ["loop"]
)
LOOP_NEXT_STEP = Gauge(
    "loop_next_step_timestamp_seconds",
    "When a background loop begins its next step at the latest, Unix time, as of the end of the last one.",
    ["loop"],
)

SIDECAR_DURATION = Histogram(
    "sidecar_request_duration_seconds",
    "Time the sidecar took to answer, by operation.",
    ["operation"],
    buckets=_REQUEST_BUCKETS,
)
SIDECAR_FAILURES = Counter(
    "sidecar_failures_total", "Calls of the sidecar that failed.", ["operation", "kind"]
)
STATE_CONFLICTS = Counter(
    "state_conflicts_total", "Writes of a document that the state store refused as a conflict."
)

HEALTH_DURATION = Histogram(
    "health_check_duration_seconds",
    "Time one check of all dependencies took.",
    ["status"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)
HEALTH_CHECKS = Counter("health_check_total", "Checks of all dependencies, by result.", ["status"])
DEPENDENCY_AVAILABLE = Gauge(
    "dependency_available", "1 when a dependency answered its last check, else 0.", ["dependency"]
)
