"""Deliver one notification on one channel, or several as one message: ask, send, tell, finish."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

import structlog

from event_contracts.notifications import DeliveryOutcome
from event_contracts.values import Channel
from notifier import metrics
from notifier.application.batch import Batch, Moot, Verdicts, Wait, is_gathered, when
from notifier.application.errors import (
    ChannelRefused,
    ChannelUnavailable,
    LeaseLost,
    NotReady,
    PublishFailed,
    TaskApiUnavailable,
)
from notifier.application.origins import carried_on, in_its_trace
from notifier.application.ports import Claimed, Clock, Deliveries, Events, Languages, Sender, TaskApi
from notifier.application.requeue import RequeueCancelled
from notifier.application.tell_of_try import name_in, tell_of_try
from notifier.domain.lateness import late_by
from notifier.domain.notifications import CHANNELS, Attempt, Delivery, Notification, Verdict, latency
from notifier.domain.relevance import is_unasked, may_matter_again, why_not
from notifier.domain.retries import RetryPolicy
from notifier.domain.timing import is_too_late
from notifier.domain.wording import digest_message, message_of
from service_kit.telemetry import asking

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how long. `time_limit` (s) of one try is below the lease; `chance` gives [0, 1).

    `aside` (s) is how long telling of a try that comes again may take: no longer than the shortest wait for it.
    """

    retries: RetryPolicy
    time_limit: float
    chance: Callable[[], float]
    aside: float = 0.5


class Trial(Enum):
    """What a run says of the channel: it took the message, it could not, or it was not asked or answered for good."""

    TAKEN = auto()
    FAILED = auto()
    NONE = auto()


class DeliverNotification:
    """The steps of one claimed delivery. A process may die after each of them:

    1. ask task-api whether it still matters; 2. send; 3. write the verdict down; 4. publish it; 5. take the entry out.
    Before 5, one that was cancelled because of how the task is asks again: it may have been changed back by now.

    Dying before 3 repeats 1 and 2: the inbox knows its notifications and takes each once, mail goes out again under
    the same Message-ID. Dying after 3 repeats only 4, with the same event id, and 5.

    A try that failed and comes again is put off, and told of then.

    A digest goes the same way as one: under the lease and the identity of the first that was held, with a verdict for
    each reminder in it.
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
        requeue: RequeueCancelled,
        languages: Languages,
    ) -> None:
        self._sender = sender
        self._deliveries = deliveries
        self._task_api = task_api
        self._events = events
        self._clock = clock
        self._pace = pace
        self._requeue = requeue
        self._languages = languages

    async def run(self, claimed: Claimed) -> Trial:
        """Bring it to its end, or put it off. Errors of the index itself are raised: the lease then runs out."""
        trial, verdicts = await self._settle(claimed)
        await self._tell(claimed, verdicts)
        return trial

    async def leave(self, claimed: Claimed, until: datetime) -> None:
        """Put it off until then without a try, or give it up when its time is over."""
        now = await self._clock.now()
        progress = claimed.delivery.progress
        if claimed.delivery.verdict is None and not self._pace.retries.is_over(progress, now):
            await self._deliveries.put_off(claimed, progress, until)
            return
        reason = "given up: the destination did not answer for too long"
        with carried_on(claimed, f"give up {claimed.delivery.channel}"):
            await self._tell(claimed, await self._end(Batch(claimed), DeliveryOutcome.FAILED, reason))

    async def _settle(self, claimed: Claimed) -> tuple[Trial, Verdicts]:
        """Try it, and give the verdicts that stand now; none when it is put off."""
        batch = Batch(claimed)
        if not batch.open:
            return Trial.NONE, batch.known
        try:
            async with asyncio.timeout(self._pace.time_limit):
                wait = await self._ask(batch)
                if wait is None and batch.wanted:
                    await self._send(batch)
        except (TaskApiUnavailable, NotReady):
            await self.postpone(claimed)
            return Trial.NONE, []
        except LeaseLost:
            return Trial.NONE, []
        except ChannelRefused as refused:
            return Trial.NONE, await self._end(batch, DeliveryOutcome.FAILED, refused.reason)
        except ChannelUnavailable as unavailable:
            return Trial.FAILED, await self._try_later(batch, unavailable.reason)
        except TimeoutError:
            return Trial.FAILED, await self._try_later(batch, "no answer in time")
        if wait is not None:
            progress = claimed.delivery.progress.after_quiet(wait.until)
            give_back = self._deliveries.hold if wait.together else self._deliveries.put_off
            await give_back(claimed, progress, wait.until)
            return Trial.NONE, []
        trial = Trial.TAKEN if batch.wanted else Trial.NONE
        return trial, await self._end(batch, DeliveryOutcome.DELIVERED, None)

    async def _ask(self, batch: Batch) -> Wait | None:
        """Find out which of it still matters, of the tasks and the person as they are now, and whether it has to wait.

        What the channel knows to be out already is not called cancelled, whatever happened to the task since: it is
        sent once more, which the channel takes as the copy it is, and its aftermath is seen to.

        The inbox disturbs nobody: quiet hours and lateness keep nothing out of it.
        """
        first = batch.claimed.delivery
        contact = batch.contact = await self._task_api.contact(first.notification.user_id)
        for one in batch.open:
            notification = one.delivery.notification
            unasked = is_unasked(one.delivery, contact)
            if unasked and not await self._sender.sent_before(notification):
                batch.drop(one, Moot("not wanted", until_changed=False, unasked=True))
                continue
            task = await self._task_api.task(notification.task_id)
            reason = why_not(one.delivery, task, contact)
            if task is None or (reason is not None and not await self._sender.sent_before(notification)):
                again = task is not None and may_matter_again(notification, task)
                batch.drop(one, Moot(reason or "task not found", again))
            else:
                batch.tasks[notification.notification_id] = task
        if not batch.wanted or contact is None or first.channel is Channel.INBOX:
            return None
        now = await self._clock.now()
        if (wait := when(first, contact, now)) is not None:
            return wait
        for one in batch.wanted:
            if is_too_late(one.delivery.notification.fire_at, now, contact.drop_after):
                batch.drop(one, Moot("later than wanted", until_changed=False))
        return None

    async def _send(self, batch: Batch) -> None:
        delivery = batch.claimed.delivery
        words = self._languages.words("en" if batch.contact is None else batch.contact.locale)
        now = await self._clock.now()
        told = [(one.delivery, batch.task_of(one)) for one in batch.wanted]
        messages = tuple(
            message_of(one.notification, task, words, late_by(one, task, batch.contact, now))
            for one, task in told
        )
        message = messages[0]
        if batch.claimed.followers:
            message = digest_message(delivery, messages, words)
            metrics.digests.labels(delivery.channel).inc()
        if delivery.channel is Channel.INBOX and delivery.notification.is_of_occurrence:
            await self._queue_elsewhere(delivery.notification)
        if is_gathered(delivery, batch.contact) and delivery.progress.is_fresh:
            # Should this process die with the message out, it must come again as what it is, and in no digest. Nor may
            # it go out now when another replica has put it into one meanwhile.
            is_ours = await self._deliveries.note(batch.claimed, delivery.progress.begin())
            if not is_ours:
                raise LeaseLost
        with asking(f"send {delivery.channel}"):
            await self._sender.send(delivery, message, told[0][1], batch.contact)

    async def _queue_elsewhere(self, notification: Notification) -> None:
        """The occurrence is wanted: queue it on the other channels. The inbox comes last, as with reminders."""
        others = [channel for channel in CHANNELS if channel is not Channel.INBOX]
        await self._deliveries.enqueue_all(notification, others)

    async def _try_later(self, batch: Batch, reason: str) -> Verdicts:
        now = await self._clock.now()
        claimed = batch.claimed
        progress = claimed.delivery.progress.after_attempt(now)
        metrics.failed_attempts.labels(claimed.delivery.channel).inc()
        until = self._pace.retries.after_attempt(progress, now, self._pace.chance())
        if until is None:
            return await self._end(batch, DeliveryOutcome.FAILED, f"given up: {reason}")
        delivery = claimed.delivery
        failed = Attempt(delivery.channel, delivery.destination, progress.attempts, now, None, reason)
        for one in batch.wanted:
            if one is not claimed:
                await self._deliveries.put_off(one, progress, until, failed)
        tried = claimed in batch.wanted
        await self._deliveries.put_off(claimed, progress, until, failed if tried else None)
        await tell_of_try(self._events, batch, failed, within=self._pace.aside)
        return []

    async def postpone(self, claimed: Claimed) -> None:
        """Put off what could not be tried, because what must be asked before could not be asked."""
        now = await self._clock.now()
        progress = claimed.delivery.progress.after_postponement()
        until = self._pace.retries.after_postponement(progress, now, self._pace.chance())
        await self._deliveries.put_off(claimed, progress, until)

    async def _end(self, batch: Batch, outcome: DeliveryOutcome, reason: str | None) -> Verdicts:
        """Write the verdicts down, that of the first last: while it has none, a digest is tried again."""
        attempt = batch.claimed.delivery.progress.attempts + 1
        now = await self._clock.now()
        verdicts = batch.known
        for one in batch.open:
            verdict = Verdict(outcome, attempt, now, reason)
            if (moot := batch.moot(one)) is not None:
                if moot.unasked:
                    await self._deliveries.drop(one)
                    continue
                verdict = Verdict(DeliveryOutcome.CANCELLED, attempt, now, moot.reason, moot.until_changed)
            stands = await self._deliveries.record(one, verdict)
            if stands is not None:
                verdicts.append((one, stands))
        return verdicts

    async def _tell(self, claimed: Claimed, verdicts: Verdicts) -> None:
        for one, verdict in verdicts:
            try:
                with in_its_trace(one, claimed):
                    await self._events.delivered(one.delivery, verdict, await self._place(one.delivery))
                    if verdict.until_changed:
                        await self._requeue_if_current(one.delivery.notification)
                    if await self._deliveries.finish(one):
                        _note(one.delivery, verdict)
            except (PublishFailed, TaskApiUnavailable):
                await self.postpone(claimed)
                return

    async def _place(self, delivery: Delivery) -> str | None:
        """The name of its destination; None where there is none, or not any more."""
        if delivery.destination is None:
            return None
        return name_in(await self._task_api.contact(delivery.notification.user_id), delivery)

    async def _requeue_if_current(self, notification: Notification) -> None:
        task = await self._task_api.task(notification.task_id)
        if task is not None and task.is_open:
            await self._requeue.run(notification.user_id, notification.task_id, task)


def _note(delivery: Delivery, verdict: Verdict) -> None:
    log.info(
        "delivery_ended",
        channel=delivery.channel,
        outcome=verdict.outcome,
        attempt=verdict.attempt,
        notification_id=str(delivery.notification.notification_id),
        task_id=str(delivery.notification.task_id),
    )
    metrics.notifications.labels(delivery.channel, verdict.outcome).inc()
    if verdict.outcome is DeliveryOutcome.DELIVERED and not delivery.notification.is_of_occurrence:
        waited = latency(delivery.notification, verdict.at)
        metrics.delivery_latency.labels(delivery.channel).observe(waited.total_seconds())
