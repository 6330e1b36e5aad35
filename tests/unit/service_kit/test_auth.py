"""Access tokens: only ours, only now, only with a key we know."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import Depends, FastAPI

from service_kit import auth
from service_kit.auth import (
    Principal,
    SiblingKeys,
    StaticKeys,
    TokenVerifier,
    bearer,
    parse_jwks,
    thumbprint,
)
from service_kit.problems import Problem
from service_kit.settings import ServiceSettings
from service_kit.sidecar import Answer, SidecarError, SidecarUnavailable
from service_kit.testing.fakes import RecordingSidecar
from service_kit.testing.tokens import SigningKey, make_token

USER = uuid4()


@pytest.fixture(scope="session")
def key() -> SigningKey:
    return SigningKey()


@pytest.fixture
def verifier(settings: ServiceSettings, key: SigningKey) -> TokenVerifier:
    return TokenVerifier(settings, key.source())


async def refusal(verifier: TokenVerifier, token: str) -> Problem:
    with pytest.raises(Problem) as caught:
        await verifier.verify(token)
    problem = caught.value
    assert (problem.status, problem.error_code) == (401, "invalid_token")
    assert problem.headers["WWW-Authenticate"].startswith("Bearer")
    return problem


async def test_a_good_token_says_who_calls(verifier: TokenVerifier, key: SigningKey) -> None:
    family = uuid4()
    token = make_token(key, USER, roles=("admin",), family_id=family, jti="t-1")
    who = await verifier.verify(token)
    assert who == Principal(USER, frozenset({"admin"}), family, "t-1")
    assert who.expires_at == jwt.decode(token, options={"verify_signature": False})["exp"]


async def test_roles_and_family_may_be_missing(verifier: TokenVerifier, key: SigningKey) -> None:
    principal = await verifier.verify(make_token(key, USER, roles=None, jti=None))
    assert (principal.roles, principal.family_id, principal.token_id) == (frozenset(), None, "")


@pytest.mark.parametrize(
    "changes",
    [
        {"expires_in": timedelta(minutes=-1)},
        {"issuer": "somebody"},
        {"audience": "another-api"},
        {"sub": "nobody"},
        {"sub": None},
        {"exp": None},
        {"iss": None},
        {"aud": None},
        {"nbf": 4102444800},
        {"roles": "admin"},
        {"fam": "no-uuid"},
    ],
)
async def test_a_token_that_is_not_for_us_is_refused(
    verifier: TokenVerifier, key: SigningKey, changes: dict[str, Any]
) -> None:
    roles = changes.pop("roles", ())
    if roles:
        changes[auth.ROLES_CLAIM] = roles
        token = jwt.encode(
            {
                "iss": "taskstream",
                "aud": "taskstream-api",
                "sub": str(USER),
                "exp": 4102444800,
                "roles": roles,
            },
            key.private,
            algorithm="EdDSA",
            headers={"kid": key.key_id},
        )
    else:
        token = make_token(key, USER, **changes)
    await refusal(verifier, token)


async def test_a_known_token_ends_as_any_other(verifier: TokenVerifier, key: SigningKey) -> None:
    token = make_token(key, USER, expires_in=timedelta(seconds=-3))
    assert (await verifier.verify(token)).user_id == USER
    await asyncio.sleep(2.1)
    assert "expired" in (await refusal(verifier, token)).detail


async def test_a_known_token_ends_with_its_key(settings: ServiceSettings, key: SigningKey) -> None:
    keys = {key.key_id: key.public}

    class Keys:
        async def key(self, key_id: str) -> Ed25519PublicKey | None:
            return keys.get(key_id)

    verifier, token = TokenVerifier(settings, Keys()), make_token(key, USER)
    assert (await verifier.verify(token)).user_id == USER
    keys[key.key_id] = SigningKey().public
    await refusal(verifier, token)
    keys.clear()
    await refusal(verifier, token)


async def test_a_known_token_ends_with_its_session(settings: ServiceSettings, key: SigningKey) -> None:
    ended: set[UUID | None] = set()

    async def revoked(principal: Principal) -> bool:
        return principal.family_id in ended

    verifier = TokenVerifier(settings, key.source(), revoked=revoked)
    family = uuid4()
    token = make_token(key, USER, family_id=family)
    assert (await verifier.verify(token)).family_id == family
    ended.add(family)
    await refusal(verifier, token)


async def test_a_known_token_lends_nothing_to_others(verifier: TokenVerifier, key: SigningKey) -> None:
    mine, other = make_token(key, USER), make_token(key, uuid4())
    assert (await verifier.verify(mine)).user_id == USER
    assert (await verifier.verify(other)).user_id != USER
    content, _, signature = mine.rpartition(".")
    await refusal(verifier, f"{content}.{other.rpartition('.')[2]}")
    await refusal(verifier, f"{other.rpartition('.')[0]}.{signature}")


async def test_only_so_many_tokens_are_known(
    verifier: TokenVerifier, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "_VERIFIED_MAX", 2)
    tokens = [make_token(key, USER, jti=str(number)) for number in range(5)]
    for token in tokens * 2:
        assert (await verifier.verify(token)).user_id == USER
    assert len(verifier._verified) == 2


async def test_a_little_skew_is_forgiven(verifier: TokenVerifier, key: SigningKey) -> None:
    late = make_token(key, USER, expires_in=timedelta(seconds=-2))
    assert (await verifier.verify(late)).user_id == USER
    assert (
        "expired" in (await refusal(verifier, make_token(key, USER, expires_in=-timedelta(minutes=1)))).detail
    )


@pytest.mark.parametrize(
    "kid", [None, "", "unknown", "../../etc/passwd", "http://evil.example/key", "x" * 5000, 7, ["a"]]
)
async def test_the_key_id_is_only_looked_up(verifier: TokenVerifier, key: SigningKey, kid: object) -> None:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "EdDSA", "typ": "JWT", "kid": kid}).encode())
    body = make_token(key, USER).split(".", 1)[1]
    await refusal(verifier, f"{header.rstrip(b'=').decode()}.{body}")


async def test_another_keys_signature_is_refused(verifier: TokenVerifier, key: SigningKey) -> None:
    stranger = SigningKey()
    await refusal(verifier, make_token(stranger, USER))
    await refusal(verifier, make_token(stranger, USER, headers={"kid": key.key_id}))


async def test_a_changed_token_is_refused(verifier: TokenVerifier, key: SigningKey) -> None:
    header, _, signature = make_token(key, USER).split(".")
    other = make_token(key, uuid4()).split(".")[1]
    await refusal(verifier, f"{header}.{other}.{signature}")


def _segment(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS256", "eddsa", "ES256"])
async def test_other_algorithms_are_refused(verifier: TokenVerifier, key: SigningKey, algorithm: str) -> None:
    signed = f"{_segment({'alg': algorithm, 'kid': key.key_id})}.{make_token(key, USER).split('.')[1]}"
    # The classic forgery: our public key, which anybody can have, taken as the secret of an HMAC.
    digest = hmac.new(key.public.public_bytes_raw(), signed.encode(), hashlib.sha256).digest()
    await refusal(verifier, f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}")
    await refusal(verifier, f"{signed}.")


@pytest.mark.parametrize("token", ["", ".", "a.b.c", "é", "x" * 5000, "tsk_live_key"])
async def test_what_is_no_token_is_refused(verifier: TokenVerifier, token: str) -> None:
    await refusal(verifier, token)


async def test_a_revoked_token_is_refused(settings: ServiceSettings, key: SigningKey) -> None:
    async def revoked(principal: Principal) -> bool:
        return principal.user_id == USER

    verifier = TokenVerifier(settings, key.source(), revoked=revoked)
    await refusal(verifier, make_token(key, USER))
    other = uuid4()
    assert (await verifier.verify(make_token(key, other))).user_id == other


def test_the_key_id_is_the_thumbprint_of_the_standard() -> None:
    # RFC 8037, appendix A.3
    raw = base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    key = Ed25519PublicKey.from_public_bytes(raw)
    assert thumbprint(key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


# Keys of a sibling


@pytest.fixture
def sidecar(key: SigningKey) -> RecordingSidecar:
    fake = RecordingSidecar()
    fake.on_invoke("task-api", "/.well-known/jwks.json", json=key.jwks)
    return fake


class Seconds:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    passing = Seconds()
    monkeypatch.setattr(auth, "monotonic", passing)
    return passing


class Gate:
    """Holds what is asked of a sidecar until it is opened."""

    def __init__(self, sidecar: RecordingSidecar, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = asyncio.Event()
        self.asked = 0
        original = sidecar.invoke

        async def held(*given: Any, **more: Any) -> Answer:
            self.asked += 1
            await self.opened.wait()
            return await original(*given, **more)

        monkeypatch.setattr(sidecar, "invoke", held)


@pytest.fixture
async def fetched(
    sidecar: RecordingSidecar, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> tuple[SiblingKeys, Gate]:
    """Keys that were fetched, and what stands before the next question."""
    keys = SiblingKeys(sidecar)
    await keys.key(key.key_id)
    return keys, Gate(sidecar, monkeypatch)


async def test_keys_are_fetched_every_five_minutes(
    sidecar: RecordingSidecar, key: SigningKey, seconds: Seconds
) -> None:
    keys = SiblingKeys(sidecar)
    for _ in range(3):
        found = await keys.key(key.key_id)
        assert found is not None
        assert found.public_bytes_raw() == key.public.public_bytes_raw()
    seconds.now += 299
    assert await keys.key(key.key_id) is not None
    assert sidecar.invocations == [("task-api", "GET", "/.well-known/jwks.json")]
    seconds.now += 1
    for _ in range(3):
        assert await keys.key(key.key_id) is not None
    assert len(sidecar.invocations) == 2
    seconds.now += 299
    assert await keys.key(key.key_id) is not None
    assert len(sidecar.invocations) == 2


async def test_a_key_that_was_taken_back_ends_within_five_minutes(
    settings: ServiceSettings, sidecar: RecordingSidecar, key: SigningKey, seconds: Seconds
) -> None:
    verifier, token = TokenVerifier(settings, SiblingKeys(sidecar)), make_token(key, USER)
    assert (await verifier.verify(token)).user_id == USER
    newer = SigningKey()
    sidecar.on_invoke("task-api", "/.well-known/jwks.json", json=newer.jwks)
    seconds.now += 299
    assert (await verifier.verify(token)).user_id == USER
    seconds.now += 1
    assert "unknown key" in (await refusal(verifier, token)).detail
    assert "unknown key" in (await refusal(verifier, make_token(key, uuid4()))).detail
    assert (await verifier.verify(make_token(newer, USER))).user_id == USER
    assert len(sidecar.invocations) == 2


async def test_old_keys_serve_while_nobody_gives_newer_ones(
    sidecar: RecordingSidecar, key: SigningKey, seconds: Seconds, fetched: tuple[SiblingKeys, Gate]
) -> None:
    keys, gate = fetched
    gate.opened.set()
    sidecar.unavailable = True
    seconds.now += 300
    for _ in range(3):
        assert await keys.key(key.key_id) is not None
    assert gate.asked == 1
    seconds.now += 10
    assert await keys.key(key.key_id) is not None
    assert gate.asked == 2
    sidecar.unavailable = False
    sidecar.on_invoke("task-api", "/.well-known/jwks.json", json=SigningKey().jwks)
    seconds.now += 9
    assert await keys.key(key.key_id) is not None
    seconds.now += 1
    assert await keys.key(key.key_id) is None
    assert gate.asked == 3


@pytest.mark.parametrize("answer", [{"keys": 1}, {}])
async def test_nonsense_takes_no_keys_away(
    sidecar: RecordingSidecar, key: SigningKey, seconds: Seconds, answer: dict[str, Any]
) -> None:
    keys = SiblingKeys(sidecar)
    await keys.key(key.key_id)
    sidecar.on_invoke("task-api", "/.well-known/jwks.json", json=answer)
    seconds.now += 300
    assert await keys.key(key.key_id) is not None
    assert len(sidecar.invocations) == 2


async def test_many_at_once_fetch_old_keys_again_once(
    sidecar: RecordingSidecar, key: SigningKey, seconds: Seconds, fetched: tuple[SiblingKeys, Gate]
) -> None:
    keys, gate = fetched
    sidecar.on_invoke("task-api", "/.well-known/jwks.json", json=SigningKey().jwks)
    seconds.now += 300
    waiting = [asyncio.create_task(keys.key(key.key_id)) for _ in range(20)]
    await asyncio.sleep(0.01)
    assert gate.asked == 1
    gate.opened.set()
    assert await asyncio.gather(*waiting) == [None] * 20
    assert gate.asked == 1


async def test_nobody_with_a_known_key_waits_long_for_newer_ones(
    sidecar: RecordingSidecar, key: SigningKey, seconds: Seconds, fetched: tuple[SiblingKeys, Gate]
) -> None:
    keys, gate = fetched
    seconds.now += 300
    async with asyncio.timeout(1.5):
        assert await keys.key(key.key_id) is not None
    seconds.now += 0.5
    async with asyncio.timeout(0.25):
        assert await keys.key(key.key_id) is not None
    sidecar.on_invoke("task-api", "/.well-known/jwks.json", json=SigningKey().jwks)
    gate.opened.set()
    await asyncio.sleep(0.01)
    assert await keys.key(key.key_id) is None
    assert gate.asked == 1


async def test_who_comes_while_keys_are_fetched_waits_for_them(
    sidecar: RecordingSidecar, key: SigningKey, seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = sidecar.invoke

    async def slow(*given: Any, **more: Any) -> Answer:
        await asyncio.sleep(0.01)
        return await original(*given, **more)

    monkeypatch.setattr(sidecar, "invoke", slow)
    keys = SiblingKeys(sidecar)
    found = await asyncio.gather(*(keys.key(key.key_id) for _ in range(20)))
    assert None not in found
    assert len(sidecar.invocations) == 1
    sidecar.unavailable = True
    away = SiblingKeys(sidecar)
    answers = await asyncio.gather(*(away.key(key.key_id) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(answer, SidecarError) for answer in answers)


async def test_unknown_keys_are_asked_for_at_most_every_ten_seconds(
    sidecar: RecordingSidecar, key: SigningKey, seconds: Seconds
) -> None:
    keys = SiblingKeys(sidecar)
    await keys.key(key.key_id)
    newer = SigningKey()
    sidecar.on_invoke("task-api", "/.well-known/jwks.json", json=newer.jwks)
    for made_up in range(50):
        assert await keys.key(f"made-up-{made_up}") is None
    assert await keys.key(newer.key_id) is None
    assert len(sidecar.invocations) == 1
    seconds.now += 10
    assert await keys.key(newer.key_id) is not None
    assert len(sidecar.invocations) == 2
    assert await keys.key(key.key_id) is None


async def test_known_keys_serve_while_the_sibling_is_away(
    sidecar: RecordingSidecar, key: SigningKey, seconds: Seconds
) -> None:
    keys = SiblingKeys(sidecar)
    await keys.key(key.key_id)
    sidecar.unavailable = True
    seconds.now += 60
    assert await keys.key("unknown") is None
    assert await keys.key(key.key_id) is not None


async def test_without_any_keys_the_answer_is_later(
    settings: ServiceSettings, sidecar: RecordingSidecar, key: SigningKey, seconds: Seconds
) -> None:
    verifier = TokenVerifier(settings, SiblingKeys(sidecar))
    sidecar.unavailable = True
    with pytest.raises(Problem) as caught:
        await verifier.verify(make_token(key, USER))
    assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "2"})
    sidecar.unavailable = False
    seconds.now += 1
    assert (await verifier.verify(make_token(key, USER))).user_id == USER


@pytest.mark.parametrize("document", [b"", b"{}", b'{"keys": 1}', b'{"keys": [{"kty": "OKP"}]}'])
def test_what_is_no_key_set_is_an_error(document: bytes) -> None:
    with pytest.raises(SidecarError):
        parse_jwks(document)


def test_keys_of_other_kinds_are_passed_over(key: SigningKey) -> None:
    numbers = rsa.generate_private_key(65537, 2048).public_key()
    other = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(numbers)) | {"kid": "rsa"}
    found = parse_jwks(json.dumps({"keys": [other, *key.jwks["keys"]]}).encode())
    assert list(found) == [key.key_id]


async def test_a_sibling_that_answers_nonsense_is_unavailable(seconds: Seconds) -> None:
    sidecar = RecordingSidecar()
    with pytest.raises(SidecarError):
        await SiblingKeys(sidecar).key("any")
    sidecar.unavailable = True
    with pytest.raises(SidecarUnavailable):
        await SiblingKeys(sidecar).key("any")


# As a dependency of a route


@pytest.fixture
def guarded(app: FastAPI, verifier: TokenVerifier) -> FastAPI:
    caller = bearer(verifier)

    @app.get("/me")
    async def me(principal: Principal = Depends(caller)) -> str:
        return str(principal.user_id)

    return app


async def test_a_route_knows_who_calls(guarded: FastAPI, client: httpx.AsyncClient, key: SigningKey) -> None:
    answer = await client.get("/me", headers={"Authorization": f"Bearer {make_token(key, USER)}"})
    assert answer.json() == str(USER)


@pytest.mark.parametrize("header", [None, "Basic abc", "Bearer", "Bearer nonsense"])
async def test_a_route_asks_for_a_token(
    guarded: FastAPI, client: httpx.AsyncClient, header: str | None
) -> None:
    answer = await client.get("/me", headers={} if header is None else {"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_static_keys_know_only_theirs(key: SigningKey) -> None:
    keys = StaticKeys({key.key_id: key.public})
    assert await keys.key("other") is None
