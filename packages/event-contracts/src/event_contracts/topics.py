"""The one registry of topics. Topics job, component scopes, subscriptions and docs are checked against it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from event_contracts.envelope import CloudEvent
from event_contracts.notifications import NotificationDelivered, NotificationRead
from event_contracts.recurrence import RecurringTaskGenerated
from event_contracts.reminders import ReminderDue, ReminderScheduled
from event_contracts.series import SeriesSnapshot
from event_contracts.tasks import TaskSnapshot
from event_contracts.users import UserDeleted

TASK_API = "task-api"
REMINDERS = "reminders"
RECURRENCE = "recurrence"
NOTIFIER = "notifier"
SERVICES = (TASK_API, REMINDERS, RECURRENCE, NOTIFIER)

_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Topic:
    """One topic: `name` is the kebab case of `event_type` without its version; `key` names the field of `model`
    whose text is the partition key; `retention` is how long Kafka keeps an event."""

    event_type: str
    model: type[BaseModel]
    producer: str
    consumers: tuple[str, ...]
    key: str
    partitions: int = 6
    replication: int = 3
    retention: timedelta = _WEEK

    @property
    def name(self) -> str:
        return self.event_type.rsplit(".v", 1)[0].replace(".", "-")

    @cached_property
    def event_model(self) -> type[CloudEvent[Any]]:
        """The envelope with this topic's data in it."""
        return CloudEvent[self.model]  # type: ignore[name-defined]

    def key_of(self, data: BaseModel) -> str:
        """The partition key of one event: everything of one task (or series, or user) keeps to one partition."""
        return str(getattr(data, self.key))


_ALL = (
    Topic("task.created.v1", TaskSnapshot, TASK_API, (REMINDERS, RECURRENCE, NOTIFIER), "task_id"),
    Topic("task.updated.v1", TaskSnapshot, TASK_API, (REMINDERS, RECURRENCE, NOTIFIER), "task_id"),
    Topic("task.completed.v1", TaskSnapshot, TASK_API, (REMINDERS, RECURRENCE, NOTIFIER), "task_id"),
    Topic("task.deleted.v1", TaskSnapshot, TASK_API, (REMINDERS, RECURRENCE, NOTIFIER), "task_id"),
    Topic("series.updated.v1", SeriesSnapshot, TASK_API, (RECURRENCE,), "series_id"),
    Topic("reminder.scheduled.v1", ReminderScheduled, REMINDERS, (TASK_API,), "task_id"),
    # Short: a reminder that is days old is told by the late policy, not by replaying the topic.
    Topic(
        "reminder.due.v1",
        ReminderDue,
        REMINDERS,
        (NOTIFIER, TASK_API),
        "task_id",
        retention=timedelta(days=3),
    ),
    Topic(
        "recurring.task.generated.v1", RecurringTaskGenerated, RECURRENCE, (TASK_API, NOTIFIER), "series_id"
    ),
    Topic("notification.delivered.v1", NotificationDelivered, NOTIFIER, (TASK_API,), "task_id"),
    Topic("notification.read.v1", NotificationRead, NOTIFIER, (TASK_API,), "user_id"),
    Topic("user.deleted.v1", UserDeleted, TASK_API, (REMINDERS, RECURRENCE, NOTIFIER), "user_id"),
)

TOPICS: dict[str, Topic] = {topic.name: topic for topic in _ALL}

DEAD_LETTER_RETENTION = timedelta(days=30)
DEAD_LETTER_PARTITIONS = 1
"""Parked events are few and are looked at in order, so one partition serves."""

HANDLED_LETTERS_TOPIC = "dead-letters-handled"
"""What operators did about dead letters. No service reads or writes it."""
HANDLED_LETTERS_RETENTION = DEAD_LETTER_RETENTION + timedelta(days=7)
"""Longer than the letters themselves, or one that was done with would show up again."""


def topic_for_type(event_type: str) -> Topic:
    """Give the topic that carries `event_type`. Raises KeyError for a type that no topic carries."""
    return TOPICS[event_type.rsplit(".v", 1)[0].replace(".", "-")]


def consumed_by(app_id: str) -> tuple[Topic, ...]:
    """The topics that `app_id` subscribes to, in the registry's order."""
    return tuple(topic for topic in _ALL if app_id in topic.consumers)


def produced_by(app_id: str) -> tuple[Topic, ...]:
    """The topics that `app_id` alone may publish, dead letters aside."""
    return tuple(topic for topic in _ALL if topic.producer == app_id)


def dead_letter_topic(app_id: str) -> str:
    """Where daprd parks what `app_id` could not handle."""
    return f"{app_id}-dlq"
