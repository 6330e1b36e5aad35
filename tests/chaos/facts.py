"""What the system says of itself when all has settled: the API, the inbox, the mail sink, Kafka, the state store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.chaos.model import Fire

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Heard:
    """One entry of an inbox."""

    notification_id: str
    user_id: str
    task_id: str
    fire: Fire
    at: datetime


@dataclass(frozen=True)
class Facts:
    """All that was collected. Times are instants in UTC."""

    now: datetime
    tasks: Mapping[str, Json] = field(default_factory=dict)
    """By id, as lists show them."""
    deleted: frozenset[str] = frozenset()
    owners: Mapping[str, str] = field(default_factory=dict)
    """Whose list a task was in, that of deleted tasks or another."""
    inbox: Sequence[Heard] = ()
    mails: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many came, by the notification in their Message-ID and the address they came to."""
    activity: Mapping[str, Sequence[Json]] = field(default_factory=dict)
    """The lines of each of these tasks, deleted ones included."""
    published: frozenset[tuple[str, int]] = frozenset()
    """(task, version) of every snapshot in Kafka."""
    announced: Mapping[Fire, frozenset[str]] = field(default_factory=dict)
    """The ids of the reminder-due events of each fire time."""
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    behind: Mapping[str, int] = field(default_factory=dict)
    """Events that each consumer group has not taken yet."""
    outbox_waiting: int = 0
    outbox_parked: int = 0
    overdue: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Members of due indexes, by key, whose time has come and that nobody took; and claimed ones."""
    deliveries: Mapping[str, int] = field(default_factory=dict)
    """Members of the indexes of deliveries, by key."""
    scheduled: Mapping[str, int] = field(default_factory=dict)
    """The version of each task's schedule in the state store, as reminders keeps it."""
    positions: Mapping[str, int] = field(default_factory=dict)
    """The version at which recurrence knows where each task stands in its series."""
    records: Mapping[str, int] = field(default_factory=dict)
    """The version of each task that notifier last heard of."""
