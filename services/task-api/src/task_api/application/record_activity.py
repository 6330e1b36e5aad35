"""What the siblings report of a task becomes a line of its ledger, once, and a mark on its reminder.

A line has the id of the event that caused it, so what is told twice is written once. Marks go by what the event says
of time, not by when it comes: a report that was overtaken changes nothing. None of it is a change of the task: its
version stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from event_contracts.moments import written
from event_contracts.notifications import DeliveryOutcome, NotificationDelivered, NotificationRead
from event_contracts.reminders import ReminderDue, ReminderScheduled
from task_api.application.ledger import lasting, spoken

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a task's ledger; `id` is the id of the event that caused it."""

    id: UUID
    task_id: UUID
    user_id: UUID
    at: datetime
    kind: str
    detail: dict[str, Any]


class Mark(StrEnum):
    """What is noted on a reminder besides: the fire time that is planned, or the one that was announced."""

    SCHEDULED_FOR = "scheduled_for"
    FIRED_FOR = "fired_for"


@dataclass(frozen=True, slots=True)
class ReminderMark:
    """`fire_at` is noted unless a line of the same kind says of the same reminder something later.

    Later is a higher `version` in the line's detail, where it has one, then a later `at`.
    """

    mark: Mark
    reminder_id: UUID
    fire_at: datetime


class Ledger(Protocol):
    """Where reports are kept. Raises StorageUnavailable."""

    async def record(self, entry: Entry, mark: ReminderMark | None = None) -> bool:
        """Write the line and the mark in one transaction; False when the line is there, or the task is not."""

    async def mark_read(self, user_id: UUID, notification_ids: tuple[UUID, ...], at: datetime) -> None:
        """Note that the person read these notifications; the first time counts, unknown accounts do not."""


async def reminder_scheduled(ledger: Ledger, event_id: UUID, at: datetime, data: ReminderScheduled) -> bool:
    """Record when a reminder will fire."""
    detail = {
        "reminder_id": str(data.reminder_id),
        "fire_at": written(data.fire_at),
        "reason": data.reason.value,
        "version": data.version,
    }
    mark = ReminderMark(Mark.SCHEDULED_FOR, data.reminder_id, data.fire_at)
    return await ledger.record(_entry(event_id, data, at, "reminder_scheduled", detail), mark)


async def reminder_due(ledger: Ledger, event_id: UUID, data: ReminderDue) -> bool:
    """Record that a reminder fired, and how late."""
    late = max(timedelta(0), data.fired_at - data.fire_at)
    detail = {
        "reminder_id": str(data.reminder_id),
        "fire_at": written(data.fire_at),
        "fired_at": written(data.fired_at),
        "late_ms": late // _MILLISECOND,
        "sentence": f"The reminder for {spoken(data.fire_at)} fired, {lasting(late)} late.",
    }
    mark = ReminderMark(Mark.FIRED_FOR, data.reminder_id, data.fire_at)
    return await ledger.record(_entry(event_id, data, data.fired_at, "reminder_fired", detail), mark)


_KIND_OF = {
    DeliveryOutcome.DELIVERED: "notification_delivered",
    DeliveryOutcome.FAILED: "notification_failed",
    DeliveryOutcome.CANCELLED: "notification_cancelled",
    DeliveryOutcome.TO_BE_REPEATED: "notification_to_be_repeated",
}


async def notification_delivered(ledger: Ledger, event_id: UUID, data: NotificationDelivered) -> bool:
    """Record how a notification fared on one channel."""
    detail: dict[str, Any] = {
        "notification_id": str(data.notification_id),
        "channel": data.channel.value,
        "attempt": data.attempt,
        "latency_ms": data.latency_ms,
    }
    if data.reminder_id is not None:
        detail["reminder_id"] = str(data.reminder_id)
    if data.destination is not None:
        detail["destination"] = data.destination
    if data.destination_id is not None:
        detail["destination_id"] = str(data.destination_id)
    if data.reason is not None:
        detail["reason"] = data.reason
    return await ledger.record(_entry(event_id, data, data.at, _KIND_OF[data.outcome], detail))


async def notification_read(ledger: Ledger, data: NotificationRead) -> None:
    """Note what the person has read."""
    await ledger.mark_read(data.user_id, data.notification_ids, data.read_at)


def _entry(
    event_id: UUID,
    data: ReminderScheduled | ReminderDue | NotificationDelivered,
    at: datetime,
    kind: str,
    detail: dict[str, Any],
) -> Entry:
    return Entry(event_id, data.task_id, data.user_id, at, kind, detail)
