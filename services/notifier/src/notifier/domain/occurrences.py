"""The next occurrence of a series: which news tells of one, and under which identity."""

from __future__ import annotations

from uuid import UUID, uuid5

from event_contracts.tasks import TaskSnapshot
from event_contracts.values import Actor, ActorKind
from notifier.domain.notifications import Notification

_MAKER = Actor(kind=ActorKind.SERVICE, id="recurrence")
"""In whose name task-api makes what recurrence offered, and nothing else."""


def occurrence_in(news: TaskSnapshot) -> Notification | None:
    """Give the notification of the occurrence that this version of a task made, or made again; None for other news."""
    if news.actor != _MAKER or not news.is_open:
        return None
    return Notification(
        occurrence_id(news.task_id, news.occurrence_key), news.task_id, None, news.user_id, news.updated_at
    )


def occurrence_id(task_id: UUID, occurrence_key: str | None) -> UUID:
    """Give the identity of the word on this task at this slot.

    An occurrence that was withdrawn and comes back is told of again exactly when it comes back at another slot.
    """
    return uuid5(task_id, f"occurrence {occurrence_key}")
