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
digests = Counter(
    "digests_total",
    "Messages that told of several reminders or new occurrences at once, by channel.",
    ["channel"],
)
links_followed = Counter(
    "links_followed_total",
    "Links in mails that people followed, by action and outcome.",
    ["action", "outcome"],
)
lanes_closed = Counter(
    "delivery_lanes_closed_total",
    "Times a destination that kept failing was left alone for a while, by channel.",
    ["channel"],
)
outbound_refused = Counter(
    "outbound_refused_total", "Connections that were not made, because the address is not a public one."
)
stream_clients = Gauge("stream_clients", "Live streams that are open at this process.")
stream_greetings = Counter(
    "stream_greetings_total",
    "Live streams that were told where they begin: ready at first, reset when what they missed is not kept.",
    ["greeting"],
)
stream_events = Counter("stream_events_total", "Events handed to live streams, by their name.", ["event"])
streams_ended = Counter("streams_ended_total", "Live streams that ended, by reason.", ["reason"])
streams_refused = Counter(
    "streams_refused_total",
    "Live streams that were not opened, by what is full: person, process, leaving.",
    ["limit"],
)
rebuilds = Counter(
    "notification_rebuilds_total",
    "Times that what was lost was put back: generation (everything) or restart (Redis was started again).",
    ["cause"],
)
restored = Counter(
    "notifications_restored_total",
    "What was put back: entry (of an inbox), queued (to be sent after all).",
    ["what"],
)
