"""A reminder fired: queue its notification on every channel."""

from __future__ import annotations

from collections.abc import Callable

from notifier.application.ports import Deliveries
from notifier.domain.notifications import CHANNELS, Notification


class AnnounceReminder:
    """Queues a notification everywhere and asks nobody.

    The news carries no channels, and asking task-api for them here would let an outage of task-api send reminders
    to the dead-letter topic. So every channel gets its entry, and a channel that the reminder or the person does not
    want ends as `cancelled: not wanted` when its turn comes.
    """

    def __init__(self, deliveries: Deliveries, wake: Callable[[], None]) -> None:
        self._deliveries = deliveries
        self._wake = wake

    async def run(self, notification: Notification) -> None:
        """Queue what is not queued yet. A process that dies in between leaves the rest to the next copy of the news."""
        for channel in CHANNELS:
            await self._deliveries.enqueue(notification, channel)
        self._wake()
