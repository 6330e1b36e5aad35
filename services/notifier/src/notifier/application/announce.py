"""There is something to tell: queue its notification."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

from event_contracts.envelope import derive_id
from event_contracts.values import Channel
from notifier.application.ports import Deliveries
from notifier.domain.notifications import CHANNELS, Notification
from service_kit.due_index import to_score


def notification_of(
    reminder_id: UUID, task_id: UUID, user_id: UUID, fire_at: datetime, fired_at: datetime | None = None
) -> Notification:
    """Give the one notification of this reminder at this moment."""
    identity = derive_id("notification", reminder_id, to_score(fire_at))
    return Notification(identity, task_id, reminder_id, user_id, fire_at, fired_at)


class AnnounceNotification:
    """Queues a reminder's notification everywhere and asks nobody.

    The news carries no channels, and asking task-api for them here would let an outage of task-api send reminders
    to the dead-letter topic. So every channel gets its entry, and a channel that the reminder or the person does not
    want ends as `cancelled: not wanted` when its turn comes. Only what was lost is not known here: while the index is
    built again, `whole` raises NotReady, or a copy of old news would pass for new.

    That of an occurrence is wanted by few, so only its entry for the inbox is queued: whoever brings that to its end
    asks the person's preference, and queues the other channels.
    """

    def __init__(
        self, deliveries: Deliveries, wake: Callable[[], None], whole: Callable[[], Awaitable[None]]
    ) -> None:
        self._deliveries = deliveries
        self._whole = whole
        self._wake = wake

    async def run(self, notification: Notification) -> None:
        """Queue what is not queued yet. A process that dies in between leaves the rest to the next copy of the news.

        Raises NotReady.
        """
        await self._whole()
        channels = (Channel.INBOX,) if notification.is_of_occurrence else CHANNELS
        await self._deliveries.enqueue_all(notification, channels)
        self._wake()
