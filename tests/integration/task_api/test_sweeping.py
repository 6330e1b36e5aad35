"""What has had its time is swept out, and ended sessions are mirrored again after a wipe."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis

from service_kit.auth import Principal
from service_kit.problems import Problem
from service_kit.revocations import MIRROR_KEY, Revocations, family_key
from task_api.adapters.postgres.accounts import PostgresAccounts
from task_api.adapters.postgres.housekeeping import Housekeeping
from task_api.adapters.redis_sessions import RedisRevokedSessions

TASKS = "/api/v1/tasks"


@pytest.fixture
def housekeeping(engine: Any, clock: Any) -> Housekeeping:
    return Housekeeping(engine, clock.now, deleted_tasks=timedelta(days=90), audit_lines=timedelta(days=90))


async def test_a_deleted_task_is_gone_after_ninety_days(
    ada: Any, housekeeping: Housekeeping, clock: Any, rows: Any
) -> None:
    task, kept = await ada.create(reminders=[{"at": "2026-01-06T10:00:00Z"}]), await ada.create()
    await ada.call("DELETE", f"{TASKS}/{task['id']}", 204)
    clock.advance(timedelta(days=89, hours=23))
    await housekeeping.sweep()
    assert len((await ada.call("GET", f"{TASKS}?deleted=true", 200)).json()["items"]) == 1
    clock.advance(timedelta(hours=2))
    await housekeeping.sweep()
    assert (await ada.call("GET", f"{TASKS}?deleted=true", 200)).json()["items"] == []
    await ada.call("POST", f"{TASKS}/{task['id']}/restore", 404)
    await ada.call("GET", f"{TASKS}/{kept['id']}", 200)
    for table in ("task_history", "task_activity", "task_reminders"):
        assert await rows(f"SELECT 1 FROM {table} WHERE task_id = :id", id=task["id"]) == []


async def test_an_instance_of_a_series_leaves_its_emptied_row(
    ada: Any, housekeeping: Housekeeping, clock: Any, rows: Any, follow: Any
) -> None:
    first = await ada.create("Secret title", due_date="2026-01-06", recurrence={"rrule": "FREQ=DAILY"})
    deleted = await ada.call("DELETE", f"{TASKS}/{first['id']}", 204)
    second = await follow(first)
    clock.advance(timedelta(days=91))
    await housekeeping.sweep()
    (row,) = await rows(
        "SELECT title, occurrence_key, closed_version FROM tasks WHERE id = :id", id=first["id"]
    )
    assert row == {"title": "(purged)", "occurrence_key": "2026-01-06", "closed_version": 2}
    assert (await ada.call("GET", f"{TASKS}?deleted=true", 200)).json()["items"] == []
    await ada.call("POST", f"{TASKS}/{first['id']}/restore", 404)
    await ada.call("POST", f"/api/v1/undo/{deleted.headers['x-undo-token']}", 404)
    assert (await ada.call("GET", f"{TASKS}/{second['id']}", 200)).json()["title"] == "Secret title"


async def test_an_emptied_successor_that_is_revived_is_a_task_like_any_other(
    ada: Any, housekeeping: Housekeeping, clock: Any, follow: Any
) -> None:
    first = await ada.create("Pay the rent", due_date="2026-01-06", recurrence={"rrule": "FREQ=DAILY"})
    complete = f"{TASKS}/{first['id']}/complete"
    await ada.call("POST", complete, 200)
    withdrawn = await follow(first)
    await ada.call("POST", complete, 200, json={"completed": False})
    clock.advance(timedelta(days=91))
    await housekeeping.sweep()
    await ada.call("POST", complete, 200)
    revived = await follow(first)
    assert (revived["id"], revived["title"]) == (withdrawn["id"], "Pay the rent")
    await ada.call("POST", f"{TASKS}/{revived['id']}/complete", 200)


async def test_what_a_resting_series_goes_on_from_is_not_emptied(
    ada: Any, housekeeping: Housekeeping, clock: Any, follow: Any, rows: Any
) -> None:
    first = await ada.create("Mow the lawn", due_date="2026-01-06", recurrence={"rrule": "FREQ=DAILY"})
    series = f"/api/v1/series/{first['series_id']}"
    await ada.call("POST", f"{series}/pause", 200)
    await ada.call("DELETE", f"{TASKS}/{first['id']}", 204)
    clock.advance(timedelta(days=91))
    await housekeeping.sweep()
    await ada.call("POST", f"{series}/resume", 200)
    await housekeeping.sweep()
    assert (await follow(first))["title"] == "Mow the lawn"
    # Now it has a successor, and has had its time.
    await housekeeping.sweep()
    (row,) = await rows("SELECT title FROM tasks WHERE id = :id", id=first["id"])
    assert row["title"] == "(purged)"


async def test_kept_answers_go_after_a_day(
    ada: Any, housekeeping: Housekeeping, clock: Any, rows: Any
) -> None:
    await ada.call("POST", TASKS, 201, json={"title": "x"}, headers={"Idempotency-Key": "k"})
    clock.advance(timedelta(hours=23))
    await housekeeping.sweep()
    assert len(await rows("SELECT 1 FROM idempotency_keys WHERE user_id = :id", id=ada.id)) == 1
    clock.advance(timedelta(hours=2))
    await housekeeping.sweep()
    assert await rows("SELECT 1 FROM idempotency_keys WHERE user_id = :id", id=ada.id) == []


async def logged_out(person: Any, rows: Any) -> tuple[Principal, Principal]:
    """Who held a token of the session that was ended, and who holds one of another."""
    (family,) = await rows("SELECT id FROM session_families WHERE user_id = :id", id=person.id)
    await person.call("POST", "/api/v1/auth/logout", 204)
    ended, another = (
        Principal(person.id, frozenset(), id_, "t") for id_ in (UUID(str(family["id"])), UUID(int=7))
    )
    return ended, another


async def test_a_wipe_while_the_last_minute_is_looked_up_is_no_complete_mirror(
    ada: Any, engine: Any, redis_url: str, rows: Any
) -> None:
    """What is written then are a few of many: they must not say that there are no others."""
    ended, another = await logged_out(ada, rows)
    assert ended.family_id is not None
    lost = family_key(ended.family_id)
    async with Redis.from_url(redis_url, decode_responses=True) as redis:

        class Wiped(PostgresAccounts):
            wipes = False

            async def revoked_since(self, since: datetime) -> Sequence[UUID]:
                if not self.wipes:
                    return await super().revoked_since(since)
                await redis.delete(MIRROR_KEY, lost)
                return [UUID(int=8)]

        store, siblings = Wiped(engine), Revocations(redis)
        mine = RedisRevokedSessions(redis, store, 900)
        await mine.refill()
        store.wipes = True
        await mine.refill()
        store.wipes = False
        for principal in (ended, another):
            with pytest.raises(Problem) as refused:
                await siblings.is_revoked(principal)
            assert refused.value.status == 503
        await mine.refill()
        assert await siblings.is_revoked(ended)
        assert not await siblings.is_revoked(another)


async def test_ended_sessions_are_known_again_after_a_wipe(
    ada: Any, engine: Any, redis_url: str, rows: Any
) -> None:
    principal, other = await logged_out(ada, rows)
    assert principal.family_id is not None
    ended = family_key(principal.family_id)
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        siblings = Revocations(redis)
        mine = RedisRevokedSessions(redis, PostgresAccounts(engine), 900)
        await mine.refill()
        assert await siblings.is_revoked(principal)
        assert not await siblings.is_revoked(other)

        await redis.delete(MIRROR_KEY, ended)  # all that a wipe takes of it
        with pytest.raises(Problem) as refused:
            await siblings.is_revoked(other)
        assert refused.value.status == 503
        assert await mine.is_revoked(principal), "the service that keeps the sessions asks its database"
        await mine.refill()
        assert await siblings.is_revoked(principal)
        assert not await siblings.is_revoked(other)

        # Redis did not answer for a moment, and is the same as before.
        late = UUID(int=9)
        down = RedisRevokedSessions(Redis(host="127.0.0.1", port=1), PostgresAccounts(engine), 900)
        await down.add(late)
        await rows(
            "INSERT INTO session_families (id, user_id, created_at, expires_at, revoked_at) "
            "VALUES (:id, :user, now(), now(), now())",
            id=late,
            user=ada.id,
        )
        down._mirror = mine._mirror
        await down.refill()
        assert await siblings.is_revoked(Principal(ada.id, frozenset(), late, "t"))

        # A Redis that was begun anew has another run id: what it forgot is filled in.
        await redis.set(MIRROR_KEY, "another run")
        await redis.delete(ended)
        await mine.refill()
        assert await siblings.is_revoked(principal)
