"""Conditional GET: a list is as it was while its owner changed nothing (RFC 9110, 13.1.2)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Request, Response

_TAG = re.compile(r'W/"(\d{1,19})-[0-9a-f]{16}"')


@dataclass(frozen=True, slots=True)
class Seen:
    """What the client has of this very address; `what` names the address in its ETags."""

    what: str
    tags: frozenset[str]

    def etag(self, changes: int) -> str:
        """Give the ETag of what this address shows after so many changes."""
        return f'W/"{changes}-{self.what}"'

    def of(self, changes: int) -> dict[str, str]:
        """Give the headers of an answer that shows the state after so many changes."""
        return {"ETag": self.etag(changes), "Cache-Control": "private, no-cache"}

    async def unchanged(self, changes: Callable[[UUID], Awaitable[int]], user_id: UUID) -> Response | None:
        """Give the 304 when the client has what there is: one look at a counter, none at the tasks."""
        if not any(_TAG.fullmatch(tag) for tag in self.tags):
            return None
        number = await changes(user_id)
        if self.etag(number) not in self.tags:
            return None
        return Response(status_code=304, headers=self.of(number))


async def _seen(
    request: Request,
    if_none_match: Annotated[
        str | None, Header(description="The ETag of an earlier answer: 304 when nothing changed since.")
    ] = None,
) -> Seen:
    address = f"{request.url.path}?{request.url.query}".encode()
    what = hashlib.blake2b(address, digest_size=8).hexdigest()
    tags = frozenset(tag.strip() for tag in (if_none_match or "").split(","))
    return Seen(what, tags)


IfChanged = Annotated[Seen, Depends(_seen)]
