"""The channels there are, each as one way of sending."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from event_contracts.tasks import TaskSnapshot
from notifier.application.errors import ChannelRefused, DestinationGone
from notifier.application.ports import (
    Browsers,
    ChatRooms,
    Clock,
    Inbox,
    Mailer,
    TaskApi,
    TaskRecords,
    Webhooks,
)
from notifier.domain.contact import Chat, Contact, Destination, PushSubscription, Webhook
from notifier.domain.inbox import ClosedTask
from notifier.domain.notifications import Delivery, Notification
from notifier.domain.task_record import Order, TaskRecord
from notifier.domain.wording import Message


class InboxSender:
    """Puts the notification into the person's inbox, once.

    The task may be closed between the question whether it is open and the entry. Whoever closes it writes the record
    first and clears the inbox then; this side adds the entry first and reads the record then. So one of the two sees
    the other's work, and no entry of a closed task stays unread.
    """

    def __init__(self, inbox: Inbox, records: TaskRecords, clock: Clock) -> None:
        self._inbox = inbox
        self._records = records
        self._clock = clock

    async def sent_before(self, notification: Notification) -> bool:
        return await self._inbox.contains(notification.user_id, notification.notification_id)

    async def send(
        self, delivery: Delivery, message: Message, task: TaskSnapshot, contact: Contact | None
    ) -> None:
        now = await self._clock.now()
        await self._inbox.add(message, task.order, now)
        newest = (await self._records.load(task.task_id)).record
        if not is_open_by(newest, task):
            await self._inbox.clear(
                ClosedTask(message.user_id, task.task_id, newest_order(newest, task), now)
            )


def newest_order(newest: TaskRecord | None, task: TaskSnapshot) -> Order:
    """The version of the newer of its record, if there is one, and this snapshot."""
    return task.order if newest is None else max(newest.order, task.order)


def is_open_by(newest: TaskRecord | None, task: TaskSnapshot) -> bool:
    """Whether a task is open by the newer of its record, if there is one, and this snapshot."""
    if newest is not None and newest.order > task.order:
        return newest.is_open
    return task.is_open


class EmailSender:
    """Hands the notification to the mail server; a copy carries the same Message-ID."""

    def __init__(self, mailer: Mailer, clock: Clock) -> None:
        self._mailer = mailer
        self._clock = clock

    async def sent_before(self, notification: Notification) -> bool:
        return False

    async def send(
        self, delivery: Delivery, message: Message, task: TaskSnapshot, contact: Contact | None
    ) -> None:
        if contact is None:
            raise ChannelRefused("user not found")
        await self._mailer.send(message, contact, await self._clock.now())


@dataclass(frozen=True, slots=True)
class OutsideSenders:
    """The ways out of Taskstream but mail."""

    webhooks: Webhooks
    chats: ChatRooms
    browsers: Browsers

    async def send(self, to: Destination, message: Message, at: datetime) -> None:
        """Send it there. Raises ChannelUnavailable, ChannelRefused and its DestinationGone."""
        match to:
            case Webhook() as webhook:
                await self.webhooks.post(webhook, message, at)
            case Chat() as chat:
                await self.chats.say(chat, message)
            case PushSubscription() as browser:
                await self.browsers.push(browser, message, at)


class DestinationSender:
    """Sends to one webhook, chat room or browser of the person. A browser that is no more is struck off."""

    def __init__(self, ways: OutsideSenders, task_api: TaskApi, clock: Clock) -> None:
        self._ways = ways
        self._task_api = task_api
        self._clock = clock

    async def sent_before(self, notification: Notification) -> bool:
        return False

    async def send(
        self, delivery: Delivery, message: Message, task: TaskSnapshot, contact: Contact | None
    ) -> None:
        if contact is None or delivery.destination is None:
            raise ChannelRefused("user not found")
        place = contact.destination(delivery.channel, delivery.destination)
        if place is None:
            raise ChannelRefused("destination removed")
        try:
            await self._ways.send(place, message, await self._clock.now())
        except DestinationGone:
            if isinstance(place, PushSubscription):
                await self._task_api.remove_push(place.id)
            raise
