"""Access tokens: JWTs signed with Ed25519 (RFC 7519, RFC 8037), verified by every service on its own.

Claims: `iss`, `aud`, `sub` (the user's id), `exp`, `iat`, `jti` (the token's id), `roles` (list of names), `fam` (the
id of the login it came from, so that a logout can end it). The header's `kid` is the key's RFC 7638 thumbprint.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from time import monotonic, time
from typing import Any, Protocol
from uuid import UUID

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from event_contracts.topics import TASK_API
from service_kit import base64url
from service_kit.logs import get_logger
from service_kit.problems import Problem
from service_kit.settings import ServiceSettings
from service_kit.sidecar import Sidecar, SidecarError

ALGORITHM = "EdDSA"
FAMILY_CLAIM = "fam"
ROLES_CLAIM = "roles"
JWKS_PATH = "/.well-known/jwks.json"
LEEWAY_SECONDS = 5
KEYS_KEPT_SECONDS = 300
"""How long others may keep the key set: a new key is listed that long before it signs (SECURITY.md), and one that was
taken back may be good to them for that long."""
REFETCH_SECONDS = 10.0
_PATIENCE_SECONDS = 0.5
_NEVER = float("-inf")
_LONGEST_TOKEN = 4096
_LONGEST_KEY_ID = 128
_VERIFIED_MAX = 4_096

_log = get_logger(__name__)


@dataclass(frozen=True)
class Principal:
    """Who calls: the user of a verified token. `family_id` is the login it came from, `token_id` the token's id,
    `expires_at` its end in Unix time (s), None for what has none. `key_id` is that of the API key that came instead."""

    user_id: UUID
    roles: frozenset[str]
    family_id: UUID | None
    token_id: str
    expires_at: int | None = field(default=None, compare=False)
    key_id: UUID | None = None


class KeySource(Protocol):
    """Gives the public key of a key id."""

    async def key(self, key_id: str) -> Ed25519PublicKey | None:
        """The key, or None when no such key is known. Raises SidecarError when it cannot be found out."""
        ...


class StaticKeys:
    """Keys that are known from the start, by key id."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._keys = dict(keys)

    async def key(self, key_id: str) -> Ed25519PublicKey | None:
        """The key, or None."""
        return self._keys.get(key_id)


class SiblingKeys:
    """The keys that the issuing service publishes (JWKS, RFC 7517), fetched by service invocation and kept for 300 s.

    A set that is older is fetched again, so that a key that was taken back is not good for longer; whose key is known
    waits half a second for that at most. An unknown key id has the keys fetched again, too. Both happen at most every
    10 s, so that neither made-up key ids nor an issuer that is away make us ask without end.
    """

    def __init__(self, sidecar: Sidecar, app_id: str = TASK_API) -> None:
        self._sidecar = sidecar
        self._app_id = app_id
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._asked_at = self._fetched_at = _NEVER
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, key_id: str) -> Ed25519PublicKey | None:
        """The key, or None. Raises SidecarError when no keys were ever had and they cannot be fetched."""
        known = key_id in self._keys
        old = monotonic() - self._fetched_at >= KEYS_KEPT_SECONDS
        if (old or not known) and self._fetching is None and self._may_ask():
            self._asked_at = monotonic()
            self._fetching = asyncio.create_task(self._fetch(self._asked_at))
        if self._fetching is not None and not known:
            # Who comes meanwhile waits for the same answer, or a good token would pass for one of an unknown key.
            await asyncio.shield(self._fetching)
        elif self._fetching is not None and old:
            # Not for each who comes: while the issuer hangs, its keys of before are good.
            left = self._asked_at + _PATIENCE_SECONDS - monotonic()
            await asyncio.wait({self._fetching}, timeout=max(0.0, left))
        return self._keys.get(key_id)

    def _may_ask(self) -> bool:
        return monotonic() - self._asked_at >= REFETCH_SECONDS

    async def _fetch(self, asked_at: float) -> None:
        """Take up what is published now, or keep what there is. Raises SidecarError when there is nothing."""
        try:
            answer = await self._sidecar.invoke(self._app_id, "GET", JWKS_PATH)
            if not answer.is_success:
                raise SidecarError(f"keys of {self._app_id}: {answer.status_code}")
            self._keys, self._fetched_at = parse_jwks(answer.content), asked_at
        except SidecarError:
            if not self._keys:
                # Nobody could be let in until the wait is over, so the next one may ask at once.
                self._asked_at = _NEVER
                raise
            _log.warning("keys_not_fetched", app_id=self._app_id)
        finally:
            self._fetching = None


def parse_jwks(document: bytes) -> dict[str, Ed25519PublicKey]:
    """Read the Ed25519 keys of a JWKS by key id; others are passed over. Raises SidecarError when it is no JWKS."""
    try:
        listed = orjson.loads(document)["keys"]
        found = {
            item["kid"]: jwt.PyJWK(item, algorithm=ALGORITHM).key for item in listed if item["kty"] == "OKP"
        }
    except (orjson.JSONDecodeError, KeyError, TypeError, jwt.PyJWTError) as error:
        raise SidecarError(f"no key set: {type(error).__name__}") from error
    return {key_id: key for key_id, key in found.items() if isinstance(key, Ed25519PublicKey)}


def thumbprint(key: Ed25519PublicKey) -> str:
    """The key id of `key`: its RFC 7638 thumbprint, over the members that RFC 8037, 2 asks for, base64url."""
    members = {"crv": "Ed25519", "kty": "OKP", "x": base64url.written(key.public_bytes_raw())}
    return base64url.written(sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).digest())


def public_jwk(key: Ed25519PublicKey) -> dict[str, str]:
    """`key` as a JWKS lists it (RFC 8037, 2)."""
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": base64url.written(key.public_bytes_raw()),
        "kid": thumbprint(key),
        "use": "sig",
        "alg": ALGORITHM,
    }


RevokedCheck = Callable[[Principal], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class _Verified:
    """A token that was good, with all that could make the same token bad later: its key, and its end in Unix time."""

    principal: Principal
    key_id: str
    key: Ed25519PublicKey
    expires: int


class TokenVerifier:
    """Verifies access tokens against the keys of `key_source`; `revoked` may veto one that is otherwise good.

    The signature of a token is checked once while its key stays; its key, its end and `revoked` are asked each time.
    """

    def __init__(
        self, settings: ServiceSettings, key_source: KeySource, *, revoked: RevokedCheck | None = None
    ) -> None:
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._keys = key_source
        self._revoked = revoked
        # By the tokens' digests: what lets people in is not to lie about in memory.
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()

    async def verify(self, token: str) -> Principal:
        """Give who the token speaks for.

        Raises Problem 401 for a token that is not good, with WWW-Authenticate (RFC 6750, 3), and Problem 503 when the
        keys cannot be had.
        """
        if len(token) > _LONGEST_TOKEN:
            raise invalid_token("The token is too long.")
        digest = sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is None or known.expires + LEEWAY_SECONDS <= time() or await self._moved(known):
            known = await self._verify(token)
        # Written each time: while the key was asked for, another request may have pushed it out.
        self._verified[digest] = known
        self._verified.move_to_end(digest)
        while len(self._verified) > _VERIFIED_MAX:
            self._verified.popitem(last=False)
        if self._revoked is not None and await self._revoked(known.principal):
            raise invalid_token("The session of this token was ended.")
        return known.principal

    async def _verify(self, token: str) -> _Verified:
        key_id = _key_id(token)
        key = await self._key(key_id)
        if key is None:
            raise invalid_token("The token is signed with an unknown key.")
        claims = self._decode(token, key)
        return _Verified(_principal(claims), key_id, key, int(claims["exp"]))

    async def _moved(self, known: _Verified) -> bool:
        """Whether the key was taken back, or another one has its id."""
        return await self._key(known.key_id) != known.key

    async def _key(self, key_id: str) -> Ed25519PublicKey | None:
        try:
            return await self._keys.key(key_id)
        except SidecarError:
            raise Problem(
                503, "keys_unavailable", "Tokens cannot be checked right now.", headers={"Retry-After": "2"}
            ) from None

    def _decode(self, token: str, key: Ed25519PublicKey) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise invalid_token("The token has expired.") from None
        except jwt.PyJWTError:
            raise invalid_token("The token is not valid.") from None
        return claims


def _key_id(token: str) -> str:
    """The id of the key that the token says it is signed with; only ever looked up among keys we have: it is no path,
    no address and no query."""
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise invalid_token("The token cannot be read.") from None
    key_id = header.get("kid")
    if header.get("alg") != ALGORITHM or not isinstance(key_id, str) or len(key_id) > _LONGEST_KEY_ID:
        raise invalid_token("The token is not signed as ours are.")
    return key_id


def _principal(claims: Mapping[str, Any]) -> Principal:
    roles = claims.get(ROLES_CLAIM, [])
    family = claims.get(FAMILY_CLAIM)
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise invalid_token("The token's roles cannot be read.")
    try:
        return Principal(
            user_id=UUID(claims["sub"]),
            roles=frozenset(roles),
            family_id=None if family is None else UUID(family),
            token_id=str(claims.get("jti", "")),
            expires_at=int(claims["exp"]),
        )
    except (ValueError, AttributeError, TypeError):
        raise invalid_token("The token names no user.") from None


def invalid_token(detail: str) -> Problem:
    """The 401 for a token that is not good (RFC 6750, 3.1)."""
    return Problem(401, "invalid_token", detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


def missing_token() -> Problem:
    """The 401 for a request without a token (RFC 6750, 3)."""
    return Problem(
        401,
        "not_authenticated",
        "This needs an access token: send it as Authorization: Bearer.",
        headers={"WWW-Authenticate": "Bearer"},
    )


_bearer_scheme = HTTPBearer(auto_error=False, description="Access token of POST /api/v1/auth/login")


def bearer(verifier: TokenVerifier) -> Callable[..., Awaitable[Principal]]:
    """Give a FastAPI dependency that answers who calls. Raises Problem 401 (503 without keys)."""

    async def principal(
        credentials: HTTPAuthorizationCredentials | None = Depends(_bearer_scheme),
    ) -> Principal:
        if credentials is None:
            raise missing_token()
        return await verifier.verify(credentials.credentials)

    return principal
