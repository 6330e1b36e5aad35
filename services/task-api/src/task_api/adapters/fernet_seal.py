"""Encryption at rest with Fernet (AES-128-CBC and HMAC-SHA256). The first key encrypts, all decrypt."""

from __future__ import annotations

from typing import Any

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from task_api.domain.errors import ChannelsUnreadable


def read_encryption_keys(text: str) -> tuple[Fernet, ...]:
    """Read keys of 32 bytes in base64url, parted by commas or blanks. Raises ValueError."""
    words = text.replace(",", " ").split()
    if not words:
        raise ValueError("it holds no key")
    keys = []
    for number, word in enumerate(words, start=1):
        try:
            keys.append(Fernet(word))
        except ValueError:
            raise ValueError(f"key {number} is not 32 bytes in base64url") from None
    return tuple(keys)


class Seal:
    """Seals JSON objects with the keys of this deployment."""

    def __init__(self, keys: tuple[Fernet, ...]) -> None:
        self._keys = MultiFernet(keys)

    def close(self, content: dict[str, Any]) -> bytes:
        """Give the object as nobody without a key can read it."""
        return self._keys.encrypt(orjson.dumps(content))

    def open(self, sealed: bytes) -> dict[str, Any]:
        """Give the object back. Raises ChannelsUnreadable when no key fits."""
        try:
            content: dict[str, Any] = orjson.loads(self._keys.decrypt(sealed))
        except InvalidToken as error:
            raise ChannelsUnreadable("no key of ENCRYPTION_KEYS fits what was kept") from error
        return content

    def renew(self, sealed: bytes) -> bytes:
        """Seal with the first key what an older one had sealed. Raises ChannelsUnreadable."""
        try:
            return self._keys.rotate(sealed)
        except InvalidToken as error:
            raise ChannelsUnreadable("no key of ENCRYPTION_KEYS fits what was kept") from error
