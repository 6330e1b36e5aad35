"""Everything of a person in one document; and nothing of them once they are erased."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import jwt
import orjson
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from sqlalchemy import text
from tests.integration.task_api.conftest import PASSWORD, Person

from service_kit.auth import FAMILY_CLAIM
from service_kit.clock import SystemClock
from service_kit.revocations import family_key
from task_api.adapters.argon2_passwords import Argon2Passwords
from task_api.adapters.postgres import erasures
from task_api.adapters.postgres.accounts import PostgresAccounts
from task_api.adapters.postgres.erasures import PostgresErasing, PostgresErasures
from task_api.adapters.redis_sessions import RedisRevokedSessions
from task_api.application import erase_account
from task_api.application.erase_account import EraseAccount
from task_api.domain.errors import StorageUnavailable

ME = "/api/v1/users/me"
TASKS = "/api/v1/tasks"


async def fill(person: Person) -> dict[str, Any]:
    """Some of everything."""
    task = await person.create(
        f"Private words {person.id}",
        tags=[f"private words {person.id}"],
        metadata={"note": f"private words {person.id}"},
        due_date="2026-01-08",
        recurrence={"rrule": "FREQ=DAILY"},
        reminders=[{"offset": "PT1H"}],
    )
    await person.call(
        "PATCH", f"{TASKS}/{task['id']}", 200, json={"description": f"more private words {person.id}"}
    )
    await person.call("POST", f"/api/v1/series/{task['series_id']}/pause", 200)
    gone = await person.create(f"Deleted words {person.id}")
    await person.call("DELETE", f"{TASKS}/{gone['id']}", 204)
    await person.call("POST", TASKS, 201, json={"title": "kept"}, headers={"Idempotency-Key": "k"})
    await person.call("POST", "/api/v1/api-keys", 201, json={"name": "script", "scopes": ["tasks:read"]})
    browser = {
        "endpoint": f"https://push.example.org/{person.id}",
        "keys": {"p256dh": "B" * 87, "auth": "A" * 22},
    }
    await person.call("POST", "/api/v1/push-subscriptions", 201, json=browser)
    return task


@pytest.fixture
async def erase(engine: Any, redis_url: str) -> AsyncIterator[EraseAccount]:
    passwords = Argon2Passwords(1)
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        revoked = RedisRevokedSessions(redis, PostgresAccounts(engine), 900)
        yield EraseAccount(PostgresErasures(engine), passwords, revoked, SystemClock().now, lambda: None)
    passwords.close()


async def test_the_document_holds_everything_but_secrets(ada: Any, bob: Any) -> None:
    task = await fill(ada)
    await bob.create("Bob's words")
    answer = await ada.call("GET", f"{ME}/export", 200)
    document = answer.json()
    assert (document["format"], document["version"]) == ("taskstream-export", 1)
    assert document["profile"][0]["email"] == ada.email
    assert [one["title"].split()[0] for one in document["tasks"]] == ["Private", "Deleted", "kept"]
    assert document["reminders"][0]["task_id"] == task["id"]
    assert [line["version"] for line in document["history"] if line["task_id"] == task["id"]] == [1, 2]
    began, paused = document["series_history"]
    assert (began["version"], began["changes"], began["actor"]["id"]) == (1, {}, str(ada.id))
    assert (paused["version"], list(paused["changes"])) == (2, ["paused_at"])
    assert {len(document[name]) for name in ("series", "api_keys", "sessions")} == {1}
    assert document["notification_reads"] == []
    for secret in ("p256dh", "sealed", "Bob's words", "argon2", "password_hash", "tsk_", '"hash"'):
        assert secret not in answer.text
    (channel,) = document["notification_channels"]
    assert channel["address"] == f"https://push.example.org/{ada.id}"
    assert len(document["notification_preferences"]) == 1


def texts(value: Any) -> list[str]:
    """Every text in a document, however deep."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [value] if isinstance(value, str) else []


async def test_every_instant_is_written_with_z_and_every_duration_as_the_api_has_it(ada: Any) -> None:
    task = await fill(ada)
    await ada.call("POST", f"{TASKS}/{task['id']}/reminders", 201, json={"at": "2026-01-07T08:00:00+01:00"})
    await ada.call("POST", f"{TASKS}/{task['id']}/complete", 200)
    document = (await ada.call("GET", f"{ME}/export", 200)).json()
    written = texts(document)
    assert not [text for text in written if text.endswith("+00:00")]
    assert "2026-01-07T07:00:00Z" in written
    instants = [text for text in written if "T" in text and text.endswith("Z") and text[:2] == "20"]
    assert len(instants) > 20
    assert document["reminders"][0]["offset"] == "PT1H"


async def test_an_export_of_nothing_is_a_document_too(ada: Any) -> None:
    document = (await ada.call("GET", f"{ME}/export", 200)).json()
    assert document["tasks"] == document["series"] == []


async def everywhere(engine: Any, *needles: str) -> list[str]:
    """The tables in which one of these texts is found, whatever the column, events of the outbox included."""
    found = []
    async with engine.connect() as connection:
        tables = await connection.execute(
            text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        )
        for (table,) in tables.all():
            for needle in needles:
                hit = await connection.execute(
                    # Bytes, as of an event, are shown in hexadecimal.
                    text(f'SELECT 1 FROM "{table}" AS one WHERE one::text LIKE ANY(:needles) LIMIT 1'),
                    {"needles": [f"%{needle}%", f"%{needle.encode().hex()}%"]},
                )
                if hit.scalar_one_or_none():
                    found.append(table)
    return sorted(set(found))


async def test_an_erased_person_is_nowhere(
    ada: Any, bob: Any, erase: EraseAccount, engine: Any, rows: Any, http: Any
) -> None:
    await rows("DELETE FROM outbox")
    task = await fill(ada)
    kept = await bob.create("Bob's words")
    # The broker refuses all of it, some for good.
    await rows("UPDATE outbox SET next_attempt_at = now() + interval '1 hour', attempts = 3")
    await rows("UPDATE outbox SET parked_at = now(), attempts = 10 WHERE topic = 'task-created'")
    assert (await ada.call("DELETE", ME, 401, json={"password": "wrong password"})).json()
    await ada.call("DELETE", ME, 202, json={"password": PASSWORD})
    # The line of the erasure may be written after the log was blanked, so it never holds the client's address.
    (line,) = await rows(
        "SELECT address FROM audit_log WHERE user_id = :id AND action = 'erasure'", id=ada.id
    )
    assert line == {"address": None}
    # At once: nobody gets in, and the address is free.
    await ada.call("GET", TASKS, 401)
    login = {"email": ada.email, "password": PASSWORD}
    assert (await http.post("/api/v1/auth/login", json=login)).status_code == 401
    assert (await http.post("/api/v1/auth/register", json=login)).status_code == 201
    await rows("DELETE FROM users WHERE email = :email", email=ada.email)

    await erase.work()
    events = await rows(
        "SELECT topic, key, event FROM outbox WHERE convert_from(event, 'UTF8') LIKE '%' || :id || '%'",
        id=str(ada.id),
    )
    # Nothing from before is told any more. The end of one that was deleted before never was, so it is told now.
    assert sorted(row["topic"] for row in events) == ["task-deleted"] * 3 + ["user-deleted"]
    last = max(
        (orjson.loads(row["event"])["data"] for row in events if row["key"] == task["id"]),
        key=lambda data: data["version"],
    )
    assert last["closed_by"] == "erased"
    assert (last["title"], last["description"], last["tags"]) == ("(erased)", None, [])
    assert await everywhere(engine, ada.email, f"rivate words {ada.id}", f"Deleted words {ada.id}") == []
    assert await rows("SELECT 1 FROM outbox WHERE key = :task AND parked_at IS NOT NULL", task=kept["id"])
    await rows("DELETE FROM outbox")
    assert await everywhere(engine, str(ada.id)) == ["audit_log"]
    lines = await rows("SELECT address, detail FROM audit_log WHERE user_id = :id", id=ada.id)
    assert all(line == {"address": None, "detail": {}} for line in lines)
    await bob.call("GET", f"{TASKS}/{kept['id']}", 200)


async def test_a_refused_event_of_a_purged_task_goes_and_those_of_the_erasure_stay(
    ada: Any, erase: EraseAccount, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the tasks and the account, while the broker refuses what the first step told."""
    await rows("DELETE FROM outbox")
    purged, task = await ada.create("Purged words"), await ada.create()
    await rows("DELETE FROM tasks WHERE id = :id", id=purged["id"])
    await rows("DELETE FROM outbox WHERE key = :id", id=task["id"])
    await ada.call("DELETE", ME, 202, json={"password": PASSWORD})
    removed = PostgresErasing.remove_account

    async def dying(*_: Any) -> None:
        raise ConnectionError("killed before its commit")

    monkeypatch.setattr(PostgresErasing, "remove_account", dying)
    with pytest.raises(StorageUnavailable):
        await erase.work()
    await rows("UPDATE outbox SET parked_at = now(), next_attempt_at = now(), attempts = 10")
    monkeypatch.setattr(PostgresErasing, "remove_account", removed)
    await replace(erase).work()
    left = await rows("SELECT topic, key FROM outbox ORDER BY topic")
    assert [(row["topic"], row["key"]) for row in left] == [
        ("task-deleted", task["id"]),
        ("user-deleted", str(ada.id)),
    ]
    await rows("DELETE FROM outbox")


async def test_an_erasure_waits_for_no_relay(ada: Any, erase: EraseAccount, engine: Any, rows: Any) -> None:
    """A relay holds a refused row for as long as the broker takes to answer."""
    task = await ada.create()
    await rows("UPDATE outbox SET next_attempt_at = now() WHERE key = :id", id=task["id"])
    await ada.call("DELETE", ME, 202, json={"password": PASSWORD})
    async with engine.connect() as relay:
        await relay.execute(text("SELECT 1 FROM outbox WHERE key = :id FOR UPDATE"), {"id": task["id"]})
        await asyncio.wait_for(erase.work(), 10)
        await relay.rollback()
    assert await rows("SELECT 1 FROM users WHERE id = :id", id=ada.id) == []
    await rows("DELETE FROM outbox")


async def test_instances_deleted_long_ago_are_told_of_too(ada: Any, erase: EraseAccount, rows: Any) -> None:
    """Recurrence keeps a paused series for as long as it hears of no erased instance."""
    task = await ada.create("Mine", due_at="2027-03-01T09:00:00Z", recurrence={"rrule": "FREQ=WEEKLY"})
    await ada.call("POST", f"{TASKS}/{task['id']}/complete", 200)
    await ada.call("POST", f"/api/v1/series/{task['series_id']}/pause", 200)
    await ada.call("DELETE", f"{TASKS}/{task['id']}", 204)
    await rows("DELETE FROM outbox")
    await ada.call("DELETE", ME, 202, json={"password": PASSWORD})
    await erase.work()
    (told,) = await rows("SELECT topic, event FROM outbox WHERE key = :task", task=task["id"])
    data = orjson.loads(told["event"])["data"]
    assert (told["topic"], data["closed_by"], data["version"]) == ("task-deleted", "erased", 4)


async def test_an_erasure_that_cannot_be_noted_is_not_asked_for(
    ada: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_: Any) -> Any:
        raise ConnectionError("killed before its commit")

    monkeypatch.setattr(erasures, "append_line", lost)
    await ada.call("DELETE", ME, 503, json={"password": PASSWORD})
    await ada.call("GET", ME, 200)
    assert await rows("SELECT id FROM users WHERE id = :id AND disabled_at IS NULL", id=ada.id)


async def test_the_tokens_of_the_erased_stay_worthless_when_redis_forgets_them(
    ada: Any, erase: EraseAccount, redis_url: str
) -> None:
    """Redis is away while the account goes, comes back empty, and is filled from what PostgreSQL kept."""
    await ada.call("DELETE", ME, 202, json={"password": PASSWORD})
    await erase.work()
    claims = jwt.decode(ada.tokens["access_token"], options={"verify_signature": False})
    family = UUID(claims[FAMILY_CLAIM])
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        await redis.delete(family_key(family))
        await erase.revoked.refill()  # type: ignore[attr-defined]
        assert await redis.exists(family_key(family))


async def test_one_that_dies_half_way_is_gone_on_with(
    ada: Any, erase: EraseAccount, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ada.call("POST", f"{TASKS}/bulk", 201, json={"tasks": [{"title": str(n)} for n in range(25)]})
    await ada.call("DELETE", ME, 202, json={"password": PASSWORD})
    monkeypatch.setattr(erase_account, "CHUNK", 10)
    removed, dies_at = PostgresErasing.remove_tasks, 2
    calls = 0

    async def dying(self: PostgresErasing, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        await removed(self, *arguments)
        if calls == dies_at:
            raise ConnectionError("killed before its commit")

    monkeypatch.setattr(PostgresErasing, "remove_tasks", dying)
    with pytest.raises(StorageUnavailable):
        await erase.work()
    (left,) = await rows("SELECT count(*) AS n FROM tasks WHERE user_id = :id", id=ada.id)
    assert left["n"] == 15
    started_again = replace(erase)
    await started_again.work()
    assert await rows("SELECT 1 FROM users WHERE id = :id", id=ada.id) == []
    (told,) = await rows(
        "SELECT count(*) AS n FROM outbox "
        "WHERE topic = 'task-deleted' AND convert_from(event, 'UTF8') LIKE '%' || :id || '%'",
        id=str(ada.id),
    )
    assert told["n"] == 25
    await rows("DELETE FROM outbox")


async def test_an_erasure_that_fails_holds_up_nobody_behind_it(
    ada: Any, bob: Any, erase: EraseAccount, clock: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left alone for a while, tells its error, and comes again; how long it waits is measured."""
    await erase.work()
    erase = replace(erase, now=clock.now)
    for person in (ada, bob):
        await person.create()
        await person.call("DELETE", ME, 202, json={"password": PASSWORD})
        clock.advance(timedelta(seconds=1))
    removed, tries = PostgresErasing.remove_account, []

    async def failing(self: PostgresErasing, user_id: UUID, *arguments: Any) -> None:
        if user_id == ada.id:
            tries.append(user_id)
            raise StorageUnavailable("57014")
        await removed(self, user_id, *arguments)

    monkeypatch.setattr(PostgresErasing, "remove_account", failing)
    with pytest.raises(StorageUnavailable, match="57014"):
        await erase.work()
    left = await rows("SELECT id FROM users WHERE id = ANY(:ids)", ids=[ada.id, bob.id])
    assert [row["id"] for row in left] == [ada.id]
    clock.advance(timedelta(minutes=4))
    await erase.work()
    assert len(tries) == 1, "left alone for now"
    assert REGISTRY.get_sample_value("erasure_oldest_age_seconds") == 242
    monkeypatch.undo()
    clock.advance(timedelta(minutes=1))
    await erase.work()
    assert await rows("SELECT 1 FROM users WHERE id = :id", id=ada.id) == []
    assert REGISTRY.get_sample_value("erasure_oldest_age_seconds") == 0
    await rows("DELETE FROM outbox")
