"""What recurrence proposes: the next occurrence of a series. task-api decides whether it is inserted."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from uuid import UUID

from pydantic import Field, model_validator

from event_contracts.values import OccurrenceKey, Payload, UtcInstant, Zone


class GenerationReason(StrEnum):
    """What asked for the occurrence."""

    COMPLETED = "completed"
    SKIPPED = "skipped"
    SCHEDULE = "schedule"
    REPAIR = "repair"


class RecurringTaskGenerated(Payload):
    """The slot after `predecessor_task_id`, computed from the series as of `series_version`.

    It holds only while the predecessor is still closed with `predecessor_closed_version`. `sentence` says in plain
    English why it is this date, with any adjustment.
    """

    series_id: UUID
    series_version: int = Field(ge=1)
    user_id: UUID
    predecessor_task_id: UUID
    predecessor_closed_version: int | None = Field(default=None, ge=1)
    occurrence_key: OccurrenceKey
    due_at: UtcInstant | None = None
    due_date: date | None = None
    timezone: Zone
    why: GenerationReason
    sentence: str | None = Field(default=None, max_length=500)
    generated_at: UtcInstant

    @model_validator(mode="after")
    def _one_due(self) -> RecurringTaskGenerated:
        if (self.due_at is None) == (self.due_date is None):
            raise ValueError("an occurrence has either due_at or due_date")
        return self
