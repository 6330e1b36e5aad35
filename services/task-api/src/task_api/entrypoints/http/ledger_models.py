"""The bodies of a task's activity and history."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from task_api.application.ledger import sentence
from task_api.application.ports import Activity, Revision
from task_api.entrypoints.http.fields import Answer


class ActivityAnswer(Answer):
    """One line of the ledger: what happened, when, in words and in particulars."""

    id: UUID
    at: datetime
    kind: str
    sentence: str
    detail: dict[str, Any]

    @classmethod
    def of(cls, line: Activity) -> ActivityAnswer:
        """Give a line as it is shown."""
        return cls(
            id=line.id,
            at=line.at,
            kind=line.kind,
            sentence=sentence(line.kind, line.detail),
            detail=line.detail,
        )


class ActivityPage(Answer):
    """A page of the ledger, oldest first."""

    items: tuple[ActivityAnswer, ...]
    next_cursor: str | None
    has_next: bool


class ActorAnswer(Answer):
    """Who did it: a `user` or an `api_key` by id, a `service` by name."""

    kind: str
    id: str


class ChangeAnswer(Answer):
    """A field's value before and after."""

    old: Any
    new: Any


class RevisionAnswer(Answer):
    """One version: who made it, when, and what it changed."""

    version: int
    at: datetime
    actor: ActorAnswer
    changes: dict[str, ChangeAnswer]

    @classmethod
    def of(cls, revision: Revision) -> RevisionAnswer:
        """Give a version as it is shown."""
        return cls(
            version=revision.version,
            at=revision.at,
            actor=ActorAnswer(kind=revision.actor.kind, id=revision.actor.id),
            changes={
                name: ChangeAnswer(old=change.old, new=change.new)
                for name, change in revision.changes.items()
            },
        )


class RevisionPage(Answer):
    """A page of versions, oldest first."""

    items: tuple[RevisionAnswer, ...]
    next_cursor: str | None
    has_next: bool
