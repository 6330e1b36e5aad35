"""One notification, and how it fares on one channel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from event_contracts.notifications import DeliveryOutcome
from event_contracts.values import Channel

CHANNELS = (Channel.EMAIL, Channel.INBOX)
"""The channels there are, in the order in which they are queued: the inbox comes last, so that what the person
sees in it was queued everywhere."""


@dataclass(frozen=True, slots=True)
class Notification:
    """A reminder that fired. The id is the same for every copy of that news; ids and times only, no text."""

    notification_id: UUID
    task_id: UUID
    reminder_id: UUID
    user_id: UUID
    fire_at: datetime


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one channel ended. `attempt` counts the tries to send, from 1; `at` is when it was known, in UTC."""

    outcome: DeliveryOutcome
    attempt: int
    at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """What was tried so far on one channel.

    `attempts` are tries to send that failed; `first_tried_at` is the time of the first of them. `postponements`
    are rounds in which there was no try, because what must be asked before could not be asked.
    """

    attempts: int = 0
    postponements: int = 0
    first_tried_at: datetime | None = None

    def after_attempt(self, now: datetime) -> Progress:
        return Progress(self.attempts + 1, 0, self.first_tried_at or now)

    def after_postponement(self) -> Progress:
        return replace(self, postponements=self.postponements + 1)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification on its way through one channel. A verdict that is there is final."""

    notification: Notification
    channel: Channel
    progress: Progress = Progress()
    verdict: Verdict | None = None


def latency(notification: Notification, at: datetime) -> timedelta:
    """Time from the moment the reminder should have fired; never negative, clocks of two machines may disagree."""
    return max(at - notification.fire_at, timedelta(0))
