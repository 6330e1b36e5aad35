"""Accounts, sessions and keys when two things happen at once, or one half-way."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
from redis.asyncio import Redis
from tests.integration.task_api.conftest import PASSWORD

from service_kit.auth import Principal
from service_kit.revocations import Revocations
from service_kit.sidecar import Answer
from service_kit.testing.fakes import AnsweringSidecar
from task_api.adapters.argon2_passwords import Argon2Passwords
from task_api.adapters.postgres.accounts import PostgresAccounts
from task_api.adapters.redis_sessions import RedisRevokedSessions
from task_api.app import build
from task_api.application.audit import AuditLine, Origin

_KEY = {"name": "script", "scopes": ["tasks:read"]}


class HeldPasswords(Argon2Passwords):
    """Checks a password, and then waits before it says so."""

    def __init__(self) -> None:
        super().__init__(1)
        self.checked, self.go_on = asyncio.Event(), asyncio.Event()

    async def matches(self, password: str, kept: str | None) -> bool:
        same = await super().matches(password, kept)
        self.checked.set()
        await self.go_on.wait()
        return same


async def _login_while(change: dict[str, Any], settings: Any, engine: Any, person: Any) -> httpx.Response:
    """Log in; between the check of the password and the session an administrator writes `change`."""
    passwords = HeldPasswords()
    async with Redis.from_url(settings.redis_url.get_secret_value(), decode_responses=True) as redis:
        sidecar = AnsweringSidecar(settings, lambda _: Answer(503))
        app = build(settings, engine=engine, redis=redis, sidecar=sidecar, passwords=passwords)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://task-api"
        ) as client:
            body = {"email": person.email, "password": PASSWORD}
            login = asyncio.create_task(client.post("/api/v1/auth/login", json=body))
            await passwords.checked.wait()
            await PostgresAccounts(engine).manage(person.id, line=_line(person), **change)
            passwords.go_on.set()
            answer = await login
        await sidecar.aclose()
    passwords.close()
    return answer


async def test_a_login_that_disabling_overtook_gets_no_session(
    settings: Any, engine: Any, ada: Any, rows: Any
) -> None:
    answer = await _login_while({"role": None, "disabled": True}, settings, engine, ada)
    assert (answer.status_code, answer.json()["error_code"]) == (401, "invalid_credentials")
    open_ones = "SELECT 1 FROM session_families WHERE user_id = :id AND revoked_at IS NULL"
    assert await rows(open_ones, id=ada.id) == []


async def test_a_login_that_a_demotion_overtook_has_the_new_role(
    settings: Any, engine: Any, ada: Any, http: Any, rows: Any
) -> None:
    await rows("UPDATE users SET role = 'admin' WHERE id = :id", id=ada.id)
    answer = await _login_while({"role": "user", "disabled": None}, settings, engine, ada)
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert (await http.get("/api/v1/admin/users", headers=headers)).status_code == 403


async def test_a_logout_whose_process_died_is_mirrored_by_the_next(
    ada: Any, engine: Any, redis_url: str, rows: Any
) -> None:
    store = PostgresAccounts(engine)
    first, second = [Principal(ada.id, frozenset(), family, "t") for family in await _families(ada, rows)]
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        siblings, mine = Revocations(redis), RedisRevokedSessions(redis, store, 900)
        for principal in (first, second):  # the first look of a process, and a later one
            assert principal.family_id is not None
            await store.revoke(ada.id, principal.family_id, _line(ada))
            assert not await siblings.is_revoked(principal)
            await mine.refill()
            assert await siblings.is_revoked(principal)


def _line(person: Any) -> AuditLine:
    return AuditLine(uuid4(), datetime.now(UTC), "test", True, person.id, Origin(None, None))


async def _families(person: Any, rows: Any) -> list[UUID]:
    login = {"email": person.email, "password": PASSWORD}
    assert (await person.http.post("/api/v1/auth/login", json=login)).status_code == 200
    kept = await rows("SELECT id FROM session_families WHERE user_id = :id", id=person.id)
    return [UUID(str(row["id"])) for row in kept]


async def test_keys_made_at_once_are_at_most_fifty(ada: Any, rows: Any) -> None:
    for _ in range(45):
        await ada.call("POST", "/api/v1/api-keys", 201, json=_KEY)
    answers = await asyncio.gather(*(ada.call("POST", "/api/v1/api-keys", json=_KEY) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [409] * 15
    assert len(await rows("SELECT 1 FROM api_keys WHERE user_id = :id", id=ada.id)) == 50


async def test_a_key_in_use_is_refused_once_its_account_is_disabled(
    ada: Any, bob: Any, http: Any, rows: Any
) -> None:
    key = (await ada.call("POST", "/api/v1/api-keys", 201, json=_KEY)).json()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    assert (await http.get("/api/v1/tasks", headers=headers)).status_code == 200
    await rows("UPDATE users SET role = 'admin' WHERE id = :id", id=bob.id)
    login = await http.post("/api/v1/auth/login", json={"email": bob.email, "password": PASSWORD})
    bob.tokens = login.json()
    await bob.call("PATCH", f"/api/v1/admin/users/{ada.id}", 200, json={"disabled": True})
    assert (await http.get("/api/v1/tasks", headers=headers)).status_code == 401
