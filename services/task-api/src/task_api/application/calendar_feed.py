"""The calendar feed: read by a secret in its address, since calendar programs send no token."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Protocol
from uuid import UUID

from task_api.application.audit import Audit, AuditLine, Origin, count_action
from task_api.application.ports import Changes, Now
from task_api.domain.errors import CalendarNotFound
from task_api.domain.series import Series
from task_api.domain.task import Task

COMPLETED_SHOWN = timedelta(days=30)
FEED_MAX = 5_000
"""Tasks in a feed: calendar programs read it whole, again and again."""
LEFT_OUT_MAX = 5_000
"""Slots left out that a feed takes into account, of all its series together: each may have hundreds."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Whose calendar a secret opens, and that person's changes until now."""

    user_id: UUID
    day_start: time
    changes: Changes


@dataclass(frozen=True, slots=True)
class Dated:
    """A task with a due, and its series; `is_last` says that no open instance of the series comes after it."""

    task: Task
    series: Series | None = None
    is_last: bool = True


class CalendarStore(Protocol):
    """Where secrets are kept, as hashes, and what they open.

    Every method is one transaction, a line that is handed over part of it.
    """

    async def put(self, user_id: UUID, token_hash: bytes, at: datetime, line: AuditLine) -> None:
        """Keep a secret in the place of the one that the user had."""

    async def remove(self, user_id: UUID, line: AuditLine) -> bool:
        """Forget a user's secret; False, and no line, when there is none."""

    async def subscription(self, token_hash: bytes) -> Subscription | None:
        """Read what a secret opens; None for an unknown one, or one of an account that is shut."""

    async def dated(self, user_id: UUID, completed_since: datetime, limit: int) -> Sequence[Dated]:
        """Read tasks with a due that are open, or completed since then, the latest due first."""


@dataclass(frozen=True)
class CalendarFeeds:
    """The use cases around the feed."""

    store: CalendarStore
    now: Now
    audit: Audit

    async def make(self, user_id: UUID, origin: Origin) -> str:
        """Make a secret, which is shown this once; the one before opens nothing any more."""
        secret = secrets.token_urlsafe(32)
        line = await self.audit.line("calendar_token_made", origin, user_id=user_id)
        await self.store.put(user_id, _hash(secret), await self.now(), line)
        count_action(line)
        return secret

    async def revoke(self, user_id: UUID, origin: Origin) -> None:
        """Forget the secret. Raises CalendarNotFound."""
        line = await self.audit.line("calendar_token_revoked", origin, user_id=user_id)
        if not await self.store.remove(user_id, line):
            raise CalendarNotFound("there is no such calendar")
        count_action(line)

    async def open(self, secret: str) -> Subscription:
        """Give what a secret opens. Raises CalendarNotFound."""
        found = await self.store.subscription(_hash(secret))
        if found is None:
            raise CalendarNotFound("there is no such calendar")
        return found

    async def shown_since(self) -> datetime:
        """Give since when completed tasks are shown: a midnight in UTC, so that a feed changes once a day by itself."""
        today = (await self.now()).replace(hour=0, minute=0, second=0, microsecond=0)
        return today - COMPLETED_SHOWN

    async def dated(self, subscription: Subscription, completed_since: datetime) -> Sequence[Dated]:
        """Read the tasks of a feed."""
        return await self.store.dated(subscription.user_id, completed_since, FEED_MAX)


def _hash(secret: str) -> bytes:
    """256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).digest()
