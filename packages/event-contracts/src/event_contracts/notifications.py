"""What notifier says: how each notification fared on each channel, and what the person has read."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from annotated_types import Len
from pydantic import Field

from event_contracts.values import Channel, Payload, UtcInstant


class DeliveryOutcome(StrEnum):
    """The end of one attempt: `failed` means given up, `cancelled` that it no longer mattered.

    `to_be_repeated` is the end of the attempt alone: it failed, and another one follows.
    """

    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TO_BE_REPEATED = "to_be_repeated"


class NotificationDelivered(Payload):
    """One channel's outcome. `latency_ms` counts from the reminder's fire time; `reason` says why it was not sent.

    `destination` tells several webhooks, chats or browsers apart: a host or a kind of chat, never what lets anybody in.
    `destination_id` is its id in the person's preferences: for inbox and mail there is none, nor where the person has
    no such place, and older releases do not say it.
    """

    notification_id: UUID
    task_id: UUID
    user_id: UUID
    reminder_id: UUID | None = None
    channel: Channel
    destination: str | None = Field(default=None, max_length=253)
    destination_id: UUID | None = None
    attempt: int = Field(ge=1)
    outcome: DeliveryOutcome
    reason: str | None = Field(default=None, max_length=300)
    latency_ms: int = Field(ge=0)
    at: UtcInstant


class NotificationRead(Payload):
    """The person read these notifications."""

    user_id: UUID
    notification_ids: Annotated[tuple[UUID, ...], Len(1, 500)]
    read_at: UtcInstant
