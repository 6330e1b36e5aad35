"""Keys that more than one adapter uses."""

from __future__ import annotations

from uuid import UUID


def erased_key(user_id: UUID) -> str:
    """There while nothing of a person who was erased may be let in: longer than any of their events can come."""
    return f"erased:{user_id}"
