"""How late does a message come? Asked of each try at its moment, of what the person wished as they wish it now."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from event_contracts.tasks import TaskSnapshot
from event_contracts.values import Channel
from notifier.domain.contact import Contact
from notifier.domain.notifications import Delivery
from notifier.domain.timing import LATE

_SECOND = timedelta(seconds=1)


def late_by(
    delivery: Delivery, task: TaskSnapshot, contact: Contact | None, now: datetime
) -> timedelta | None:
    """How late it comes when it is tried `now`, where that is more than LATE; whole seconds.

    One rule, whoever held it up (the reminders, the bus, this service, the receiver): it is late since the moment at
    which the person should have heard it on this channel. That is the reminder's time, or when it was set, if that was
    later; and where that moment lies in quiet hours, which the inbox does not know, it is their end.

    So a night that the person wished is not called late, nor what went wrong within it. But what they wished to hear
    before the night and did not is late since then: at seven in the morning, 11 h late is what was for eight in the
    evening. The hours less those of the night would point at a time at which nobody wanted to hear anything. A digest's
    gathering is shorter than LATE and befalls only what is late already, so it makes nothing late.

    None as well where there is no such moment: the word on an occurrence, a reminder that is gone, and what waited for
    its task to be opened again, of which nobody noted when it fired.
    """
    notification = delivery.notification
    reminder = next((one for one in task.reminders if one.reminder_id == notification.reminder_id), None)
    if notification.fired_at is None or reminder is None:
        return None
    late = now - _wanted_at(max(notification.fire_at, reminder.set_at), delivery.channel, contact)
    return late // _SECOND * _SECOND if late > LATE else None


def _wanted_at(moment: datetime, channel: Channel, contact: Contact | None) -> datetime:
    if contact is None or contact.quiet_hours is None or channel is Channel.INBOX:
        return moment
    return contact.quiet_hours.end(moment, ZoneInfo(contact.timezone)) or moment
