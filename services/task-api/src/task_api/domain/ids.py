"""New ids: UUIDv7 (RFC 9562, 5.7), which sort by the moment they were made."""

from __future__ import annotations

from uuid import UUID

import uuid6


def new_id() -> UUID:
    """Give a fresh id; ids made in this process never go backwards."""
    return UUID(int=uuid6.uuid7().int)
