"""What a person sees and does in their inbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from notifier.application.ports import Clock, Deliveries, Inbox
from notifier.domain.inbox import Page
from notifier.domain.notifications import Attempt


class ShowInbox:
    """The inbox of one person at a time; `user_id` comes from the verified token and from nowhere else."""

    def __init__(self, inbox: Inbox, deliveries: Deliveries, clock: Clock, wake: Callable[[], None]) -> None:
        self._inbox = inbox
        self._deliveries = deliveries
        self._clock = clock
        self._wake = wake

    async def page(self, user_id: UUID, *, before: str | None, limit: int, unread_only: bool) -> Page:
        return await self._inbox.page(user_id, before=before, limit=limit, unread_only=unread_only)

    async def attempts(self, user_id: UUID, notification_id: UUID) -> Sequence[Attempt]:
        """Give every try to tell this person of it, oldest first; empty when there is no such notification."""
        return await self._deliveries.attempts(user_id, notification_id)

    async def mark_read(self, user_id: UUID, notification_id: UUID) -> bool:
        """Mark one as read; False when this person has no such notification. Repeating it changes nothing."""
        known = await self._inbox.mark_read(user_id, notification_id, await self._clock.now())
        self._wake()
        return known

    async def mark_all_read(self, user_id: UUID) -> int:
        marked = await self._inbox.mark_all_read(user_id, await self._clock.now())
        self._wake()
        return marked
