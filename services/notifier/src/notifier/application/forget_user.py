"""An account is gone: erase what is kept of the person."""

from __future__ import annotations

from uuid import UUID

from notifier.application.live_ports import LiveEvents
from notifier.application.ports import Deliveries, Inbox, TaskApi


class ForgetUser:
    """Erases inbox, read marks, deliveries with their dedupe keys, the live stream, and the remembered address.

    The inbox closes first: a delivery that is on its way finds it shut.
    """

    def __init__(self, inbox: Inbox, deliveries: Deliveries, task_api: TaskApi, live: LiveEvents) -> None:
        self._inbox = inbox
        self._deliveries = deliveries
        self._task_api = task_api
        self._live = live

    async def run(self, user_id: UUID) -> None:
        await self._inbox.erase(user_id)
        await self._live.erase(user_id)
        await self._deliveries.forget(user_id)
        self._task_api.forget(user_id)
