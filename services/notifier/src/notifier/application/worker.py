"""Work off what is due on one channel, several at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from event_contracts.values import Channel
from notifier import metrics
from notifier.application.deliver import DeliverNotification
from notifier.application.ports import Claimed, Deliveries

log = structlog.get_logger(__name__)


class ChannelWorker:
    """One channel's deliveries. Each channel has its own index and its own worker, so none waits for another.

    No more is claimed than can be begun at once: a lease that waits for its turn would run out, and another replica
    would send the same.
    """

    def __init__(
        self,
        channel: Channel,
        deliver: DeliverNotification,
        deliveries: Deliveries,
        *,
        concurrency: int,
        is_ready: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        self._channel = channel
        self._deliver = deliver
        self._deliveries = deliveries
        self._concurrency = concurrency
        self._is_ready = is_ready
        self._wake = wake
        self._running: set[asyncio.Task[None]] = set()
        self._more = False

    async def step(self) -> None:
        """Begin what is due and has room, and return at once; a delivery that ends asks for the next step."""
        room = self._concurrency - len(self._running)
        if room <= 0 or not self._is_ready():
            return
        claimed = await self._deliveries.claim(self._channel, room)
        self._more = len(claimed) == room
        for one in claimed:
            task = asyncio.create_task(self._run(one), name=f"deliver-{self._channel}")
            self._running.add(task)
            task.add_done_callback(self._ended)

    async def close(self, grace: float) -> None:
        """Let what runs end for `grace` seconds, then leave it to its lease."""
        running = list(self._running)
        if running:
            await asyncio.wait(running, timeout=grace)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._more:
            self._wake()

    async def _run(self, claimed: Claimed) -> None:
        notification = claimed.delivery.notification
        try:
            await self._deliver.run(claimed)
        except Exception:
            metrics.delivery_errors.labels(self._channel).inc()
            log.exception(
                "delivery_failed_unexpectedly",
                channel=self._channel,
                notification_id=str(notification.notification_id),
            )
