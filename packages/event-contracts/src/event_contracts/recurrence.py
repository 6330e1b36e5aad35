"""What recurrence proposes: the next occurrence of a series. task-api decides whether it is inserted."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from annotated_types import Len
from pydantic import Field, model_validator

from event_contracts.values import OccurrenceKey, Payload, UtcInstant, Zone


class GenerationReason(StrEnum):
    """What asked for the occurrence."""

    COMPLETED = "completed"
    SKIPPED = "skipped"
    SCHEDULE = "schedule"
    REPAIR = "repair"


AT_ONCE_MAX = 50
"""How many occurrences of one series are proposed together at most."""


class ProposedOccurrence(Payload):
    """A slot and when it is due. `sentence` says in plain English why it is this date, with any adjustment."""

    occurrence_key: OccurrenceKey
    due_at: UtcInstant | None = None
    due_date: date | None = None
    sentence: str | None = Field(default=None, max_length=500)

    @model_validator(mode="after")
    def _one_due(self) -> Self:
        if (self.due_at is None) == (self.due_date is None):
            raise ValueError("an occurrence has either due_at or due_date")
        return self


class RecurringTaskGenerated(ProposedOccurrence):
    """The slot after `predecessor_task_id`, computed from the series as of `series_version`.

    It holds only while the predecessor is still closed with `predecessor_closed_version`; one that the schedule asks
    for names no such version, for its predecessor may be open. `further` are the slots after it, each the successor of
    the one before.
    """

    series_id: UUID
    series_version: int = Field(ge=1)
    user_id: UUID
    predecessor_task_id: UUID
    predecessor_closed_version: int | None = Field(default=None, ge=1)
    timezone: Zone
    why: GenerationReason
    further: Annotated[tuple[ProposedOccurrence, ...], Len(0, AT_ONCE_MAX - 1)] = ()
    generated_at: UtcInstant
