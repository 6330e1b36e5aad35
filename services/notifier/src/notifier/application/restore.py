"""Put back, from what task-api keeps, what was lost of notifications: entries, what was queued, how it ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from event_contracts.notifications import DeliveryOutcome
from event_contracts.tasks import TaskSnapshot
from event_contracts.values import Channel
from notifier import metrics
from notifier.application.few_at_once import few_at_once
from notifier.application.ports import (
    Clock,
    Deliveries,
    Inbox,
    Languages,
    LostDeliveries,
    Settled,
    ShownEntry,
    TaskApi,
    TaskRecords,
)
from notifier.application.requeue import RequeueCancelled
from notifier.application.senders import is_open_by, newest_order
from notifier.domain.announced import Announced, Place
from notifier.domain.contact import Contact
from notifier.domain.inbox import ClosedTask
from notifier.domain.lateness import late_by
from notifier.domain.notifications import OUTSIDE, Delivery, Notification
from notifier.domain.relevance import ends_with_a_change, may_matter_again
from notifier.domain.wording import message_of


class RestoreAnnounced:
    """Takes what there was to tell of, oldest first; however often, and by whomever, it ends in the same state.

    - On a channel with an outcome, it is known again that it was queued, so that no copy of the news queues it anew.
    - Without one it is queued, if it fired within `horizon`: for so long it would have been tried. The word on an
      occurrence is queued for the inbox alone, as at first: other channels wait for it to be wanted there. A channel
      on which the person has no destination, and for which the reminder does not ask, never has an outcome.
    - Of a channel with several destinations each has its own. While one that the person has now is without, and there
      is time, the channel is queued again, to be spread as at first: where the outcome is known it is known, too, that
      it was queued, so it goes to the others alone.
    - What reached the inbox is put there again, read or unread and as late as it was, with the task's text of now.
    - What was cancelled waits for its task again, if that is closed or its reminder means another moment: asked before
      it is sent, the reason is found anew. If the task was changed back since, it is queued: whoever saw that change
      had queued it, and that was lost, or was about to.
    """

    def __init__(
        self,
        inbox: Inbox,
        records: TaskRecords,
        deliveries: Deliveries,
        lost: LostDeliveries,
        task_api: TaskApi,
        languages: Languages,
        clock: Clock,
        requeue: RequeueCancelled,
        *,
        horizon: timedelta,
    ) -> None:
        self._inbox = inbox
        self._records = records
        self._deliveries = deliveries
        self._lost = lost
        self._task_api = task_api
        self._languages = languages
        self._clock = clock
        self._requeue = requeue
        self._horizon = horizon

    async def take_up(self, page: Sequence[Announced]) -> None:
        """Put back a page. Raises TaskApiUnavailable, NotReady."""
        asked_for = {one.notification.task_id for one in page if one.told}
        tasks = {task.task_id: task for task in await self._task_api.tasks(asked_for)}
        missing = await self._missing(page)
        lost = [one for one in page if one.notification.notification_id in missing]
        await self._put_back(lost, tasks)
        known = ((one, tasks.get(one.notification.task_id)) for one in page)
        waiting = {task.task_id for one, task in known if task is not None and _waiting(one, task)}
        await self._follow(tasks.values(), waiting)

    async def _missing(self, page: Sequence[Announced]) -> set[UUID]:
        """Those of which anything is. After a restart of Redis that is few of many."""
        shown = [
            (one.notification.user_id, one.notification.notification_id) for one in page if one.is_in_inbox
        ]
        return await self._lost.missing(page) | await self._inbox.missing(shown)

    async def _follow(self, tasks: Collection[TaskSnapshot], waiting: Collection[UUID]) -> None:
        """Do what is done when a task is closed or opened. Whoever does so meanwhile writes the record first, and
        clears or queues then; here it is the other way round."""
        newest = await self._records.newest([task.task_id for task in tasks])
        closed = [task for task in tasks if not is_open_by(newest.get(task.task_id), task)]
        now = await self._clock.now()
        await self._inbox.clear_many(
            [
                ClosedTask(
                    task.user_id,
                    task.task_id,
                    newest_order(newest.get(task.task_id), task),
                    task.closed_at or task.deleted_at or now,
                )
                for task in closed
            ]
        )
        wanted = set(waiting).difference(task.task_id for task in closed)

        async def requeue(task: TaskSnapshot) -> None:
            await self._requeue.run(task.user_id, task.task_id, task if task.is_open else None)

        await few_at_once(requeue, [task for task in tasks if task.task_id in wanted])

    async def _put_back(self, lost: Sequence[Announced], tasks: Mapping[UUID, TaskSnapshot]) -> None:
        """First what is known of them, then what is to be sent, then what is shown; whoever goes on after a crash in
        between finds them missing still. The first and the last are many, and take one request each."""
        people = {one.notification.user_id for one in lost if one.notification.task_id in tasks}
        contacts = dict(zip(people, await few_at_once(self._task_api.contact, people), strict=True))
        oldest = await self._clock.now() - self._horizon
        known, queued, shown = list[Settled](), list[tuple[Notification, Channel]](), list[ShownEntry]()
        for one in lost:
            notification = one.notification
            task, contact = tasks.get(notification.task_id), contacts.get(notification.user_id)
            in_time = notification.fire_at > oldest
            settled, shelved, nowhere = one.ended_on, set[Place](), set[Channel]()
            if task is not None:
                shelved = _waiting(one, task)
                if contact is not None:
                    nowhere = _leading_nowhere(notification, task, contact) - settled
                    if in_time:
                        settled = _settled(one, contact)
            if one.told:
                known.append(Settled(one, settled, shelved, nowhere))
            if in_time:
                queued += [
                    (notification, channel) for channel in one.begun if channel not in settled | nowhere
                ]
            if task is not None:
                shown += self._entries(one, task, contact)
        await self._lost.put_back(known)
        enqueued = await few_at_once(lambda one: self._deliveries.enqueue(*one), queued)
        metrics.restored.labels("queued").inc(sum(enqueued))
        metrics.restored.labels("entry").inc(await self._inbox.restore(shown))

    def _entries(self, announced: Announced, task: TaskSnapshot, contact: Contact | None) -> list[ShownEntry]:
        words = self._languages.words("en" if contact is None else contact.locale)
        shown = Delivery(announced.notification, Channel.INBOX)
        return [
            ShownEntry(
                message_of(shown.notification, task, words, late_by(shown, task, contact, one.at)),
                one.at,
                announced.read_at,
            )
            for one in announced.told
            if (one.channel, one.outcome) == (Channel.INBOX, DeliveryOutcome.DELIVERED)
        ]


def _leading_nowhere(notification: Notification, task: TaskSnapshot, contact: Contact) -> set[Channel]:
    asked_for = {
        channel
        for reminder in task.reminders
        if reminder.reminder_id == notification.reminder_id
        for channel in reminder.channels
    }
    return {channel for channel in OUTSIDE if not contact.destinations(channel)} - asked_for


def _settled(announced: Announced, contact: Contact) -> set[Channel]:
    """Channels on which it came to an end wherever they lead this person now."""
    return {
        channel
        for channel in announced.ended_on
        if announced.is_settled_on(channel, [one.id for one in contact.destinations(channel)])
    }


def _waiting(announced: Announced, task: TaskSnapshot) -> set[Place]:
    """Places where nothing but cancellations was told, for what may change or has changed since."""
    again = may_matter_again(announced.notification, task)
    waiting = {one.place for one in announced.told if again or ends_with_a_change(one.reason)}
    return waiting - announced.over
