"""What a link in a mail does for the person it was sent to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

GOOD_FOR = timedelta(days=7)
"""How long a link that changes a task can be followed."""

STOP_GOOD_FOR = timedelta(days=400)
"""How long a link that ends mail can be followed: mail is kept long, and its way out has to work."""


HOUR_MINUTES = 60
DAY_MINUTES = 24 * 60
"""How far a reminder can be put off."""


class LinkAction(StrEnum):
    """What links do."""

    COMPLETE = "complete"
    SNOOZE = "snooze"
    STOP_MAIL = "stop_mail"


@dataclass(frozen=True, slots=True)
class Link:
    """One thing that one person may do without signing in, until `expires_at` (whole seconds).

    `task_id` is there unless mail is to end; `reminder_id` and `minutes` are there for a snooze.
    """

    action: LinkAction
    user_id: UUID
    expires_at: datetime
    task_id: UUID | None = None
    reminder_id: UUID | None = None
    minutes: int = 0

    @property
    def is_one_time(self) -> bool:
        """Whether it is used up by being followed. Ending mail twice is no harm, and must always be possible."""
        return self.action is not LinkAction.STOP_MAIL

    def snoozed_until(self, first_followed: datetime) -> datetime | None:
        """The moment to which it puts the reminder off: counted from when it was first followed, so twice is once."""
        return first_followed + timedelta(minutes=self.minutes) if self.action is LinkAction.SNOOZE else None
