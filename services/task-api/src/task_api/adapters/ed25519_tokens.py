"""Access tokens signed with Ed25519 (RFC 8037), and the public keys that verify them (RFC 7517)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from service_kit.auth import ALGORITHM, FAMILY_CLAIM, ROLES_CLAIM, public_jwk, thumbprint
from task_api.domain.account import Account
from task_api.domain.ids import new_id

ACCESS_LIFETIME = timedelta(minutes=15)
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


def read_private_keys(text: str) -> tuple[Ed25519PrivateKey, ...]:
    """Read PEM blocks, one after another; line breaks may be written as `\\n`. Raises ValueError."""
    blocks = [match.group(0) for match in _PEM.finditer(text.replace("\\n", "\n"))]
    if not blocks:
        raise ValueError("it holds no PEM block (-----BEGIN PRIVATE KEY-----)")
    keys = []
    for number, block in enumerate(blocks, start=1):
        try:
            key = load_pem_private_key(block.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ValueError(f"PEM block {number} is no private key without passphrase") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"PEM block {number} is not an Ed25519 key")
        keys.append(key)
    return tuple(keys)


class SigningKeys:
    """The keys of this deployment: the first signs, all verify, so that keys can be changed without logging out."""

    def __init__(self, private_keys: tuple[Ed25519PrivateKey, ...], *, issuer: str, audience: str) -> None:
        self._first = private_keys[0]
        self._private_keys = private_keys
        self._issuer = issuer
        self._audience = audience
        self._key_id = thumbprint(self._first.public_key())

    @property
    def lifetime_seconds(self) -> int:
        """How long an access token is good for."""
        return int(ACCESS_LIFETIME.total_seconds())

    @property
    def public_keys(self) -> Mapping[str, Ed25519PublicKey]:
        """The verifying keys by their id."""
        keys = [key.public_key() for key in self._private_keys]
        return {thumbprint(key): key for key in keys}

    def issue(self, account: Account, family_id: UUID, at: datetime) -> str:
        """Give a signed access token of the claims that service_kit.auth reads."""
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(account.id),
            "iat": at,
            "exp": at + ACCESS_LIFETIME,
            "jti": str(new_id()),
            ROLES_CLAIM: [account.role],
            FAMILY_CLAIM: str(family_id),
        }
        return jwt.encode(claims, self._first, algorithm=ALGORITHM, headers={"kid": self._key_id})

    def jwks(self) -> dict[str, Any]:
        """Give the key set that others fetch."""
        return {"keys": [public_jwk(key) for key in self.public_keys.values()]}

    def derived_secrets(self, purpose: str) -> tuple[bytes, ...]:
        """Give a secret per key for another purpose, the signing key's first; it says nothing about the key."""
        return tuple(
            hashlib.blake2b(key.private_bytes_raw(), digest_size=32, person=purpose.encode()).digest()
            for key in self._private_keys
        )
