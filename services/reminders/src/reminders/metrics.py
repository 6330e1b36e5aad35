"""What the service measures of its own work."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

LATENESS = Histogram(
    "reminder_lateness_seconds",
    "Time from a reminder's fire time to its event.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 600.0, 3600.0),
)
FIRED = Counter("reminders_fired_total", "Reminders whose event the broker took.")
FENCED = Counter(
    "reminders_fenced_total", "Due members that the document no longer stood behind, by reason.", ["reason"]
)
PENDING = Gauge("reminders_pending", "Members in the due index, due or not.")
REBUILDS = Counter("reminder_rebuilds_total", "Rebuilds of the schedule, by what asked for them.", ["cause"])
REBUILT_TASKS = Counter("reminder_rebuilt_tasks_total", "Tasks that rebuilds applied.")
OVERTAKEN = Counter(
    "reminder_overtaken_tasks_total", "Tasks taken up ahead of their events while those came late."
)
RECONCILED_TASKS = Counter("reminder_reconciled_tasks_total", "Tasks that the slow pass compared.")
MENDED = Counter("reminder_mended_total", "Tasks that the slow pass mended, by what was wrong.", ["what"])
