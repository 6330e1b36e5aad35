"""Accounts and sessions over HTTP: what is handed out, what it opens, and when it stops."""

from __future__ import annotations

import asyncio
import base64
from typing import Any, Protocol
from uuid import uuid4

import httpx
import orjson
import pytest
from argon2 import Parameters, extract_parameters
from pydantic import SecretStr
from redis.asyncio import Redis

from service_kit.sidecar import Answer
from service_kit.testing.fakes import AnsweringSidecar
from service_kit.testing.tokens import SigningKey
from task_api.adapters.argon2_passwords import Argon2Passwords
from task_api.app import build
from task_api.settings import Settings

PASSWORD = "correct horse battery"


class Person(Protocol):
    email: str
    tokens: dict[str, Any]

    async def call(
        self, method: str, path: str, expect: int | None = None, **more: Any
    ) -> httpx.Response: ...


async def refresh(http: httpx.AsyncClient, token: str) -> httpx.Response:
    return await http.post("/api/v1/auth/refresh", json={"refresh_token": token})


async def login(http: httpx.AsyncClient, email: str, password: str = PASSWORD) -> httpx.Response:
    return await http.post("/api/v1/auth/login", json={"email": email, "password": password})


async def test_registering_hands_out_a_session(http: httpx.AsyncClient) -> None:
    email = f"Ada.{uuid4().hex}@Example.org"
    body = {"email": email, "password": PASSWORD, "first_name": " Ada ", "timezone": "Europe/Berlin"}
    answer = await http.post("/api/v1/auth/register", json=body)
    assert answer.status_code == 201
    session = answer.json()
    assert (session["token_type"], session["expires_in"]) == ("bearer", 900)
    user = session["user"]
    assert (user["first_name"], user["last_name"], user["timezone"]) == ("Ada", None, "Europe/Berlin")
    assert (user["day_start"], user["locale"], user["default_reminder"]) == ("09:00", "en", None)
    assert PASSWORD not in answer.text
    assert "no-store" in answer.headers["cache-control"]
    me = await http.get("/api/v1/users/me", headers={"Authorization": f"Bearer {session['access_token']}"})
    assert me.json() == user


async def test_an_address_is_taken_however_it_is_written(http: httpx.AsyncClient, ada: Person) -> None:
    answer = await http.post("/api/v1/auth/register", json={"email": ada.email.upper(), "password": PASSWORD})
    assert (answer.status_code, answer.json()["error_code"]) == (409, "email_taken")
    assert (await login(http, f" {ada.email.upper()} ")).status_code == 200


async def test_one_of_many_gets_the_address(http: httpx.AsyncClient) -> None:
    body = {"email": f"{uuid4().hex}@example.org", "password": PASSWORD}
    answers = await asyncio.gather(*(http.post("/api/v1/auth/register", json=body) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]


async def test_a_weak_password_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/v1/auth/register", json={"email": "x@example.org", "password": "password"})
    problem = answer.json()
    assert (answer.status_code, problem["error_code"]) == (422, "weak_password")
    assert problem["errors"][0]["field"] == "password"


async def test_wrong_logins_are_all_the_same(http: httpx.AsyncClient, ada: Person) -> None:
    wrong = await login(http, ada.email, "not the password")
    nobody = await login(http, "nobody@example.org", "not the password")
    for answer in (wrong, nobody):
        assert (answer.status_code, answer.json()["error_code"]) == (401, "invalid_credentials")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert wrong.json()["detail"] == nobody.json()["detail"]


class CountedPasswords(Argon2Passwords):
    """Notes what each hash that is verified or made costs."""

    def __init__(self) -> None:
        super().__init__(1)
        self.verified: list[Parameters] = []
        self.made = 0

    async def hash(self, password: str) -> str:
        self.made += 1
        return await super().hash(password)

    def _verify(self, kept: str, password: str) -> bool:
        self.verified.append(extract_parameters(kept))
        return super()._verify(kept, password)


async def test_an_address_that_nobody_has_costs_a_login_as_much(
    ada: Person, settings: Settings, engine: Any
) -> None:
    passwords = CountedPasswords()
    async with Redis.from_url(settings.redis_url.get_secret_value(), decode_responses=True) as redis:
        sidecar = AnsweringSidecar(settings, lambda _: Answer(503))
        app = build(settings, engine=engine, redis=redis, sidecar=sidecar, passwords=passwords)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://task-api"
        ) as client:
            for email in (ada.email, "nobody@example.org"):
                assert (await login(client, email, "not the password")).status_code == 401
        await sidecar.aclose()
    passwords.close()
    assert len(passwords.verified) == 2, "once each"
    assert passwords.verified[0] == passwords.verified[1]
    assert passwords.made == 0


async def test_a_login_is_a_session_of_its_own(http: httpx.AsyncClient, ada: Person) -> None:
    session = (await login(http, ada.email)).json()
    other = {"Authorization": f"Bearer {session['access_token']}"}
    assert (await http.post("/api/v1/auth/logout", headers=other)).status_code == 204
    assert (await http.get("/api/v1/users/me", headers=other)).status_code == 401
    assert (await refresh(http, session["refresh_token"])).json()["error_code"] == "invalid_refresh_token"
    await ada.call("GET", "/api/v1/users/me", 200)
    assert (await refresh(http, ada.tokens["refresh_token"])).status_code == 200


async def test_a_refresh_token_is_good_for_one_use(http: httpx.AsyncClient, ada: Person) -> None:
    first = await refresh(http, ada.tokens["refresh_token"])
    assert first.status_code == 200
    second = await refresh(http, first.json()["refresh_token"])
    assert second.status_code == 200
    tokens = {ada.tokens["refresh_token"], first.json()["refresh_token"], second.json()["refresh_token"]}
    assert len(tokens) == 3


async def test_a_reused_token_ends_the_session(http: httpx.AsyncClient, ada: Person) -> None:
    fresh = (await refresh(http, ada.tokens["refresh_token"])).json()
    assert (await refresh(http, ada.tokens["refresh_token"])).status_code == 401
    assert (await refresh(http, fresh["refresh_token"])).status_code == 401
    for token in (ada.tokens["access_token"], fresh["access_token"]):
        answer = await http.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["error_code"]) == (401, "invalid_token")


async def test_of_two_refreshes_at_once_one_passes_and_the_session_ends(
    http: httpx.AsyncClient, ada: Person
) -> None:
    token = ada.tokens["refresh_token"]
    answers = await asyncio.gather(*(refresh(http, token) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]
    (passed,) = (answer for answer in answers if answer.status_code == 200)
    assert (await refresh(http, passed.json()["refresh_token"])).status_code == 401


async def test_an_expired_refresh_token(http: httpx.AsyncClient, ada: Person, rows: Any) -> None:
    await rows(
        "UPDATE refresh_tokens SET expires_at = now() - interval '1 s' FROM session_families f "
        "JOIN users u ON u.id = f.user_id WHERE f.id = family_id AND u.email = :email",
        email=ada.email,
    )
    assert (await refresh(http, ada.tokens["refresh_token"])).status_code == 401
    # It was not used, so nobody copied it: the access token lives on.
    await ada.call("GET", "/api/v1/users/me", 200)


async def test_made_up_tokens(http: httpx.AsyncClient) -> None:
    assert (await refresh(http, "tsr_made-up")).status_code == 401
    bare = await http.get("/api/v1/tasks")
    assert (bare.status_code, bare.headers["www-authenticate"]) == (401, "Bearer")
    forged = await http.get("/api/v1/tasks", headers={"Authorization": "Bearer a.b.c"})
    assert forged.json()["error_code"] == "invalid_token"


async def test_a_logout_is_mirrored_for_as_long_as_its_tokens_live(
    http: httpx.AsyncClient, ada: Person, redis: Any
) -> None:
    await ada.call("POST", "/api/v1/auth/logout", 204)
    (key,) = await redis.keys("session:revoked:*")
    assert 900 <= await redis.ttl(key) <= 910
    await ada.call("GET", "/api/v1/users/me", 401)


async def test_a_logout_holds_while_redis_is_away(settings: Any, engine: Any, ada: Person) -> None:
    nowhere = Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.2)
    sidecar = AnsweringSidecar(settings, lambda _: Answer(503))
    transport = httpx.ASGITransport(app=build(settings, engine=engine, redis=nowhere, sidecar=sidecar))
    headers = {"Authorization": f"Bearer {ada.tokens['access_token']}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://task-api", headers=headers) as client:
        assert (await client.get("/api/v1/users/me")).status_code == 200
        assert (await client.post("/api/v1/auth/logout")).status_code == 204
        assert (await client.get("/api/v1/users/me")).status_code == 401
    await nowhere.aclose()
    await sidecar.aclose()


async def test_what_is_kept_of_tokens_and_passwords(ada: Person, rows: Any) -> None:
    (user,) = await rows("SELECT password_hash FROM users WHERE email = :email", email=ada.email)
    assert user["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    kept = await rows("SELECT encode(hash, 'escape') AS hash FROM refresh_tokens")
    assert ada.tokens["refresh_token"] not in {row["hash"] for row in kept}


async def test_the_key_set_has_the_key_that_signed(http: httpx.AsyncClient, ada: Person) -> None:
    header = ada.tokens["access_token"].partition(".")[0]
    key_id = orjson.loads(base64.urlsafe_b64decode(header + "=="))["kid"]
    answer = await http.get("/.well-known/jwks.json")
    (key,) = answer.json()["keys"]
    assert (key["kid"], key["kty"], key["crv"], key["alg"]) == (key_id, "OKP", "Ed25519", "EdDSA")
    assert "d" not in key


async def test_the_key_set_may_be_kept_for_a_while(http: httpx.AsyncClient) -> None:
    first = await http.get("/.well-known/jwks.json")
    assert first.headers["cache-control"] == "public, max-age=300"
    tag = first.headers["etag"]
    for known in (tag, f'"other", W/{tag}'):
        again = await http.get("/.well-known/jwks.json", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert (await http.get("/.well-known/jwks.json", headers={"If-None-Match": '"other"'})).status_code == 200


async def test_a_key_is_good_until_it_is_taken_out(
    settings: Settings, signing_key: SigningKey, engine: Any, redis: Any, ada: Person
) -> None:
    new = SigningKey()
    sidecar = AnsweringSidecar(settings, lambda _: Answer(503))

    async def status(*pems: str) -> tuple[int, str]:
        keys = settings.model_copy(update={"jwt_private_keys": SecretStr("".join(pems))})
        transport = httpx.ASGITransport(build(keys, engine=engine, redis=redis, sidecar=sidecar))
        async with httpx.AsyncClient(transport=transport, base_url="http://task-api") as client:
            bearer = {"Authorization": f"Bearer {ada.tokens['access_token']}"}
            answer = await client.get("/api/v1/users/me", headers=bearer)
            tag = (await client.get("/.well-known/jwks.json")).headers["etag"]
        return answer.status_code, tag

    before, first_tag = await status(signing_key.pem)
    during, both_tag = await status(new.pem, signing_key.pem)
    after, last_tag = await status(new.pem)
    await sidecar.aclose()
    assert (before, during, after) == (200, 200, 401)
    assert len({first_tag, both_tag, last_tag}) == 3


async def test_the_token_of_an_account_that_is_gone(ada: Person, rows: Any) -> None:
    await rows("DELETE FROM users WHERE email = :email", email=ada.email)
    for method, path, body in (
        ("GET", "/api/v1/users/me", None),
        ("PATCH", "/api/v1/users/me", {"first_name": "Ada"}),
        ("POST", "/api/v1/tasks", {"title": "Water the plants"}),
    ):
        answer = await ada.call(method, path, 401, json=body)
        assert answer.json()["error_code"] == "invalid_token"


@pytest.mark.parametrize("path", ["/api/v1/auth/register", "/api/v1/auth/login", "/api/v1/auth/refresh"])
async def test_unknown_fields_are_refused_and_secrets_not_repeated(
    http: httpx.AsyncClient, path: str
) -> None:
    answer = await http.post(path, json={"password": "secret-" * 60, "colour": "red"})
    assert answer.status_code == 422
    assert "secret-" not in answer.text
    assert "colour" in {error["field"] for error in answer.json()["errors"]}
