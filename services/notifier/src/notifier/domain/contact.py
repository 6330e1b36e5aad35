"""Where a person can be reached, as task-api says it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from event_contracts.values import Channel


@dataclass(frozen=True, slots=True)
class Contact:
    """`channels` are those the person wants when a reminder names none."""

    user_id: UUID
    email: str
    first_name: str | None
    locale: str
    timezone: str
    channels: tuple[Channel, ...]
