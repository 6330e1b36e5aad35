"""API keys: shown once, good for their scopes, gone when they are revoked."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest
from tests.integration.task_api.test_metrics import moves

from service_kit.testing.fakes import ManualClock
from task_api.adapters.postgres.api_keys import PostgresApiKeys
from task_api.adapters.postgres.audit_log import PostgresAudit
from task_api.application.api_keys import ApiKeys
from task_api.application.audit import Audit, Origin

KEYS = "/api/v1/api-keys"
TASKS = "/api/v1/tasks"
EVENTS = "SELECT event FROM outbox WHERE key = :key"


async def make(person: Any, *scopes: str, **more: Any) -> dict[str, Any]:
    body = {"name": "script", "scopes": scopes or ["tasks:read"], **more}
    made: dict[str, Any] = (await person.call("POST", KEYS, 201, json=body)).json()
    return made


async def ask(http: Any, key: str, method: str, path: str, **more: Any) -> int:
    answer = await http.request(method, path, headers={"Authorization": f"Bearer {key}"}, **more)
    return int(answer.status_code)


async def done(http: Any, key: str, method: str, path: str, **more: Any) -> Any:
    answer = await http.request(method, path, headers={"Authorization": f"Bearer {key}"}, **more)
    assert answer.is_success, answer.text
    return answer


async def actors(person: Any, path: str) -> list[dict[str, str]]:
    """Who did it, version by version."""
    history = (await person.call("GET", f"{path}/history", 200)).json()["items"]
    return [line["actor"] for line in history]


async def test_a_key_is_shown_once_and_kept_as_a_hash(ada: Any, rows: Any) -> None:
    made = await make(ada, "tasks:read", "tasks:write")
    assert made["key"].startswith("tsk_")
    listed = (await ada.call("GET", KEYS, 200)).json()["items"]
    assert [item["id"] for item in listed] == [made["id"]]
    assert "key" not in listed[0]
    stored = await rows("SELECT * FROM api_keys WHERE id = :id", id=made["id"])
    assert made["key"] not in repr(stored)


async def test_a_key_does_what_its_scopes_say(ada: Any, http: Any) -> None:
    reading, writing = (await make(ada, "tasks:read"))["key"], (await make(ada, "tasks:write"))["key"]
    task = await ada.create()
    assert await ask(http, reading, "GET", f"{TASKS}/{task['id']}") == 200
    assert await ask(http, reading, "POST", TASKS, json={"title": "x"}) == 403
    assert await ask(http, writing, "POST", TASKS, json={"title": "x"}) == 201
    assert await ask(http, writing, "GET", TASKS) == 403


async def test_history_tells_a_key_from_its_owner(ada: Any, http: Any, rows: Any) -> None:
    made = await make(ada, "tasks:write")
    key = {"kind": "api_key", "id": made["id"]}
    owner = {"kind": "user", "id": str(ada.id)}
    with moves("tasks_created_total", 1, source="api_key"), moves("tasks_created_total", 0, source="user"):
        body = {"title": "Call", "due_date": "2026-01-06", "recurrence": {"rrule": "FREQ=DAILY"}}
        task = (await done(http, made["key"], "POST", TASKS, json=body)).json()
    one, series = f"{TASKS}/{task['id']}", f"/api/v1/series/{task['series_id']}"
    await ada.call("PATCH", one, 200, json={"title": "Call Bob"})
    await done(http, made["key"], "PATCH", one, json={"title": "Call Eve"})
    bulk = {"ids": [task["id"]], "changes": {"priority": "high"}}
    await done(http, made["key"], "POST", f"{TASKS}/bulk/update", json=bulk)
    await done(http, made["key"], "PATCH", series, json={"overdue": "catch_up"})
    await ada.call("POST", f"{series}/pause", 200)
    assert await actors(ada, one) == [key, owner, key, key]
    assert await actors(ada, series) == [key, key, owner]
    activity = (await ada.call("GET", f"{one}/activity", 200)).json()["items"]
    assert [line["detail"]["actor"] for line in activity] == ["api_key", "user", "api_key", "api_key"]
    for told, expected in ((task["id"], [key, owner, key, key]), (task["series_id"], [key, key, owner])):
        events = [orjson.loads(row["event"])["data"] for row in await rows(EVENTS, key=told)]
        events.sort(key=lambda data: data["version"])
        assert [data["actor"] for data in events] == expected


async def test_a_key_and_its_owner_undo_each_others_changes(ada: Any, http: Any) -> None:
    made = await make(ada, "tasks:write")
    one = f"{TASKS}/{(await ada.create())['id']}"
    by_key = await done(http, made["key"], "PATCH", one, json={"title": "a"})
    await ada.call("POST", f"/api/v1/undo/{by_key.headers['x-undo-token']}", 200)
    by_owner = await ada.call("PATCH", one, 200, json={"title": "b"})
    undone = await done(http, made["key"], "POST", f"/api/v1/undo/{by_owner.headers['x-undo-token']}")
    assert undone.json()["items"][0]["title"] == "Water the plants"
    kinds = [actor["kind"] for actor in await actors(ada, one)]
    assert kinds == ["user", "api_key", "user", "user", "api_key"]


async def test_what_a_key_has_touched_is_not_taken_away(ada: Any, http: Any, follow: Any) -> None:
    """An occurrence that a key changed is somebody's, as one that a person changed: it is not only the series'."""
    made = await make(ada, "tasks:write")
    task = await ada.create(due_date="2026-01-06", recurrence={"rrule": "FREQ=DAILY"})
    await ada.call("POST", f"{TASKS}/{task['id']}/complete", 200)
    successor = await follow(task)
    await done(http, made["key"], "PATCH", f"{TASKS}/{successor['id']}", json={"title": "Other"})
    reopen = {"json": {"completed": False}}
    refused = await ada.call("POST", f"{TASKS}/{task['id']}/complete", 409, **reopen)
    assert refused.json()["error_code"] == "successor_touched"


async def test_a_key_is_its_owners_alone(ada: Any, bob: Any, http: Any) -> None:
    made = await make(ada, "tasks:read", "tasks:write")
    one = f"{TASKS}/{(await bob.create())['id']}"
    assert await ask(http, made["key"], "GET", one) == 404
    assert await ask(http, made["key"], "PATCH", one, json={"title": "x"}) == 404
    assert [actor["id"] for actor in await actors(bob, one)] == [str(bob.id)]


@pytest.mark.parametrize("path", ["/api/v1/users/me", KEYS, "/api/v1/admin/users"])
async def test_a_key_reaches_no_account(ada: Any, http: Any, path: str) -> None:
    key = (await make(ada, "tasks:read", "tasks:write"))["key"]
    assert await ask(http, key, "GET", path) == 403


async def test_a_revoked_key_is_refused_at_once(ada: Any, bob: Any, http: Any) -> None:
    made = await make(ada)
    assert await ask(http, made["key"], "GET", TASKS) == 200
    await bob.call("DELETE", f"{KEYS}/{made['id']}", 404)
    await ada.call("DELETE", f"{KEYS}/{made['id']}", 204)
    assert await ask(http, made["key"], "GET", TASKS) == 401
    await ada.call("DELETE", f"{KEYS}/{made['id']}", 404)


async def test_made_up_and_expired_keys(ada: Any, http: Any, rows: Any) -> None:
    for key in ("tsk_", "tsk_" + "A" * 43, "tsk_\u00e4".encode("latin-1").decode("ascii", "ignore")):
        assert await ask(http, key, "GET", TASKS) == 401
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    made = await make(ada, expires_at=soon)
    await rows("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = :id", id=made["id"])
    assert await ask(http, made["key"], "GET", TASKS) == 401


async def test_its_use_is_noted_once_a_minute(ada: Any, http: Any) -> None:
    made = await make(ada)
    await ask(http, made["key"], "GET", TASKS)
    (listed,) = (await ada.call("GET", KEYS, 200)).json()["items"]
    first = listed["last_used_at"]
    assert first is not None
    await ask(http, made["key"], "GET", TASKS)
    (listed,) = (await ada.call("GET", KEYS, 200)).json()["items"]
    assert listed["last_used_at"] == first


async def test_its_first_use_of_a_day_is_in_the_audit_log(ada: Any, engine: Any, rows: Any) -> None:
    made = await make(ada)
    day = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    times = [day, day, day + timedelta(minutes=20), day + timedelta(minutes=40), day + timedelta(hours=20)]
    clock = ManualClock(day)
    audit = Audit(PostgresAudit(engine), clock.now)
    keys = ApiKeys(PostgresApiKeys(engine), clock.now, audit)
    for moment in times:
        clock.instant = moment
        # Replicas that ask at the same moment.
        found = await asyncio.gather(
            *(keys.find(made["key"], Origin("192.0.2.7", f"r{n}")) for n in range(5))
        )
        assert {str(key.id) for key in found if key is not None} == {made["id"]}
    lines = await rows(
        "SELECT at, address, succeeded, detail FROM audit_log "
        "WHERE user_id = :id AND action = 'api_key' ORDER BY at",
        id=ada.id,
    )
    assert [line["at"] for line in lines] == [times[0], times[3]]
    assert [(line["address"], line["succeeded"]) for line in lines] == [("192.0.2.7", True)] * 2
    assert lines[0]["detail"] == {"key": made["id"]}


async def test_a_use_is_counted_with_its_line(ada: Any, http: Any) -> None:
    made = await make(ada)
    with moves("account_actions_total", 1, action="api_key", outcome="succeeded"):
        for _ in range(3):
            assert await ask(http, made["key"], "GET", TASKS) == 200


async def test_at_most_fifty(ada: Any) -> None:
    for _ in range(50):
        await make(ada)
    refused = await ada.call("POST", KEYS, 409, json={"name": "x", "scopes": ["tasks:read"]})
    assert refused.json()["error_code"] == "too_many_api_keys"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["admin"]}, "scopes.0"),
        ({"name": " ", "scopes": ["tasks:read"]}, "name"),
        ({"name": "x", "scopes": ["tasks:read"], "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "scopes": ["tasks:read"], "user_id": str(uuid4())}, "user_id"),
    ],
)
async def test_a_bad_body_names_the_field(ada: Any, body: Any, field: str) -> None:
    answer = await ada.call("POST", KEYS, 422, json=body)
    assert answer.json()["errors"][0]["field"] == field
