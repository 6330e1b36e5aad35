"""Deliver one notification on one channel: ask, send, tell, finish."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from event_contracts.notifications import DeliveryOutcome
from event_contracts.values import Channel
from notifier import metrics
from notifier.application.errors import (
    ChannelRefused,
    ChannelUnavailable,
    NotReady,
    PublishFailed,
    TaskApiUnavailable,
)
from notifier.application.ports import Claimed, Clock, Deliveries, Events, Sender, TaskApi
from notifier.domain.notifications import Delivery, Verdict, latency
from notifier.domain.relevance import why_not
from notifier.domain.retries import RetryPolicy
from notifier.domain.wording import reminder_message


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how long. `time_limit` (s) of one try is below the lease; `chance` gives [0, 1)."""

    retries: RetryPolicy
    time_limit: float
    chance: Callable[[], float]


class DeliverNotification:
    """The steps of one claimed delivery. A process may die after each of them:

    1. ask task-api whether it still matters; 2. send; 3. write the verdict down; 4. publish it; 5. take the entry out.

    Dying before 3 repeats 1 and 2: the inbox knows its notifications and takes each once, mail goes out again under
    the same Message-ID. Dying after 3 repeats only 4, with the same event id, and 5.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        deliveries: Deliveries,
        task_api: TaskApi,
        events: Events,
        clock: Clock,
        pace: Pace,
    ) -> None:
        self._sender = sender
        self._deliveries = deliveries
        self._task_api = task_api
        self._events = events
        self._clock = clock
        self._pace = pace

    async def run(self, claimed: Claimed) -> None:
        """Bring it to its end, or put it off. Errors of the index itself are raised: the lease then runs out."""
        verdict = claimed.delivery.verdict or await self._settle(claimed)
        if verdict is not None:
            await self._tell(claimed, verdict)

    async def _settle(self, claimed: Claimed) -> Verdict | None:
        delivery = claimed.delivery
        try:
            async with asyncio.timeout(self._pace.time_limit):
                cancelled = await self._try(delivery)
        except (TaskApiUnavailable, NotReady):
            await self._postpone(claimed)
            return None
        except ChannelRefused as refused:
            verdict = await self._verdict(delivery, DeliveryOutcome.FAILED, refused.reason)
        except ChannelUnavailable as unavailable:
            return await self._try_later(claimed, unavailable.reason)
        except TimeoutError:
            return await self._try_later(claimed, "no answer in time")
        else:
            outcome = DeliveryOutcome.CANCELLED if cancelled else DeliveryOutcome.DELIVERED
            verdict = await self._verdict(delivery, outcome, cancelled)
        return await self._deliveries.record(claimed, verdict)

    async def _try(self, delivery: Delivery) -> str | None:
        """Send it and give None, or give the reason why it does not matter any more.

        What the channel knows to be out already is not called cancelled, whatever happened to the task since: it is
        sent once more, which the channel takes as the copy it is, and its aftermath is seen to.
        """
        notification = delivery.notification
        task = await self._task_api.task(notification.task_id)
        contact = await self._task_api.contact(notification.user_id)
        reason = why_not(notification, delivery.channel, task, contact)
        if task is None or (reason is not None and not await self._sender.sent_before(notification)):
            return reason
        await self._sender.send(reminder_message(notification, task), task, contact)
        return None

    async def _try_later(self, claimed: Claimed, reason: str) -> Verdict | None:
        now = await self._clock.now()
        progress = claimed.delivery.progress.after_attempt(now)
        metrics.failed_attempts.labels(claimed.delivery.channel).inc()
        until = self._pace.retries.after_attempt(progress, now, self._pace.chance())
        if until is not None:
            await self._deliveries.put_off(claimed, progress, until)
            return None
        verdict = await self._verdict(claimed.delivery, DeliveryOutcome.FAILED, f"given up: {reason}")
        return await self._deliveries.record(claimed, verdict)

    async def _postpone(self, claimed: Claimed) -> None:
        now = await self._clock.now()
        progress = claimed.delivery.progress.after_postponement()
        until = self._pace.retries.after_postponement(progress, now, self._pace.chance())
        await self._deliveries.put_off(claimed, progress, until)

    async def _verdict(self, delivery: Delivery, outcome: DeliveryOutcome, reason: str | None) -> Verdict:
        return Verdict(outcome, delivery.progress.attempts + 1, await self._clock.now(), reason)

    async def _tell(self, claimed: Claimed, verdict: Verdict) -> None:
        delivery = claimed.delivery
        try:
            await self._events.delivered(delivery, verdict)
        except PublishFailed:
            await self._postpone(claimed)
            return
        if await self._deliveries.finish(claimed):
            _count(delivery.channel, delivery, verdict)


def _count(channel: Channel, delivery: Delivery, verdict: Verdict) -> None:
    metrics.notifications.labels(channel, verdict.outcome).inc()
    if verdict.outcome is DeliveryOutcome.DELIVERED:
        waited = latency(delivery.notification, verdict.at)
        metrics.delivery_latency.labels(channel).observe(waited.total_seconds())
