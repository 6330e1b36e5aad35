"""Queue again what was cancelled only because its task was closed, or its reminder meant another moment."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from event_contracts.tasks import TaskSnapshot
from notifier.application.ports import Deliveries, LaneQueue
from notifier.domain.lanes import Lane
from notifier.domain.relevance import is_current


class RequeueCancelled:
    """Takes notifications that are current again off the shelf. Whether they still are is asked before each send.

    Two sides may do this for the same task: whoever hears that it was changed back, and whoever cancelled because of
    how it was and asks again afterwards. The one writes after the change, the other reads after the shelf was written,
    so one of them sees what the other did; and what both see is queued once.
    """

    def __init__(self, deliveries: Deliveries, lanes: LaneQueue, wake: Callable[[], None]) -> None:
        self._deliveries = deliveries
        self._lanes = lanes
        self._wake = wake

    async def run(self, user_id: UUID, task_id: UUID, task: TaskSnapshot | None) -> None:
        """Of an open task, as it is in `task`; None where only that it is open is known: then all are asked for."""
        shelved = [
            delivery
            for delivery in await self._deliveries.shelved(user_id, task_id)
            if task is None or is_current(delivery.notification, task)
        ]
        for delivery in shelved:
            if delivery.destination is None:
                await self._deliveries.requeue(delivery)
            else:
                lane = Lane(delivery.channel, delivery.destination)
                await self._lanes.requeue_in(lane, delivery.notification)
        if shelved:
            self._wake()
