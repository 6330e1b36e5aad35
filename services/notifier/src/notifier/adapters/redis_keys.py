"""Keys that more than one adapter uses."""

from __future__ import annotations

from uuid import UUID


def erased_key(user_id: UUID) -> str:
    """There while nothing of a person who was erased may be let in: longer than any of their events can come."""
    return f"erased:{user_id}"


def live_key(user_id: UUID) -> str:
    """The stream of what a person who listens is told."""
    return f"live:{user_id}"


def person_of_live_key(key: str) -> UUID | None:
    """Whose stream that is; None when the key is none."""
    try:
        return UUID(key.removeprefix("live:"))
    except ValueError:
        return None
