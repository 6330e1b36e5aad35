"""What people hear while they listen: changes of their tasks, and what happens in their inbox."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from event_contracts.tasks import TaskSnapshot


class Kind(StrEnum):
    """Names of the events. `start` is never shown: it marks where somebody began to listen."""

    START = "start"
    READY = "ready"
    RESET = "reset"
    TASK = "task"
    NOTIFICATION = "notification"
    NOTIFICATION_READ = "notification-read"
    END = "end"


class End(StrEnum):
    """Why a stream ended. The first three are the client's doing."""

    DISCONNECTED = "disconnected"
    SLOW = "slow"
    FAILED = "failed"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - a reason, no token
    SESSION_ENDED = "session_ended"
    ACCOUNT_ERASED = "account_erased"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """One event. `position` orders one person's events; `data` is JSON without line breaks."""

    position: str
    kind: str
    data: str = "{}"


def task_row(task: TaskSnapshot) -> dict[str, Any]:
    """Give what a list shows of a task, and the names of the fields that this version changed.

    Never more than about 1 KB: a description can be read from task-api when somebody looks at it.
    """
    return task.model_dump(
        mode="json",
        include={
            "number",
            "version",
            "title",
            "status",
            "priority",
            "tags",
            "due_at",
            "due_date",
            "timezone",
            "series_id",
            "updated_at",
            "deleted_at",
        },
    ) | {"id": str(task.task_id), "changed": sorted(task.changes)}
