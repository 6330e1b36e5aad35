"""What this service counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

notifications = Counter(
    "notifications_total",
    "Notifications that came to their end, by channel and outcome.",
    ["channel", "outcome"],
)
delivery_latency = Histogram(
    "delivery_latency_seconds",
    "From the moment a reminder should have fired until the channel took it.",
    ["channel"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1_800, 7_200, 86_400),
)
delivery_queue_depth = Gauge(
    "delivery_queue_depth", "Notifications that wait for their delivery, by channel.", ["channel"]
)
failed_attempts = Counter(
    "delivery_failed_attempts_total", "Tries to send that failed and are repeated, by channel.", ["channel"]
)
delivery_errors = Counter(
    "delivery_errors_total", "Deliveries that ended in an error nobody foresaw, by channel.", ["channel"]
)
smtp_errors = Counter(
    "smtp_errors_total", "Mails that the SMTP server did not take, by kind of error.", ["kind"]
)
