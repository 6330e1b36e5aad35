"""Opaque cursors: where a page ended, signed, so that nobody makes one up or carries it to another list."""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from task_api.application.ports import Position
from task_api.domain.errors import InvalidCursor

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PAYLOAD = struct.Struct(">q16s")
_SIGNATURE_BYTES = 16


class Cursors:
    """Writes and reads cursors; the first secret signs, all are accepted."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = tuple(secrets)

    def write(self, position: Position, of: str) -> str:
        """Give the cursor of a position in the list `of` (its kind, owner and filter)."""
        payload = _PAYLOAD.pack((position.at - _EPOCH) // timedelta(microseconds=1), position.id.bytes)
        signed = payload + self._sign(self._secrets[0], payload, of)
        return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()

    def read(self, cursor: str, of: str) -> Position:
        """Give the position of a cursor. Raises InvalidCursor when it is not of this list."""
        try:
            signed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise InvalidCursor("is not one that this list gave out") from None
        payload, signature = signed[: _PAYLOAD.size], signed[_PAYLOAD.size :]
        good = len(payload) == _PAYLOAD.size and any(
            hmac.compare_digest(signature, self._sign(secret, payload, of)) for secret in self._secrets
        )
        if not good:
            raise InvalidCursor("is not one that this list gave out")
        microseconds, raw_id = _PAYLOAD.unpack(payload)
        return Position(_EPOCH + timedelta(microseconds=microseconds), UUID(bytes=raw_id))

    def _sign(self, secret: bytes, payload: bytes, of: str) -> bytes:
        return hmac.digest(secret, payload + of.encode(), "sha256")[:_SIGNATURE_BYTES]
