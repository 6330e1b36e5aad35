"""Opaque cursors: where a page ended, signed, so that nobody makes one up or carries it to another list."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson

from service_kit import base64url
from task_api.application.ports import Key, Position
from task_api.domain.errors import InvalidCursor

CURSOR_MAX = 4_000
"""Characters: a title of 255, folded, in UTF-8 and base64, and some more."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIGNATURE_BYTES = 16


class Cursors:
    """Writes and reads cursors; the first secret signs, all are accepted."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = tuple(secrets)

    def write(self, position: Position, of: str) -> str:
        """Give the cursor of a position in the list `of` (its kind, owner, filter and order)."""
        payload = position.id.bytes + orjson.dumps(_told(position.key))
        signed = self._sign(self._secrets[0], payload, of) + payload
        return base64url.written(signed)

    def read(self, cursor: str, of: str) -> Position:
        """Give the position of a cursor. Raises InvalidCursor when it is not of this list."""
        try:
            signed = base64url.read(cursor)
        except ValueError:
            raise InvalidCursor("is not one that this list gave out") from None
        signature, payload = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
        good = any(
            hmac.compare_digest(signature, self._sign(secret, payload, of)) for secret in self._secrets
        )
        if not good:
            raise InvalidCursor("is not one that this list gave out")
        return Position(_key(orjson.loads(payload[16:])), UUID(bytes=payload[:16]))

    def _sign(self, secret: bytes, payload: bytes, of: str) -> bytes:
        return hmac.digest(secret, payload + of.encode(), "sha256")[:_SIGNATURE_BYTES]


def _told(key: Key) -> object:
    """A moment to the microsecond, in brackets, so that it is no mere number."""
    return [(key - _EPOCH) // timedelta(microseconds=1)] if isinstance(key, datetime) else key


def _key(told: object) -> Key:
    if isinstance(told, list):
        return _EPOCH + timedelta(microseconds=told[0])
    assert isinstance(told, str | int | float)  # noqa: S101 - signed by us
    return told
