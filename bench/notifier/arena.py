"""One process of notifier, and tokens for people who are made up."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import jwt
from bench.place import Served, standing
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from service_kit.auth import ALGORITHM, thumbprint
from stack import Instance


@dataclass(frozen=True)
class Arena:
    """The instance, the process of notifier, and the key with which task-api signs tokens."""

    instance: Instance
    notifier: Served
    key: Ed25519PrivateKey

    def token(self, user_id: UUID) -> str:
        """Sign a token as task-api does at a login."""
        now = datetime.now(UTC)
        claims = {
            "iss": "taskstream",
            "aud": "taskstream-api",
            "sub": str(user_id),
            "iat": now,
            "exp": now + timedelta(minutes=15),
            "jti": str(uuid4()),
            "roles": [],
        }
        return jwt.encode(
            claims, self.key, algorithm=ALGORITHM, headers={"kid": thumbprint(self.key.public_key())}
        )


@contextmanager
def arena() -> Iterator[Arena]:
    """Start a fresh instance; stop and wipe it all afterwards. Every client needs an open file, here and there."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with standing("task-api", "notifier") as place:
        pem = place.instance.env("task-api")["JWT_PRIVATE_KEYS"].replace("\\n", "\n")
        key = load_pem_private_key(pem.encode(), None)
        assert isinstance(key, Ed25519PrivateKey)
        yield Arena(place.instance, place["notifier"], key)
