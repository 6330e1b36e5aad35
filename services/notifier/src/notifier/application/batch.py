"""What one claim brings to its end together: one delivery as a rule, a digest's several as an exception."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from event_contracts.tasks import TaskSnapshot
from event_contracts.values import Channel, LatePolicy
from notifier.application.ports import Claimed
from notifier.domain.contact import Contact
from notifier.domain.notifications import Delivery, Verdict
from notifier.domain.timing import GATHERING, GATHERING_OCCURRENCES, LATE

Verdicts = list[tuple[Claimed, Verdict]]


@dataclass(frozen=True, slots=True)
class Moot:
    """Why it does not matter any more, and whether it may again when the task is changed.

    `unasked` is what nobody ever asked for; nothing is said of it.
    """

    reason: str
    until_changed: bool
    unasked: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Until when it has to wait, and whether it then goes out together with what else waits."""

    until: datetime
    together: bool


@dataclass
class Batch:
    """The first of a digest and those that follow it; without followers, one delivery.

    `open` are those without a verdict, by their time, but the first that was held last: its verdict is written when all
    others have theirs. `wanted` are those of them that still matter.
    """

    claimed: Claimed
    contact: Contact | None = None
    tasks: dict[UUID, TaskSnapshot] = field(default_factory=dict)
    _moot: dict[UUID, Moot] = field(default_factory=dict)

    @property
    def open(self) -> list[Claimed]:
        every = (*self.claimed.followers, self.claimed)
        return [one for one in every if one.delivery.verdict is None]

    @property
    def known(self) -> Verdicts:
        """Those that have a verdict already and were not told of yet."""
        every = (*self.claimed.followers, self.claimed)
        return [(one, one.delivery.verdict) for one in every if one.delivery.verdict is not None]

    @property
    def wanted(self) -> list[Claimed]:
        kept = [one for one in self.open if self.moot(one) is None]
        return sorted(kept, key=lambda one: one.delivery.notification.fire_at)

    def drop(self, one: Claimed, moot: Moot) -> None:
        self._moot[one.delivery.notification.notification_id] = moot

    def moot(self, one: Claimed) -> Moot | None:
        return self._moot.get(one.delivery.notification.notification_id)

    def task_of(self, one: Claimed) -> TaskSnapshot:
        return self.tasks[one.delivery.notification.notification_id]


def is_gathered(delivery: Delivery, contact: Contact | None) -> bool:
    """Whether it would be put into a digest if it had to wait. New occurrences come together whatever the policy: a
    series that catches up would be a storm."""
    if contact is None or delivery.channel is Channel.INBOX:
        return False
    return delivery.notification.is_of_occurrence or contact.late_policy is LatePolicy.DIGEST


def when(delivery: Delivery, contact: Contact, now: datetime) -> Wait | None:
    """Say until when this person's quiet hours, or the gathering of what is late, keep it back; None when it may go.

    Only what is fresh is put into a digest: under another identity it would be heard twice.
    """
    is_fresh = delivery.progress.is_fresh
    is_of_occurrence = delivery.notification.is_of_occurrence
    together = is_fresh and is_gathered(delivery, contact)
    if contact.quiet_hours and (until := contact.quiet_hours.end(now, ZoneInfo(contact.timezone))):
        return Wait(until, together)
    if together and is_of_occurrence:
        return Wait(now + GATHERING_OCCURRENCES, together)
    if together and now - delivery.notification.fire_at > LATE:
        return Wait(now + GATHERING, together)
    return None
