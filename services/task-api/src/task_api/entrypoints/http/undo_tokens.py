"""Undo tokens: which change may be taken back, by whom, signed, so that nobody makes one up. Good for 24 hours."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from service_kit import base64url
from task_api.application.ports import TaskView
from task_api.domain.errors import InvalidUndoToken

HEADER = "X-Undo-Token"
LIFETIME = timedelta(hours=24)
_SIGNATURE_BYTES = 16
_ID_BYTES = 16


class UndoTokens:
    """Writes and reads undo tokens; the first secret signs, all are accepted.

    A token holds the change's id alone: a UUIDv7, which tells when the change was made.
    """

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = tuple(secrets)

    def header(self, user_id: UUID, change_id: UUID | None) -> dict[str, str]:
        """Give the response header for a change; nothing was changed, no header."""
        return {} if change_id is None else {HEADER: self.write(user_id, change_id)}

    def of(self, view: TaskView) -> dict[str, str]:
        """Give the response header for what a command did to a task."""
        return self.header(view.task.user_id, view.change_id)

    def write(self, user_id: UUID, change_id: UUID) -> str:
        """Give the token of a change of this user."""
        signed = change_id.bytes + self._sign(self._secrets[0], user_id, change_id)
        return base64url.written(signed)

    def read(self, token: str, user_id: UUID) -> UUID:
        """Give the id of the change. Raises InvalidUndoToken: not ours, another user's, or too old."""
        try:
            signed = base64url.read(token)
        except ValueError:
            raise InvalidUndoToken("this is no undo token") from None
        if len(signed) != _ID_BYTES + _SIGNATURE_BYTES:
            raise InvalidUndoToken("this is no undo token")
        change_id, signature = UUID(bytes=signed[:_ID_BYTES]), signed[_ID_BYTES:]
        if not any(
            hmac.compare_digest(signature, self._sign(secret, user_id, change_id)) for secret in self._secrets
        ):
            raise InvalidUndoToken("this is no undo token")
        made = datetime.fromtimestamp((change_id.int >> 80) / 1000, UTC)
        if datetime.now(UTC) - made > LIFETIME:
            raise InvalidUndoToken("it was good for 24 hours")
        return change_id

    def _sign(self, secret: bytes, user_id: UUID, change_id: UUID) -> bytes:
        return hmac.digest(secret, user_id.bytes + change_id.bytes, "sha256")[:_SIGNATURE_BYTES]
