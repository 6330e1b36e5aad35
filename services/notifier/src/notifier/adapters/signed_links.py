"""Links as addresses: what they do in 59 bytes, signed, so that nobody makes one up or changes one.

A link has one written form. What was followed is remembered by how it was written, so a second way to write the same
one would let it be followed again.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from notifier.application.errors import LinkInvalid
from notifier.domain.links import Link, LinkAction
from service_kit import base64url

_ACTIONS = {1: LinkAction.COMPLETE, 2: LinkAction.SNOOZE, 3: LinkAction.STOP_MAIL}
_NUMBERS = {action: number for number, action in _ACTIONS.items()}
# Action, minutes, end in epoch seconds, person, task, reminder.
_FORM = struct.Struct(">BHQ16s16s16s")
_SIGNATURE_BYTES = 16
_NONE = bytes(16)


class SignedLinks:
    """Writes and reads links; the first secret signs, all are accepted. `address` ends before the token."""

    def __init__(self, secrets: Sequence[str], public_url: str) -> None:
        self._secrets = tuple(secret.encode() for secret in secrets)
        self._address = f"{public_url.rstrip('/')}/api/v1/actions/"

    def url(self, link: Link) -> str:
        """Give the address of a link."""
        written = _FORM.pack(
            _NUMBERS[link.action],
            link.minutes,
            int(link.expires_at.timestamp()),
            link.user_id.bytes,
            link.task_id.bytes if link.task_id else _NONE,
            link.reminder_id.bytes if link.reminder_id else _NONE,
        )
        return self._address + base64url.written(written + self._sign(self._secrets[0], written))

    def read(self, token: str) -> Link:
        """Read a link's token. Raises LinkInvalid for one that is not ours; its end is not looked at."""
        try:
            signed = base64url.read(token)
        except ValueError:
            raise LinkInvalid("this is no link of ours") from None
        written, signature = signed[: _FORM.size], signed[_FORM.size :]
        if not any(hmac.compare_digest(signature, self._sign(one, written)) for one in self._secrets):
            raise LinkInvalid("this is no link of ours")
        number, minutes, end, user, task, reminder = _FORM.unpack(written)
        return Link(
            action=_ACTIONS[number],
            user_id=UUID(bytes=user),
            expires_at=datetime.fromtimestamp(end, UTC),
            task_id=None if task == _NONE else UUID(bytes=task),
            reminder_id=None if reminder == _NONE else UUID(bytes=reminder),
            minutes=minutes,
        )

    def _sign(self, secret: bytes, written: bytes) -> bytes:
        # What it is for is signed as well: the same secret elsewhere makes nothing that passes here.
        return hmac.digest(secret, b"taskstream-link:" + written, "sha256")[:_SIGNATURE_BYTES]
