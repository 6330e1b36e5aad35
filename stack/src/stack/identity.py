"""The secrets of one instance: made once, kept beside its data, worth nothing elsewhere."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from stack.privatefile import write_private


@dataclass(frozen=True)
class Identity:
    """Passwords and tokens are URL-safe; the key is an Ed25519 private key as PKCS8 PEM."""

    postgres_password: str
    redis_password: str
    dapr_api_token: str
    app_api_token: str
    jwt_private_key: str
    kafka_cluster_id: str


def load_or_create(path: Path) -> Identity:
    """The identity in that file; a new one when there is no such file."""
    if path.is_file():
        return Identity(**json.loads(path.read_text()))
    identity = Identity(
        postgres_password=secrets.token_urlsafe(24),
        redis_password=secrets.token_urlsafe(24),
        dapr_api_token=secrets.token_urlsafe(24),
        app_api_token=secrets.token_urlsafe(24),
        jwt_private_key=_ed25519_key(),
        # Kafka's own form of a UUID: 16 bytes in URL-safe base 64 without padding.
        kafka_cluster_id=secrets.token_urlsafe(16),
    )
    write_private(path, json.dumps(asdict(identity), indent=2) + "\n")
    return identity


def _ed25519_key() -> str:
    # Loading the library takes longer than all else that a warm command does.
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode()
