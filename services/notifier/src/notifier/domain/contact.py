"""Where and how a person can be reached, as task-api says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

from event_contracts.values import Channel, LatePolicy
from notifier.domain.timing import QuietHours


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that gets a signed POST; `secret` is `whsec_` and base64 (Standard Webhooks)."""

    id: UUID
    url: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat room as an Apprise address, which holds its credentials."""

    id: UUID
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PushSubscription:
    """A browser (RFC 8030); `p256dh` and `auth` are its keys in base64url (RFC 8291)."""

    id: UUID
    endpoint: str = field(repr=False)
    p256dh: str = field(repr=False)
    auth: str = field(repr=False)


Destination = Webhook | Chat | PushSubscription


def name_of(destination: Destination) -> str:
    """Give what tells it from others in a task's activity and gives nothing away.

    The host, without port; of a chat the kind alone, since Apprise's addresses may have a token where a host would be.
    """
    match destination:
        case Webhook(url=url) | PushSubscription(endpoint=url):
            return _host(url) or "its address"
        case Chat(url=url):
            return url.partition(":")[0]


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Contact:
    """`channels` are those the person wants when a reminder names none. `drop_after` is there with that policy.

    `generated` asks for a word on each next occurrence of a series.
    """

    user_id: UUID
    email: str
    first_name: str | None
    locale: str
    timezone: str
    channels: tuple[Channel, ...]
    webhooks: tuple[Webhook, ...] = ()
    chats: tuple[Chat, ...] = ()
    push: tuple[PushSubscription, ...] = ()
    quiet_hours: QuietHours | None = None
    late_policy: LatePolicy = LatePolicy.SEND
    drop_after: timedelta | None = None
    generated: bool = False

    def destinations(self, channel: Channel) -> tuple[Destination, ...]:
        """Give the places that this channel leads to; the inbox and mail lead to the person and have none."""
        by_channel: dict[Channel, tuple[Destination, ...]] = {
            Channel.WEBHOOK: self.webhooks,
            Channel.CHAT: self.chats,
            Channel.PUSH: self.push,
        }
        return by_channel.get(channel, ())

    def destination(self, channel: Channel, destination: UUID) -> Destination | None:
        """Give one of them by its id; None when the person took it away or switched it off."""
        return next((one for one in self.destinations(channel) if one.id == destination), None)
