"""The secrets of one instance: made once, kept beside its data, worth nothing elsewhere."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from stack.privatefile import write_private


@dataclass(frozen=True)
class Identity:
    """Passwords and tokens are URL-safe; the signing key is an Ed25519 private key as PKCS8 PEM, those
    that encrypt and that sign web push are 32 bytes in base64url."""

    postgres_password: str
    redis_password: str
    dapr_api_token: str
    app_api_token: str
    jwt_private_key: str
    encryption_key: str
    link_secret: str
    vapid_private_key: str
    kafka_cluster_id: str


def load_or_create(path: Path) -> Identity:
    """The identity in that file; what it lacks, all of it for a new instance, is made and kept there."""
    kept = json.loads(path.read_text()) if path.is_file() else {}
    makers: dict[str, Callable[[], str]] = {
        "postgres_password": _word,
        "redis_password": _word,
        "dapr_api_token": _word,
        "app_api_token": _word,
        "jwt_private_key": _ed25519_key,
        "encryption_key": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "link_secret": _word,
        # A scalar of the curve P-256, which nearly every 32 bytes are.
        "vapid_private_key": lambda: secrets.token_urlsafe(32),
        # Kafka's own form of a UUID: 16 bytes in URL-safe base 64 without padding.
        "kafka_cluster_id": lambda: secrets.token_urlsafe(16),
    }
    identity = Identity(**{name: kept.get(name) or make() for name, make in makers.items()})
    if asdict(identity) != kept:
        write_private(path, json.dumps(asdict(identity), indent=2) + "\n")
    return identity


def _word() -> str:
    return secrets.token_urlsafe(24)


def _ed25519_key() -> str:
    # Loading the library takes longer than all else that a warm command does.
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode()
