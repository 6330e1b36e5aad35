"""What people do, counted once it is committed. `source` is the kind of who did it: user, api_key or service."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter, Histogram

from task_api.application.ports import TaskWrite

_HOUR, _DAY = 3_600.0, 86_400.0
_COMPLETION_BUCKETS = (
    60.0, 600.0, _HOUR, 6 * _HOUR, _DAY, 3 * _DAY, 7 * _DAY, 30 * _DAY, 90 * _DAY, 365 * _DAY,
)  # fmt: skip

CREATED = Counter("tasks_created_total", "Tasks made.", ["source"])
COMPLETED = Counter("tasks_completed_total", "Tasks completed.", ["source"])
DELETED = Counter("tasks_deleted_total", "Tasks deleted, withdrawn occurrences included.", ["source"])
COMPLETION = Histogram(
    "task_completion_seconds", "Time from a task's making to its completion.", buckets=_COMPLETION_BUCKETS
)
ACCOUNT_ACTIONS = Counter(
    "account_actions_total",
    "Lines of the audit log, by action (register, login, refresh …) and outcome: succeeded or failed.",
    ["action", "outcome"],
)
KEY_LOOKUPS = Counter(
    "api_key_lookups_total",
    "Requests with an API key, by where it was found: kept (for 5 s), stored, or nowhere.",
    ["found"],
)


def count_writes(writes: Iterable[TaskWrite]) -> None:
    """Count versions of tasks that were committed, by what they say happened."""
    for write in writes:
        source = write.stamp.actor.kind.value
        if write.before is None:
            CREATED.labels(source).inc()
        elif write.announcement.topic == "task-completed":
            COMPLETED.labels(source).inc()
            COMPLETION.observe(max((write.stamp.at - write.after.created_at).total_seconds(), 0.0))
        elif write.announcement.topic == "task-deleted":
            DELETED.labels(source).inc()
