"""Administrators and the audit log; and sessions that end with a role."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from tests.integration.task_api.conftest import PASSWORD, Person

ADMIN = "/api/v1/admin"


async def actions(admin: Any, person: Any) -> list[tuple[str, bool]]:
    answer = await admin.call("GET", f"{ADMIN}/audit", 200, params={"user_id": str(person.id)})
    return [(line["action"], line["succeeded"]) for line in answer.json()["items"]]


@pytest.mark.parametrize("path", ["/users", "/audit", "/users/{id}", "/users/{id}/tasks"])
async def test_nobody_else_gets_in(ada: Any, http: Any, path: str) -> None:
    address = ADMIN + path.format(id=ada.id)
    assert (await ada.call("GET", address, 403)).json()["error_code"] == "role_missing"
    assert (await http.get(address)).status_code == 401


async def test_accounts_are_found_and_their_tasks_shown(admin: Any, ada: Any) -> None:
    task = await ada.create()
    found = (await admin.call("GET", f"{ADMIN}/users", 200, params={"email": ada.email[:20].upper()})).json()
    assert [item["id"] for item in found["items"]] == [str(ada.id)]
    assert "password" not in str(found)
    shown = (await admin.call("GET", f"{ADMIN}/users/{ada.id}/tasks", 200)).json()
    assert [item["id"] for item in shown["items"]] == [task["id"]]
    assert ("tasks_read_by_admin", True) in await actions(admin, ada)


async def test_one_account_is_shown_and_an_unknown_one_is_a_404(admin: Any, ada: Any) -> None:
    shown = (await admin.call("GET", f"{ADMIN}/users/{ada.id}", 200)).json()
    assert (shown["id"], shown["email"], shown["role"]) == (str(ada.id), ada.email, "user")
    assert shown["disabled_at"] is None
    unknown = uuid4()
    for path in (f"/users/{unknown}", f"/users/{unknown}/tasks"):
        answer = await admin.call("GET", ADMIN + path, 404)
        assert answer.json()["error_code"] == "account_not_found"
    assert await actions(admin, Person(unknown, "", {}, admin.http)) == []


async def test_accounts_come_page_by_page(admin: Any, register: Any) -> None:
    made = [str((await register()).id) for _ in range(5)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        page = (await admin.call("GET", f"{ADMIN}/users", 200, params={"limit": 2, **cursor})).json()
        seen += [item["id"] for item in page["items"]]
        cursor = {"cursor": page["next_cursor"]}
    assert seen[:5] == made[::-1]


async def test_a_disabled_account_is_shut_at_once(admin: Any, ada: Any, http: Any) -> None:
    key = (
        await ada.call("POST", "/api/v1/api-keys", 201, json={"name": "k", "scopes": ["tasks:read"]})
    ).json()
    changed = await admin.call("PATCH", f"{ADMIN}/users/{ada.id}", 200, json={"disabled": True})
    assert changed.json()["disabled_at"] is not None
    await ada.call("GET", "/api/v1/tasks", 401)
    login = {"email": ada.email, "password": PASSWORD}
    assert (await http.post("/api/v1/auth/login", json=login)).status_code == 401
    refresh = {"refresh_token": ada.tokens["refresh_token"]}
    assert (await http.post("/api/v1/auth/refresh", json=refresh)).status_code == 401
    by_key = await http.get("/api/v1/tasks", headers={"Authorization": f"Bearer {key['key']}"})
    assert by_key.status_code == 401
    await admin.call("PATCH", f"{ADMIN}/users/{ada.id}", 200, json={"disabled": False})
    assert (await http.post("/api/v1/auth/login", json=login)).status_code == 200


async def test_an_account_that_is_being_erased_is_not_enabled_again(
    admin: Any, ada: Any, http: Any, rows: Any
) -> None:
    await ada.call("DELETE", "/api/v1/users/me", 202, json={"password": PASSWORD})
    enable = {"role": "admin", "disabled": False}
    refused = (await admin.call("PATCH", f"{ADMIN}/users/{ada.id}", 409, json=enable)).json()
    assert refused["error_code"] == "account_erased"
    shown = (await admin.call("GET", f"{ADMIN}/users/{ada.id}", 200)).json()
    assert (shown["role"], shown["disabled_at"] is not None) == ("user", True)
    assert ("account_changed_by_admin", True) not in await actions(admin, ada)
    await admin.call("PATCH", f"{ADMIN}/users/{ada.id}", 200, json={"disabled": True})
    # Were it open all the same, no password would be its own: least of all the one that stands in for nobody's.
    await rows("UPDATE users SET disabled_at = NULL WHERE id = :id", id=ada.id)
    (erased,) = await rows("SELECT email FROM users WHERE id = :id", id=ada.id)
    for password in (PASSWORD, "a password that nobody has"):
        login = {"email": erased["email"], "password": password}
        assert (await http.post("/api/v1/auth/login", json=login)).status_code == 401
    await rows("UPDATE users SET disabled_at = now() WHERE id = :id", id=ada.id)


async def test_a_new_role_counts_with_the_next_login(admin: Any, ada: Any, http: Any) -> None:
    await admin.call("PATCH", f"{ADMIN}/users/{ada.id}", 200, json={"role": "admin"})
    await ada.call("GET", "/api/v1/tasks", 401)
    answer = await http.post("/api/v1/auth/login", json={"email": ada.email, "password": PASSWORD})
    again = Person(ada.id, ada.email, answer.json(), http)
    await again.call("GET", f"{ADMIN}/users", 200)
    await admin.call("PATCH", f"{ADMIN}/users/{ada.id}", 422, json={"role": "owner"})
    await admin.call(
        "PATCH", f"{ADMIN}/users/01a1fcb6-0000-7000-8000-000000000000", 404, json={"role": "user"}
    )


async def test_a_change_without_its_line_is_not_made(admin: Any, ada: Any, rows: Any) -> None:
    change = {"role": "admin", "disabled": True}
    # The log takes no line of this account: as if the process had died between the two.
    await rows(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'no line'; END$$"
    )
    await rows(
        "CREATE TRIGGER refuse BEFORE INSERT ON audit_log FOR EACH ROW "
        f"WHEN (NEW.user_id = '{ada.id}') EXECUTE FUNCTION refuse()"
    )
    try:
        await admin.call("PATCH", f"{ADMIN}/users/{ada.id}", 500, json=change)
    finally:
        await rows("DROP TRIGGER refuse ON audit_log")
        await rows("DROP FUNCTION refuse")
    await ada.call("GET", "/api/v1/tasks", 200)
    shown = (await admin.call("GET", f"{ADMIN}/users/{ada.id}", 200)).json()
    assert (shown["role"], shown["disabled_at"]) == ("user", None)
    await admin.call("PATCH", f"{ADMIN}/users/{ada.id}", 200, json=change)
    audit = await admin.call("GET", f"{ADMIN}/audit", 200, params={"user_id": str(ada.id)})
    (line,) = [one for one in audit.json()["items"] if one["action"] == "account_changed_by_admin"]
    assert line["detail"] == {"admin": str(admin.id), **change}
    assert line["address"]
    assert line["request_id"]


async def test_each_step_leaves_its_line(admin: Any, register: Any, http: Any, rows: Any) -> None:
    person = await register()
    await http.post("/api/v1/auth/login", json={"email": person.email, "password": PASSWORD})
    tokens = (
        await http.post("/api/v1/auth/refresh", json={"refresh_token": person.tokens["refresh_token"]})
    ).json()
    await person.call("PATCH", "/api/v1/users/me", 200, json={"first_name": "Ada"})
    made = (
        await person.call("POST", "/api/v1/api-keys", 201, json={"name": "k", "scopes": ["tasks:read"]})
    ).json()
    await person.call("DELETE", f"/api/v1/api-keys/{made['id']}", 204)
    await admin.call("PATCH", f"{ADMIN}/users/{person.id}", 200, json={"role": "user"})
    logged_in = await http.post("/api/v1/auth/login", json={"email": person.email, "password": PASSWORD})
    await Person(person.id, person.email, logged_in.json(), http).call("POST", "/api/v1/auth/logout", 204)
    assert [action for action, _ in reversed(await actions(admin, person))] == [
        "register",
        "login",
        "refresh",
        "profile_changed",
        "api_key_made",
        "api_key_revoked",
        "account_changed_by_admin",
        "login",
        "logout",
    ]
    before = await rows("SELECT count(*) AS n FROM audit_log WHERE NOT succeeded")
    await http.post("/api/v1/auth/login", json={"email": person.email, "password": "wrong password"})
    await http.post("/api/v1/auth/refresh", json={"refresh_token": person.tokens["refresh_token"]})
    await http.post("/api/v1/auth/register", json={"email": person.email, "password": PASSWORD})
    after = await rows("SELECT count(*) AS n FROM audit_log WHERE NOT succeeded")
    assert after[0]["n"] - before[0]["n"] == 3
    await http.get("/api/v1/tasks", headers={"Authorization": "Bearer tsk_made_up"})
    (refused,) = await rows("SELECT action, succeeded FROM audit_log ORDER BY at DESC, id DESC LIMIT 1")
    assert refused == {"action": "api_key", "succeeded": False}
    kept = str(await rows("SELECT * FROM audit_log"))
    for secret in (PASSWORD, "wrong password", tokens["refresh_token"], tokens["access_token"], made["key"]):
        assert secret not in kept


async def test_whose_account_was_tried_is_in_the_log_and_in_no_answer(
    admin: Any, register: Any, http: Any
) -> None:
    person = await register()
    token = person.tokens["refresh_token"]
    known = await http.post("/api/v1/auth/login", json={"email": person.email, "password": "wrong password"})
    unknown = await http.post(
        "/api/v1/auth/login", json={"email": "nobody@x.org", "password": "wrong password"}
    )
    varying = {"timestamp", "request_id"}
    assert {k: v for k, v in known.json().items() if k not in varying} == {
        k: v for k, v in unknown.json().items() if k not in varying
    }
    await http.post("/api/v1/auth/refresh", json={"refresh_token": token})
    stolen = await http.post("/api/v1/auth/refresh", json={"refresh_token": token})
    assert (stolen.status_code, stolen.json()["error_code"]) == (401, "invalid_refresh_token")
    assert await actions(admin, person) == [
        ("refresh_token_reused", False),
        ("refresh", True),
        ("login", False),
        ("register", True),
    ]


async def test_the_log_is_searched_by_time_and_outcome(admin: Any, register: Any, http: Any) -> None:
    person = await register()
    await http.post("/api/v1/auth/login", json={"email": person.email, "password": "wrong password"})
    mine = {"user_id": str(person.id)}

    async def found(**wanted: str) -> list[str]:
        page = await admin.call("GET", f"{ADMIN}/audit", 200, params=mine | wanted)
        return [line["action"] for line in page.json()["items"]]

    lines = (await admin.call("GET", f"{ADMIN}/audit", 200, params=mine)).json()["items"]
    assert [line["action"] for line in lines] == ["login", "register"]
    assert await found(since=lines[0]["at"]) == ["login"]
    assert await found(until=lines[0]["at"]) == ["register"]
    assert await found(succeeded="false") == ["login"]
    assert await found(succeeded="true", action="login") == []
    await admin.call("GET", f"{ADMIN}/audit", 422, params={"since": "yesterday"})
