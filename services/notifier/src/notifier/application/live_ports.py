"""What the live stream needs from outside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from event_contracts.tasks import TaskSnapshot
from notifier.domain.live import LiveEvent
from service_kit.auth import Principal


class LiveEvents(Protocol):
    """What people who listen are told. Nothing is kept for those of whom nobody listens."""

    async def tell_task(self, task: TaskSnapshot, at: datetime) -> bool:
        """Tell of a version of a task, unless it or a newer one was told; `at` is when it happened."""
        ...

    async def begin(self, user_id: UUID) -> str | None:
        """Give the position of the newest event; None for a person who was erased. Raises LiveUnavailable."""
        ...

    async def since(self, user_id: UUID, position: str) -> Sequence[LiveEvent] | None:
        """Give the next events after it, oldest first; None when it is not kept any more. Raises LiveUnavailable."""
        ...

    async def erase(self, user_id: UUID) -> None:
        """Erase everything, and wake who listens."""
        ...


class Sessions(Protocol):
    """The sessions that were ended."""

    async def ended_among(self, families: Sequence[UUID]) -> set[UUID] | None:
        """Give those that were ended; None while that is not known for sure. Raises LiveUnavailable."""
        ...


class Tickets(Protocol):
    """One-time, short-lived passes to the stream, for clients that cannot send headers.
    Raises LiveUnavailable."""

    async def issue(self, who: Principal) -> str: ...

    async def redeem(self, ticket: str) -> Principal | None:
        """Give who it was issued to, and make it worthless; None when it is none, or not any more."""
        ...
