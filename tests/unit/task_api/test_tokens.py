"""Access tokens that every service can verify with the published keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from service_kit.auth import StaticKeys, TokenVerifier, parse_jwks
from service_kit.problems import Problem
from service_kit.settings import ServiceSettings
from service_kit.testing.tokens import SigningKey
from task_api.adapters.ed25519_tokens import SigningKeys, read_private_keys
from task_api.domain.account import Account

ACCOUNT = Account(uuid4(), "ada@example.org", "UTC", datetime.now(UTC), datetime.now(UTC), role="admin")
SETTINGS = ServiceSettings(
    service_name="x",
    app_port=1,
    app_api_token=SecretStr("a"),
    dapr_api_token=SecretStr("b"),
    redis_url=SecretStr("redis://h"),
)


def keys_of(*pems: SigningKey) -> SigningKeys:
    private_keys = read_private_keys("".join(key.pem for key in pems))
    return SigningKeys(private_keys, issuer="taskstream", audience="taskstream-api")


def verifier(keys: SigningKeys) -> TokenVerifier:
    return TokenVerifier(SETTINGS, StaticKeys(parse_jwks(orjson.dumps(keys.jwks()))))


async def test_a_token_says_who_it_is_for() -> None:
    keys, family = keys_of(SigningKey()), uuid4()
    principal = await verifier(keys).verify(keys.issue(ACCOUNT, family, datetime.now(UTC)))
    assert (principal.user_id, principal.family_id) == (ACCOUNT.id, family)
    assert principal.roles == {"admin"}


async def test_it_expires_after_a_quarter_of_an_hour() -> None:
    keys = keys_of(SigningKey())
    assert keys.lifetime_seconds == 900
    with pytest.raises(Problem, match="expired"):
        await verifier(keys).verify(keys.issue(ACCOUNT, uuid4(), datetime.now(UTC) - timedelta(minutes=16)))


async def test_the_first_key_signs_and_all_verify() -> None:
    old, new = SigningKey(), SigningKey()
    before, after = keys_of(old), keys_of(new, old)
    assert list(after.public_keys) == [new.key_id, old.key_id]
    await verifier(after).verify(before.issue(ACCOUNT, uuid4(), datetime.now(UTC)))
    await verifier(keys_of(new)).verify(after.issue(ACCOUNT, uuid4(), datetime.now(UTC)))
    with pytest.raises(Problem, match="unknown key"):
        await verifier(before).verify(after.issue(ACCOUNT, uuid4(), datetime.now(UTC)))


def test_line_breaks_may_be_written_out() -> None:
    key = SigningKey()
    (read,) = read_private_keys(key.pem.replace("\n", "\\n"))
    assert read.public_key() == key.public


def test_another_kind_of_key_is_refused() -> None:
    rsa = (
        generate_private_key(65537, 2048)
        .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        .decode()
    )
    with pytest.raises(ValueError, match="PEM block 1 is not an Ed25519 key"):
        read_private_keys(rsa)


def test_secrets_for_other_purposes_differ() -> None:
    first, second = SigningKey(), SigningKey()
    both = keys_of(first, second).derived_secrets("cursors")
    assert len({*both, *keys_of(first).derived_secrets("other")}) == 3
    assert keys_of(second).derived_secrets("cursors") == both[1:]
