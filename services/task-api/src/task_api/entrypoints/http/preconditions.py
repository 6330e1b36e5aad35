"""Entity tags of one thing: what a write answers is its version, `"3"`; If-Match says which one a write is meant for
(RFC 9110, 13.1.1).

A reading's tag is of the whole answer, `"3-5f0c…"`: a task also shows the rule of its series, which changes without a
version of the task, and after a restore of the database the same version may come a second time. If-Match takes either.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

from fastapi import Depends, Header
from pydantic import WithJsonSchema

from service_kit.problems import Problem

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')
_VERSION = re.compile(r"([1-9][0-9]{0,8})(?:-[0-9a-f]{16})?", re.ASCII)
_LIST = re.compile(rf"{_TAG.pattern}(?:\s*,\s*{_TAG.pattern})*")


def etag(version: int) -> str:
    """Give the strong ETag of a version."""
    return f'"{version}"'


def reading_etag(version: int, body: bytes) -> str:
    """Give the strong ETag of what a reading of a version showed."""
    return f'"{version}-{hashlib.blake2b(body, digest_size=8).hexdigest()}"'


_DESCRIBED = WithJsonSchema(
    {
        "type": "string",
        "pattern": r'^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$',
        "examples": ['"3"'],
    }
)


async def _expected(
    if_match: Annotated[
        str | None,
        Header(description="The version that is to be changed, as its ETag."),
        _DESCRIBED,
    ] = None,
) -> frozenset[int] | None:
    """Give the versions that If-Match allows, None for any. A weak tag matches nothing. Raises Problem 400."""
    if if_match is None or if_match.strip() == "*":
        return None
    if not _LIST.fullmatch(if_match.strip()):
        raise Problem(400, "malformed_if_match", 'If-Match is a quoted ETag, like "3", or *.')
    tags = (tag for weak, tag in _TAG.findall(if_match) if not weak)
    return frozenset(int(found.group(1)) for tag in tags if (found := _VERSION.fullmatch(tag)))


Expected = Annotated[frozenset[int] | None, Depends(_expected)]
