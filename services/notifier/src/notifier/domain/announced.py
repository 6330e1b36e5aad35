"""Reminders that fired and occurrences that were made, as task-api remembers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from event_contracts.notifications import DeliveryOutcome
from event_contracts.values import Channel
from notifier.domain.notifications import CHANNELS, Notification


@dataclass(frozen=True, slots=True)
class Told:
    """What task-api knows of one notification's end on one channel; which of several destinations, it does not."""

    channel: Channel
    outcome: DeliveryOutcome
    attempt: int
    reason: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Announced:
    """What there was to tell of, what came of its notification by channel, and when the person read that."""

    notification: Notification
    told: Sequence[Told]
    read_at: datetime | None

    @property
    def is_in_inbox(self) -> bool:
        """Whether it came there, as far as task-api knows."""
        return any(
            (one.channel, one.outcome) == (Channel.INBOX, DeliveryOutcome.DELIVERED) for one in self.told
        )

    @property
    def begun(self) -> Sequence[Channel]:
        """Channels on which it was queued: an occurrence at first in the inbox alone."""
        return CHANNELS if self.is_in_inbox or not self.notification.is_of_occurrence else (Channel.INBOX,)

    @property
    def settled(self) -> set[Channel]:
        """Channels on which it came to an end, be it that it was cancelled."""
        return {one.channel for one in self.told}

    @property
    def over(self) -> set[Channel]:
        """Channels on which it got through, or was given up: nothing is queued there any more."""
        return {one.channel for one in self.told if one.outcome is not DeliveryOutcome.CANCELLED}


@dataclass(frozen=True, slots=True)
class AnnouncedPage:
    """Some of them; `next_cursor` is None on the last page."""

    items: Sequence[Announced]
    next_cursor: str | None
