"""The two channels there are, each as one way of sending."""

from __future__ import annotations

from event_contracts.tasks import TaskSnapshot
from notifier.application.errors import ChannelRefused
from notifier.application.ports import Clock, Inbox, Mailer, TaskRecords
from notifier.domain.contact import Contact
from notifier.domain.notifications import Notification
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

    async def send(self, message: Message, task: TaskSnapshot, contact: Contact | None) -> None:
        now = await self._clock.now()
        await self._inbox.add(message, now)
        if not await self._is_still_open(task):
            await self._inbox.clear(message.user_id, message.task_id, now)

    async def _is_still_open(self, task: TaskSnapshot) -> bool:
        newest = (await self._records.load(task.task_id)).record
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

    async def send(self, message: Message, task: TaskSnapshot, contact: Contact | None) -> None:
        if contact is None:
            raise ChannelRefused("user not found")
        await self._mailer.send(message, contact, await self._clock.now())
