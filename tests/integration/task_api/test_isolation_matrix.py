"""Every route against everybody who may come: a route that is in no list here fails the test that names it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from service_kit.testing.tokens import SigningKey, make_token

PUBLIC = {
    ("POST", "/api/v1/auth/register"),
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/refresh"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/api/v1/calendar.ics"),
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
}
SESSION = {
    ("POST", "/api/v1/auth/logout"),
    ("GET", "/api/v1/users/me"),
    ("PATCH", "/api/v1/users/me"),
    ("DELETE", "/api/v1/users/me"),
    ("GET", "/api/v1/users/me/export"),
    ("POST", "/api/v1/calendar-token"),
    ("DELETE", "/api/v1/calendar-token"),
    ("GET", "/api/v1/api-keys"),
    ("POST", "/api/v1/api-keys"),
    ("DELETE", "/api/v1/api-keys/{key_id}"),
    ("GET", "/api/v1/users/me/notification-preferences"),
    ("PUT", "/api/v1/users/me/notification-preferences"),
    ("POST", "/api/v1/push-subscriptions"),
    ("DELETE", "/api/v1/push-subscriptions/{subscription_id}"),
}
ADMIN = {
    ("GET", "/api/v1/admin/users"),
    ("GET", "/api/v1/admin/users/{user_id}"),
    ("PATCH", "/api/v1/admin/users/{user_id}"),
    ("GET", "/api/v1/admin/users/{user_id}/tasks"),
    ("GET", "/api/v1/admin/audit"),
}
READ = {
    ("GET", "/api/v1/tasks"),
    ("GET", "/api/v1/tasks/search"),
    ("GET", "/api/v1/tasks/{task_id}"),
    ("GET", "/api/v1/tasks/{task_id}/history"),
    ("GET", "/api/v1/tasks/{task_id}/activity"),
    ("GET", "/api/v1/tags"),
    ("GET", "/api/v1/stats"),
    ("GET", "/api/v1/series/{series_id}"),
    ("GET", "/api/v1/series/{series_id}/history"),
}
WRITE = {
    ("POST", "/api/v1/tasks"),
    ("PATCH", "/api/v1/tasks/{task_id}"),
    ("PUT", "/api/v1/tasks/{task_id}"),
    ("DELETE", "/api/v1/tasks/{task_id}"),
    ("POST", "/api/v1/tasks/{task_id}/complete"),
    ("PATCH", "/api/v1/tasks/{task_id}/complete"),
    ("POST", "/api/v1/tasks/{task_id}/skip"),
    ("POST", "/api/v1/tasks/{task_id}/restore"),
    ("POST", "/api/v1/tasks/{task_id}/reminders"),
    ("DELETE", "/api/v1/tasks/{task_id}/reminders/{reminder_id}"),
    ("POST", "/api/v1/tasks/{task_id}/reminders/{reminder_id}/snooze"),
    ("POST", "/api/v1/tasks/{task_id}/reminders/{reminder_id}/ack"),
    ("POST", "/api/v1/tasks/bulk"),
    ("POST", "/api/v1/tasks/bulk/complete"),
    ("POST", "/api/v1/tasks/bulk/update"),
    ("POST", "/api/v1/tasks/bulk/delete"),
    ("PATCH", "/api/v1/tags/{tag}"),
    ("POST", "/api/v1/import"),
    ("POST", "/api/v1/undo/{token}"),
    ("PATCH", "/api/v1/series/{series_id}"),
    ("DELETE", "/api/v1/series/{series_id}"),
    ("POST", "/api/v1/series/{series_id}/pause"),
    ("POST", "/api/v1/series/{series_id}/resume"),
}
GUARDED = sorted(SESSION | ADMIN | READ | WRITE)
ids = [f"{method} {path}" for method, path in GUARDED]


def test_every_route_has_its_rule(app: Any) -> None:
    served = {
        (method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods
    }
    assert served == PUBLIC | set(GUARDED)


async def ask(http: Any, method: str, path: str, token: str | None) -> Any:
    address = re.sub(r"\{\w+\}", lambda _: str(uuid4()), path)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return await http.request(method, address, headers=headers)


@pytest.mark.parametrize(("method", "path"), GUARDED, ids=ids)
async def test_strangers_stay_outside(
    http: Any, ada: Any, settings: Any, signing_key: SigningKey, method: str, path: str
) -> None:
    expired = make_token(signing_key, ada.id, expires_in=timedelta(seconds=-60))
    foreign = make_token(SigningKey(), ada.id)
    for token in (None, "nonsense", "tsk_nonsense", expired, foreign):
        answer = await ask(http, method, path, token)
        assert answer.status_code == 401, (token, answer.text)
        assert "www-authenticate" in answer.headers


@pytest.mark.parametrize(("method", "path"), GUARDED, ids=ids)
async def test_an_ended_session_is_outside_too(http: Any, register: Any, method: str, path: str) -> None:
    person = await register()
    await person.call("POST", "/api/v1/auth/logout", 204)
    assert (await ask(http, method, path, person.tokens["access_token"])).status_code == 401


@pytest.mark.parametrize(("method", "path"), GUARDED, ids=ids)
async def test_a_key_opens_what_its_scope_says(http: Any, ada: Any, method: str, path: str) -> None:
    for scope, opens in (("tasks:read", READ), ("tasks:write", WRITE)):
        made = await ada.call("POST", "/api/v1/api-keys", 201, json={"name": "k", "scopes": [scope]})
        answer = await ask(http, method, path, made.json()["key"])
        assert (answer.status_code == 403) is ((method, path) not in opens), answer.text


@pytest.mark.parametrize(("method", "path"), sorted(ADMIN))
async def test_only_administrators_administer(http: Any, ada: Any, method: str, path: str) -> None:
    assert (await ask(http, method, path, ada.tokens["access_token"])).status_code == 403
