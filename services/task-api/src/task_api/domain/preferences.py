"""How a person wants to be told: by which channels, when not, and what becomes of what comes late."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from uuid import UUID

from event_contracts.values import LatePolicy

WEBHOOKS_MAX = 10
CHATS_MAX = 10
PUSH_MAX = 20

SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of Standard Webhooks, no secret
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that gets a signed POST (Standard Webhooks); `secret` is `whsec_` and base64."""

    id: UUID
    name: str
    enabled: bool
    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat room as an Apprise address, which holds its credentials."""

    id: UUID
    name: str
    enabled: bool
    url: str

    @property
    def service(self) -> str:
        """The scheme: all of the address that is shown again."""
        return self.url.partition(":")[0]


@dataclass(frozen=True, slots=True)
class PushSubscription:
    """A browser (RFC 8030); `p256dh` and `auth` are its keys in base64url (RFC 8291)."""

    id: UUID
    name: str
    enabled: bool
    endpoint: str
    p256dh: str
    auth: str


Destination = Webhook | Chat | PushSubscription


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Wall-clock times in the person's zone; `until` before `start` is the next morning."""

    start: time
    until: time


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a person said; a new account's are the defaults, at version 1.

    `drop_after` is there exactly with LatePolicy.DROP_AFTER. `generated` asks for a word on each new occurrence.
    """

    version: int = 1
    email: bool = True
    webhooks: tuple[Webhook, ...] = ()
    chats: tuple[Chat, ...] = ()
    push: tuple[PushSubscription, ...] = ()
    quiet_hours: QuietHours | None = None
    late_policy: LatePolicy = LatePolicy.SEND
    drop_after: timedelta | None = None
    generated: bool = False
    updated_at: datetime | None = None

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """All channels outside of Taskstream but e-mail, in their order."""
        return (*self.webhooks, *self.chats, *self.push)


def new_secret() -> str:
    """Give a signing secret that nobody has."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
