"""Tokens that are not what they say. The plain forgeries stand in tests/unit/service_kit/test_auth.py."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr

from service_kit.auth import TokenVerifier, public_jwk
from service_kit.problems import Problem
from service_kit.settings import ServiceSettings
from service_kit.testing.tokens import SigningKey, make_token

USER = uuid4()
KEY = SigningKey()
STRANGER = SigningKey()


@pytest.fixture
def verifier() -> TokenVerifier:
    settings = ServiceSettings(
        service_name="reminders",
        app_port=8001,
        app_api_token=SecretStr("app-token"),
        dapr_api_token=SecretStr("dapr-token"),
        redis_url=SecretStr("redis://127.0.0.1:1/0"),
    )
    return TokenVerifier(settings, KEY.source())


async def refused(verifier: TokenVerifier, token: str) -> None:
    with pytest.raises(Problem) as found:
        await verifier.verify(token)
    assert (found.value.status, found.value.error_code) == (401, "invalid_token")


@pytest.mark.parametrize(
    "headers",
    [
        {"jwk": public_jwk(STRANGER.public)},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/certificate.pem"},
        {"x5c": ["MIIB"]},
    ],
)
async def test_a_token_does_not_bring_its_own_key(verifier: TokenVerifier, headers: dict[str, Any]) -> None:
    """RFC 8725, 3.10: what a header says of keys is the sender's word."""
    await refused(verifier, make_token(STRANGER, USER, headers={"kid": KEY.key_id, **headers}))
    # By one who has our key these headers are harmless: they are not looked at.
    assert (await verifier.verify(make_token(KEY, USER, headers=headers))).user_id == USER


@pytest.mark.parametrize(
    "headers", [{"crit": ["made-up"], "made-up": 1}, {"crit": ["exp"]}, {"crit": []}, {"crit": "b64"}]
)
async def test_what_a_token_says_must_be_understood(verifier: TokenVerifier, headers: dict[str, Any]) -> None:
    """RFC 7515, 4.1.11: an extension that is critical and unknown makes the token invalid."""
    await refused(verifier, _signed(headers, {}))


async def test_a_payload_that_is_not_encoded_is_none(verifier: TokenVerifier) -> None:
    """RFC 7797: with b64=false the signature is over another text than the one that is read."""
    await refused(verifier, _signed({"crit": ["b64"], "b64": False}, {}))


def _signed(headers: dict[str, Any], claims: dict[str, Any]) -> str:
    """By our own key, as no library would write it."""
    now = datetime.now(UTC)
    payload = {
        "iss": "taskstream",
        "aud": "taskstream-api",
        "sub": str(USER),
        "exp": int((now + timedelta(minutes=5)).timestamp()),
    } | claims
    parts = [{"alg": "EdDSA", "typ": "JWT", "kid": KEY.key_id} | headers, payload]
    text = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts
    )
    signature = base64.urlsafe_b64encode(KEY.private.sign(text.encode())).rstrip(b"=").decode()
    return f"{text}.{signature}"


async def test_the_bare_frame_is_good(verifier: TokenVerifier) -> None:
    """Or the tests above would pass for another reason."""
    assert (await verifier.verify(_signed({}, {}))).user_id == USER


@pytest.mark.parametrize(
    "claims",
    [
        {"iat": 4102444800},
        {"iat": "now"},
        {"nbf": 4102444800},
        {"nbf": "later"},
        {"exp": 0},
        {"exp": -1},
        {"exp": "4102444800x"},
        {"exp": 1e400},
        {"exp": [4102444800]},
        {"exp": None},
        {"aud": ["another-api"]},
        {"aud": {}},
        {"iss": ["taskstream"]},
        {"sub": 7},
        {"sub": ["x"]},
        {"sub": "0" * 36},
        {"roles": ["admin", 1]},
        {"roles": {"admin": True}},
        {"fam": 7},
    ],
)
async def test_claims_that_do_not_hold(verifier: TokenVerifier, claims: dict[str, Any]) -> None:
    await refused(verifier, _signed({}, claims))


async def test_another_kind_of_key_under_our_name(verifier: TokenVerifier) -> None:
    other = Ed25519PrivateKey.generate()
    token = jwt.encode(
        {"iss": "taskstream", "aud": "taskstream-api", "sub": str(USER), "exp": 4102444800},
        other,
        algorithm="EdDSA",
        headers={"kid": KEY.key_id},
    )
    await refused(verifier, token)


@pytest.mark.parametrize("change", ["newline", "space", "fourth part", "no signature", "twice"])
async def test_what_is_not_quite_a_token_is_none(verifier: TokenVerifier, change: str) -> None:
    token = make_token(KEY, USER)
    text, _, signature = token.rpartition(".")
    written = {
        "newline": f"{text}\n.{signature}",
        "space": f" {token}",
        "fourth part": f"{token}.{signature}",
        "no signature": f"{text}.",
        "twice": f"{token},{token}",
    }[change]
    await refused(verifier, written)
