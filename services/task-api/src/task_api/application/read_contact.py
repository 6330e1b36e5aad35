"""How a person is reached: what notifier asks before each send."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time
from typing import Protocol
from uuid import UUID

from event_contracts.values import Channel
from task_api.domain.preferences import Preferences


@dataclass(frozen=True, slots=True)
class Contact:
    """Where and how a person is reached; of the channels only those that are switched on."""

    user_id: UUID
    email: str
    first_name: str | None
    locale: str
    timezone: str
    day_start: time
    preferences: Preferences

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The kinds of channels that the person wants when a reminder names none; the inbox is always first."""
        said = self.preferences
        wanted = {
            Channel.INBOX: True,
            Channel.EMAIL: said.email,
            Channel.WEBHOOK: bool(said.webhooks),
            Channel.CHAT: bool(said.chats),
            Channel.PUSH: bool(said.push),
        }
        return tuple(channel for channel, is_wanted in wanted.items() if is_wanted)


class ContactReader(Protocol):
    """Reads contacts, each with one query. Raises StorageUnavailable."""

    async def contact(self, user_id: UUID) -> Contact | None:
        """Read how a person is reached; None when there is no such account, or it is shut."""
