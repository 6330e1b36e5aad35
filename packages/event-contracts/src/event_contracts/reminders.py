"""What reminders says: when a reminder will fire, and that it fired. Ids and times only."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from pydantic import Field

from event_contracts.values import Payload, UtcInstant


class ScheduleReason(StrEnum):
    """Why a fire time was announced."""

    CREATED = "created"
    MOVED = "moved"
    SNOOZED = "snoozed"
    REPAIRED = "repaired"


class ReminderScheduled(Payload):
    """The fire time of a reminder changed to `fire_at`; said only then. `version` is that of the task."""

    reminder_id: UUID
    task_id: UUID
    user_id: UUID
    version: int = Field(ge=1)
    fire_at: UtcInstant
    reason: ScheduleReason


class ReminderDue(Payload):
    """A reminder fired: `fire_at` is when it should have, `fired_at` when it did."""

    reminder_id: UUID
    task_id: UUID
    user_id: UUID
    fire_at: UtcInstant
    fired_at: UtcInstant
