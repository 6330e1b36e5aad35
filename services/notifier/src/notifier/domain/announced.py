"""Reminders that fired and occurrences that were made, as task-api remembers them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from event_contracts.notifications import DeliveryOutcome
from event_contracts.values import Channel
from notifier.domain.notifications import CHANNELS, Notification

Place = tuple[Channel, UUID | None]
"""One destination of a channel, by its id; or, with None, the channel itself."""


@dataclass(frozen=True, slots=True)
class Told:
    """What task-api knows of one notification's end on one channel.

    `destination` is None on the channels that have none, where the person had none, and of outcomes of older releases,
    which did not say it. Such an outcome is that of the whole channel.
    """

    channel: Channel
    outcome: DeliveryOutcome
    attempt: int
    reason: str | None
    at: datetime
    destination: UUID | None = None

    @property
    def place(self) -> Place:
        return self.channel, self.destination


@dataclass(frozen=True, slots=True)
class Announced:
    """What there was to tell of, what came of its notification at each place, and when the person read that."""

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
    def ended_on(self) -> set[Channel]:
        """Channels on which it came to an end at one place at least, be it that it was cancelled."""
        return {one.channel for one in self.told}

    @property
    def settled(self) -> set[Place]:
        """Places where it came to an end, be it that it was cancelled."""
        return {one.place for one in self.told}

    @property
    def over(self) -> set[Place]:
        """Places where it got through, or was given up: nothing is queued there any more."""
        return {one.place for one in self.told if one.outcome is not DeliveryOutcome.CANCELLED}

    def is_settled_on(self, channel: Channel, destinations: Collection[UUID]) -> bool:
        """Whether it came to an end on all of a channel, which leads to these destinations now."""
        ended = {one.destination for one in self.told if one.channel is channel}
        return None in ended or (bool(ended) and ended.issuperset(destinations))


@dataclass(frozen=True, slots=True)
class AnnouncedPage:
    """Some of them; `next_cursor` is None on the last page."""

    items: Sequence[Announced]
    next_cursor: str | None
