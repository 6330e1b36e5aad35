"""Access tokens for tests, signed with a key made on the spot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from service_kit.auth import ALGORITHM, FAMILY_CLAIM, ROLES_CLAIM, StaticKeys, public_jwk, thumbprint


class SigningKey:
    """An Ed25519 key pair with its key id."""

    def __init__(self) -> None:
        self.private = Ed25519PrivateKey.generate()
        self.public = self.private.public_key()
        self.key_id = thumbprint(self.public)

    @property
    def pem(self) -> str:
        """The private key as JWT_PRIVATE_KEYS wants it (PKCS #8)."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @property
    def jwks(self) -> dict[str, Any]:
        """The key set that publishes it."""
        return {"keys": [public_jwk(self.public)]}

    def source(self) -> StaticKeys:
        """A key source that knows this key alone."""
        return StaticKeys({self.key_id: self.public})


def make_token(
    key: SigningKey,
    user_id: UUID | str,
    *,
    roles: tuple[str, ...] | None = (),
    family_id: UUID | None = None,
    issuer: str = "taskstream",
    audience: str = "taskstream-api",
    expires_in: timedelta = timedelta(minutes=15),
    headers: dict[str, Any] | None = None,
    **claims: Any,
) -> str:
    """Sign an access token. A claim or header that is None is left out."""
    now = datetime.now(UTC)
    payload = {
        "iss": issuer,
        "aud": audience,
        "sub": str(user_id),
        "iat": now,
        "exp": now + expires_in,
        "jti": str(uuid4()),
        ROLES_CLAIM: None if roles is None else list(roles),
        FAMILY_CLAIM: str(family_id) if family_id else None,
    } | claims
    kept = {name: value for name, value in payload.items() if value is not None}
    header = {"kid": key.key_id} | (headers or {})
    return jwt.encode(
        kept,
        key.private,
        algorithm=ALGORITHM,
        headers={name: value for name, value in header.items() if value is not None},
    )
