"""A member of the due index: which reminder of which task, for which fire time. 63 characters at most.

It names the fire time, so a member whose reminder moved is recognised as out of date when its own time comes; it begins
with the task's id, so that everything of one task is in one shard.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class Member:
    """`fire_ms` is epoch milliseconds."""

    task_id: UUID
    reminder_id: UUID
    fire_ms: int

    def __str__(self) -> str:
        return f"{_short(self.task_id)}:{_short(self.reminder_id)}:{self.fire_ms:x}"

    @classmethod
    def parse(cls, text: str) -> Member:
        """Raises ValueError for a text that is no member."""
        task, reminder, fire_ms = text.split(":")
        return cls(_long(task), _long(reminder), int(fire_ms, 16))


def _short(identity: UUID) -> str:
    return urlsafe_b64encode(identity.bytes).rstrip(b"=").decode()


def _long(text: str) -> UUID:
    return UUID(bytes=urlsafe_b64decode(f"{text}=="))
