"""One notification, and how it fares on one channel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from event_contracts.notifications import DeliveryOutcome
from event_contracts.origin import UNKNOWN, Origin
from event_contracts.values import Channel

OUTSIDE = (Channel.WEBHOOK, Channel.CHAT, Channel.PUSH)
"""Channels that lead to places the person named. A notification on them is first spread over those places."""

CHANNELS = (Channel.EMAIL, *OUTSIDE, Channel.INBOX)
"""The channels there are, in the order in which they are queued: the inbox comes last, so that what the person
sees in it was queued everywhere."""


@dataclass(frozen=True, slots=True)
class Notification:
    """A reminder that fired, or the next occurrence of a series that is there, which has no `reminder_id`.

    The id is the same for every copy of that news; ids and times only, no text. `fire_at` is when there was something
    to tell: the reminder's time, or when the occurrence was committed. `fired_at` is when the reminder fired, as the
    news said that was let in first; None where nobody noted it, and of what waited for its task to be opened again.
    """

    notification_id: UUID
    task_id: UUID
    reminder_id: UUID | None
    user_id: UUID
    fire_at: datetime
    fired_at: datetime | None = None

    @property
    def is_of_occurrence(self) -> bool:
        return self.reminder_id is None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one channel ended. `attempt` counts the tries to send, from 1; `at` is when it was known, in UTC.

    `until_changed` is a cancellation that holds only as long as the task stays closed, or its reminder elsewhere.
    """

    outcome: DeliveryOutcome
    attempt: int
    at: datetime
    reason: str | None = None
    until_changed: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """What was tried so far on one channel.

    `attempts` are tries to send that failed; `first_tried_at` is the time of the first of them. `postponements`
    are rounds in which there was no try, because what must be asked before could not be asked. `held_until` is when
    a digest of which it is the first is, or was, to go out: what has it is not put into another one. `begun` says that
    a try began: should nothing else be known of it, the message may be out.
    """

    attempts: int = 0
    postponements: int = 0
    first_tried_at: datetime | None = None
    held_until: datetime | None = None
    begun: bool = False

    @property
    def is_fresh(self) -> bool:
        """Whether the person cannot have heard of it, so that it may come under another identity, a digest's."""
        return not (self.attempts or self.begun) and self.held_until is None

    def begin(self) -> Progress:
        return replace(self, begun=True)

    def after_attempt(self, now: datetime) -> Progress:
        return replace(
            self, attempts=self.attempts + 1, postponements=0, first_tried_at=self.first_tried_at or now
        )

    def after_quiet(self, until: datetime) -> Progress:
        """What waits in its lane for the person's morning has its whole time to be tried still before it."""
        return replace(self, first_tried_at=until) if self.first_tried_at and not self.attempts else self

    def after_postponement(self) -> Progress:
        return replace(self, postponements=self.postponements + 1)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification on its way through one channel. A verdict that is there is final.

    `destination` names one of the person's webhooks, chat rooms or browsers. It is None on the channels that have
    none, and where the notification still has to be spread over them.
    """

    notification: Notification
    channel: Channel
    progress: Progress = Progress()
    verdict: Verdict | None = None
    destination: UUID | None = None
    origin: Origin = UNKNOWN

    @property
    def is_to_be_spread(self) -> bool:
        """Whether it stands for all of the person's places on its channel, and never has a verdict itself."""
        return self.channel in OUTSIDE and self.destination is None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try on one channel as the person sees it. `outcome` is None when it failed and comes again."""

    channel: Channel
    destination: UUID | None
    number: int
    at: datetime
    outcome: DeliveryOutcome | None
    reason: str | None


def latency(notification: Notification, at: datetime) -> timedelta:
    """Time since there was something to tell; never negative, clocks of two machines may disagree."""
    return max(at - notification.fire_at, timedelta(0))
