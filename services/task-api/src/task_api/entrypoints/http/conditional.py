"""Conditional GET: a list is as it was while its owner changed nothing (RFC 9110, 13.1.2).

A browser keeps an answer by its address alone, and the next person who logs in there has the same one. So a tag belongs
to its owner too, and `Vary` says that another caller's answer is another one (RFC 9110, 12.5.5).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Request, Response

from task_api.application.ports import Changes

VARY = {"Vary": "Authorization"}
"""The header of an answer that is another one for another caller."""
_TAG = re.compile(r'W/"(\d{1,19})-[0-9a-f]{16}"')


@dataclass(frozen=True, slots=True)
class Seen:
    """What the client has of this very address, which is `what`."""

    what: str
    tags: frozenset[str]

    def of(self, user_id: UUID, changes: Changes) -> dict[str, str]:
        """Give the headers of an answer that shows this person's state after those changes."""
        return {"ETag": self._etag(user_id, changes), "Cache-Control": "private, no-cache", **VARY}

    async def unchanged(
        self, changes: Callable[[UUID], Awaitable[Changes]], user_id: UUID
    ) -> Response | None:
        """Give the 304 when the client has what there is: one look at a counter, none at the tasks."""
        if not any(_TAG.fullmatch(tag) for tag in self.tags):
            return None
        headers = self.of(user_id, await changes(user_id))
        return Response(status_code=304, headers=headers) if headers["ETag"] in self.tags else None

    def _etag(self, user_id: UUID, changes: Changes) -> str:
        """Owner and epoch are in the digest, where nobody reads them."""
        shown = f"{user_id} {changes.epoch} {self.what}".encode()
        return f'W/"{changes.number}-{hashlib.blake2b(shown, digest_size=8).hexdigest()}"'


async def _seen(
    request: Request,
    if_none_match: Annotated[
        str | None, Header(description="The ETag of an earlier answer: 304 when nothing changed since.")
    ] = None,
) -> Seen:
    tags = frozenset(tag.strip() for tag in (if_none_match or "").split(","))
    return Seen(f"{request.url.path}?{request.url.query}", tags)


IfChanged = Annotated[Seen, Depends(_seen)]
