"""What task-api says of a person's account."""

from __future__ import annotations

from uuid import UUID

from event_contracts.values import Payload, UtcInstant


class UserDeleted(Payload):
    """The account is gone; every service erases what it keeps of it. Its tasks leave as task-deleted besides."""

    user_id: UUID
    deleted_at: UtcInstant
