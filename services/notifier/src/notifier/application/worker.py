"""Work off what is due on one channel, several at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog

from event_contracts.values import Channel
from notifier import metrics
from notifier.application.origins import carried_on
from notifier.application.ports import Claimed, Deliveries
from notifier.application.side_by_side import SideBySide

log = structlog.get_logger(__name__)


class Step(Protocol):
    """What is done with one claimed delivery."""

    async def run(self, claimed: Claimed) -> object: ...


class ChannelWorker:
    """One channel's deliveries. Each channel has its own index and its own worker, so none waits for another.

    No more is claimed than can be begun at once: a lease that waits for its turn would run out, and another replica
    would send the same.
    """

    def __init__(
        self,
        channel: Channel,
        deliver: Step,
        deliveries: Deliveries,
        *,
        concurrency: int,
        is_ready: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        self._channel = channel
        self._deliver = deliver
        self._deliveries = deliveries
        self._is_ready = is_ready
        self._wake = wake
        self._more = False
        self._running = SideBySide(concurrency, self._ended)
        self.close = self._running.close

    async def step(self) -> None:
        """Begin what is due and has room, and return at once; a delivery that ends asks for the next step."""
        room = self._running.room
        if room <= 0 or not self._is_ready():
            return
        claimed = await self._deliveries.claim(self._channel, room)
        self._more = len(claimed) == room
        for one in claimed:
            self._running.begin(self._run(one), f"deliver-{self._channel}")

    def _ended(self) -> None:
        if self._more:
            self._wake()

    async def _run(self, claimed: Claimed) -> None:
        notification = claimed.delivery.notification
        with carried_on(claimed, f"deliver {self._channel}"):
            try:
                await self._deliver.run(claimed)
            except Exception:
                metrics.delivery_errors.labels(self._channel).inc()
                log.exception(
                    "delivery_failed_unexpectedly",
                    channel=self._channel,
                    notification_id=str(notification.notification_id),
                )
