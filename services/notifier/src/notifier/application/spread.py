"""Spread a notification over the places that one of the person's channels leads to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from event_contracts.notifications import DeliveryOutcome
from event_contracts.values import Channel
from notifier.application.errors import PublishFailed, TaskApiUnavailable
from notifier.application.ports import Claimed, Clock, Deliveries, Events, LaneQueue, TaskApi
from notifier.domain.lanes import Lane
from notifier.domain.notifications import Notification, Verdict

_PLACES = {Channel.WEBHOOK: "webhook", Channel.CHAT: "chat room", Channel.PUSH: "browser"}


class SpreadNotification:
    """Queues one delivery per destination, and takes the channel's own entry out once all are queued.

    A person without such a place is the rule, so nothing is said of that, unless this very reminder names the channel:
    then they wait for something that cannot come. Whether the notification still matters is
    asked right before each send, not here. A process that dies in between spreads again: what is queued stays once.
    """

    def __init__(
        self,
        *,
        deliveries: Deliveries,
        lanes: LaneQueue,
        task_api: TaskApi,
        events: Events,
        clock: Clock,
        postpone: Callable[[Claimed], Awaitable[None]],
    ) -> None:
        self._deliveries = deliveries
        self._lanes = lanes
        self._task_api = task_api
        self._events = events
        self._clock = clock
        self._postpone = postpone

    async def run(self, claimed: Claimed) -> None:
        """Spread it, or put it off while task-api cannot say where the person is reached."""
        notification, channel = claimed.delivery.notification, claimed.delivery.channel
        try:
            contact = await self._task_api.contact(notification.user_id)
            places = () if contact is None else contact.destinations(channel)
            for place in places:
                await self._lanes.enqueue_in(Lane(channel, place.id), notification)
            if not places and contact is not None:
                await self._miss(claimed)
        except (TaskApiUnavailable, PublishFailed):
            await self._postpone(claimed)
            return
        await self._deliveries.finish(claimed)

    async def _miss(self, claimed: Claimed) -> None:
        """Say that there is no such place, if the reminder asks for one and still matters."""
        notification, channel = claimed.delivery.notification, claimed.delivery.channel
        stands = claimed.delivery.verdict
        if stands is None and await self._is_asked_for(notification, channel):
            reason = f"no {_PLACES[channel]} is set up"
            verdict = Verdict(DeliveryOutcome.CANCELLED, 1, await self._clock.now(), reason)
            stands = await self._deliveries.record(claimed, verdict)
        if stands is not None:
            await self._events.delivered(claimed.delivery, stands)

    async def _is_asked_for(self, notification: Notification, channel: Channel) -> bool:
        task = await self._task_api.task(notification.task_id)
        if task is None or not task.is_open or task.user_id != notification.user_id:
            return False
        return any(
            one.reminder_id == notification.reminder_id and channel in one.channels for one in task.reminders
        )
