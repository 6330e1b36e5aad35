"""Does a notification still matter? Asked right before each send, of the task as it stands at that moment."""

from __future__ import annotations

from datetime import datetime, timedelta

from event_contracts.tasks import ReminderDefinition, TaskSnapshot
from event_contracts.values import Channel, ClosedBy, TaskStatus
from notifier.domain.contact import Contact
from notifier.domain.notifications import Delivery, Notification
from notifier.domain.occurrences import occurrence_id

_MILLISECOND = timedelta(milliseconds=1)
_NOT_WANTED = "not wanted"
_OF_ITS_REMINDER = ("reminder removed", "reminder moved", "reminder snoozed", "task has no due date any more")
_OF_ITS_STATUS = ("task deleted", "task archived", *(f"task {by}" for by in ClosedBy))


def why_not(delivery: Delivery, task: TaskSnapshot | None, contact: Contact | None) -> str | None:
    """Give the reason not to send, in a few words for the task's activity, or None when it should go out.

    `task` and `contact` are None when task-api knows no such task or user.
    """
    notification = delivery.notification
    if task is None:
        return "task not found"
    if task.user_id != notification.user_id:
        return "task belongs to someone else"
    if not task.is_open:
        return _why_closed(task)
    if notification.is_of_occurrence:
        return _why_not_told(delivery, task, contact)
    reminder = next((one for one in task.reminders if one.reminder_id == notification.reminder_id), None)
    if reminder is None:
        return "reminder removed"
    return _why_outdated(reminder, task, notification.fire_at) or _why_not_there(
        delivery, reminder.channels, contact
    )


def is_current(notification: Notification, task: TaskSnapshot) -> bool:
    """Whether the task is open and, of a reminder, means this moment."""
    return task.is_open and (notification.is_of_occurrence or not _is_elsewhere(notification, task))


def may_matter_again(notification: Notification, task: TaskSnapshot) -> bool:
    """Whether what does not matter now would if the task were opened again, or its reminder moved back."""
    return not task.is_open or (not notification.is_of_occurrence and _is_elsewhere(notification, task))


def _is_elsewhere(notification: Notification, task: TaskSnapshot) -> bool:
    reminder = next((one for one in task.reminders if one.reminder_id == notification.reminder_id), None)
    if reminder is None:
        return True
    wanted = task.fire_time(reminder)
    return wanted is None or not _is_same_moment(wanted, notification.fire_at)


def ends_with_a_change(reason: str | None) -> bool:
    """Whether a cancellation for this reason, one that `why_not` gave, is over once the task is changed back."""
    return reason in _OF_ITS_REMINDER or (reason is not None and reason.startswith(_OF_ITS_STATUS))


def is_unasked(delivery: Delivery, contact: Contact | None) -> bool:
    """Whether it is the first word on an occurrence for a person who hears of none: then it ends without a trace.

    That is nearly everybody, nearly always, and "not wanted" in every occurrence's activity would tell nobody anything.
    """
    begins = delivery.notification.is_of_occurrence and delivery.channel is Channel.INBOX
    return begins and contact is not None and not contact.generated


def _why_not_told(delivery: Delivery, task: TaskSnapshot, contact: Contact | None) -> str | None:
    if delivery.notification.notification_id != occurrence_id(task.task_id, task.occurrence_key):
        return "occurrence moved"
    if contact is not None and not contact.generated:
        return _NOT_WANTED
    return _why_not_there(delivery, (), contact)


def _why_closed(task: TaskSnapshot) -> str:
    if task.deleted_at is not None:
        return "task deleted"
    if task.status is TaskStatus.ARCHIVED:
        return "task archived"
    return f"task {task.closed_by}"


def _why_outdated(reminder: ReminderDefinition, task: TaskSnapshot, fire_at: datetime) -> str | None:
    """Say why (reminder, fire_at) is not what the person wants any more.

    A reminder means one moment at a time: snoozed_until, else `at`, else due minus offset. So the pair is current
    exactly when `fire_at` is that moment. `set_at` cannot decide it. A fire time after set_at may still be an old
    one: moved at 9:30 from 10:00 to 15:00 while the bus stood still, it fires at 10:00, later than set_at. And a
    fire time before set_at may be the current one: a reminder set after its moment on a task not yet due fires
    once. Both come out right here, because nothing but the moment is compared.

    Which error is worse? Sending an old reminder of an open task is a nuisance; dropping a current one breaks the
    promise. So a difference that has an innocent cause is none (`_is_same_moment`), and any other is one, however
    short: a reminder that is moved by a fifth of a second fires at its new time as well.

    Acknowledging ends the moment it was said of: an acknowledgement older than set_at is of an earlier one.
    """
    if reminder.acknowledged_at is not None and reminder.acknowledged_at >= reminder.set_at:
        return "reminder acknowledged"
    wanted = task.fire_time(reminder)
    if wanted is None:
        return "task has no due date any more"
    if _is_same_moment(wanted, fire_at):
        return None
    return "reminder snoozed" if reminder.snoozed_until is not None else "reminder moved"


def _is_same_moment(wanted: datetime, fire_at: datetime) -> bool:
    """Whether they differ by what rounding to whole milliseconds takes at most."""
    return abs(wanted - fire_at) < _MILLISECOND


def _why_not_there(delivery: Delivery, named: tuple[Channel, ...], contact: Contact | None) -> str | None:
    if contact is None:
        return "user not found"
    # A reminder's own list chooses among what the person has switched on: who ended mail gets none.
    chosen = named or contact.channels
    if delivery.channel not in chosen or delivery.channel not in contact.channels:
        return _NOT_WANTED
    if delivery.destination is not None and not contact.destination(delivery.channel, delivery.destination):
        return "destination removed"
    return None
