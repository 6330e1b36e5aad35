"""The audit log: who came in, who was refused, and who changed what of an account. Never a secret, never a token.

A line about a change is handed to the store that makes the change, which writes both in one transaction; what changes
nothing, like a wrong password, is noted by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from task_api.application.ports import Now, Position
from task_api.application.usage_metrics import ACCOUNT_ACTIONS
from task_api.domain.ids import new_id


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from: the client's address, and the request's id."""

    address: str | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One line. `user_id` is whose account it is about, if one is known; `succeeded` how it ended."""

    id: UUID
    at: datetime
    action: str
    succeeded: bool
    user_id: UUID | None
    origin: Origin
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What is looked for: None for any. `since` is included, `until` is not."""

    user_id: UUID | None = None
    action: str | None = None
    succeeded: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditStore(Protocol):
    """Where the lines are kept."""

    async def append(self, line: AuditLine) -> None:
        """Write one line."""

    async def page(self, wanted: AuditFilter, after: Position | None, limit: int) -> Sequence[AuditLine]:
        """Read lines, the newest first."""


def count_action(line: AuditLine) -> None:
    """Count a line that was written: after the commit, where it is in the transaction of a change."""
    ACCOUNT_ACTIONS.labels(line.action, "succeeded" if line.succeeded else "failed").inc()


@dataclass(frozen=True)
class Audit:
    """Makes the lines of the audit log, and writes those that go with no change."""

    store: AuditStore
    now: Now

    async def line(
        self,
        action: str,
        origin: Origin,
        *,
        user_id: UUID | None = None,
        succeeded: bool = True,
        detail: Mapping[str, Any] | None = None,
    ) -> AuditLine:
        """Make a line of now, for the transaction of the change that it tells of."""
        return AuditLine(new_id(), await self.now(), action, succeeded, user_id, origin, detail or {})

    async def note(
        self,
        action: str,
        origin: Origin,
        *,
        user_id: UUID | None = None,
        succeeded: bool = True,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Write that something happened which changed nothing, and count it."""
        line = await self.line(action, origin, user_id=user_id, succeeded=succeeded, detail=detail)
        await self.store.append(line)
        count_action(line)
