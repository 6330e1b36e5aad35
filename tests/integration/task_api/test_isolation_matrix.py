"""Every route against everybody who may come: a route that is in no list here fails the test that names it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from fastapi.routing import iter_route_contexts
from tests.integration.task_api.test_isolation import ROUTES
from tests.integration.task_api.test_preferences import BROWSER

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
NOT_SHOWN = {
    ("GET", "/metrics"),
    ("GET", "/health/deliveries"),
    *((method, path) for method in ("GET", "HEAD") for path in ("/openapi.json", "/docs", "/redoc")),
    *((method, "/docs/oauth2-redirect") for method in ("GET", "HEAD")),
}
"""In no document, and open to who reaches the port: no ingress leads there."""
SIDECAR = {
    ("GET", "/dapr/config"),
    ("GET", "/dapr/subscribe"),
    ("OPTIONS", "/subscribed"),
    ("POST", "/subscribed"),
    ("POST", "/events/notification-delivered"),
    ("POST", "/events/notification-read"),
    ("POST", "/events/recurring-task-generated"),
    ("POST", "/events/reminder-due"),
    ("POST", "/events/reminder-scheduled"),
    ("DELETE", "/internal/v1/push-subscriptions/{push_id}"),
    ("GET", "/internal/v1/epoch"),
    ("GET", "/internal/v1/series/{series_id}"),
    ("GET", "/internal/v1/snapshot"),
    ("GET", "/internal/v1/tasks/{task_id}"),
    ("GET", "/internal/v1/users/{user_id}/contact"),
    ("POST", "/internal/v1/actions"),
    ("POST", "/internal/v1/actions/stop-mail"),
    ("POST", "/internal/v1/tasks"),
}
"""For the own sidecar, or siblings through it."""
GUARDED = sorted(SESSION | ADMIN | READ | WRITE)
ids = [f"{method} {path}" for method, path in GUARDED]


def test_every_route_has_its_rule(app: Any) -> None:
    # All there are, those that no document shows too. What has no methods would take any.
    served = {
        (method, getattr(route, "path_format", None) or route.path)
        for route in iter_route_contexts(app.routes)
        for method in getattr(route, "methods", None) or {"ANY"}
    }
    assert served == PUBLIC | NOT_SHOWN | SIDECAR | set(GUARDED)


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


@pytest.mark.parametrize(("method", "path"), sorted(SIDECAR))
async def test_no_person_is_a_sidecar(http: Any, ada: Any, admin: Any, method: str, path: str) -> None:
    for token in (None, ada.tokens["access_token"], admin.tokens["access_token"]):
        assert (await ask(http, method, path, token)).status_code == 403


MARK = "marigold"
"""A word that only ada's own things have."""
BODIES = {(method, f"/api/v1/tasks/{{task_id}}{path}"): body for method, path, body in ROUTES} | {
    ("POST", "/api/v1/tasks/{task_id}/reminders/{reminder_id}/snooze"): {"minutes": 5},
    ("PATCH", "/api/v1/series/{series_id}"): {"overdue": "catch_up"},
    ("PATCH", "/api/v1/tags/{tag}"): {"name": "theirs"},
}
NAMED = sorted((method, path) for method, path in SESSION | READ | WRITE if "{" in path)
OF_THE_CALLER = sorted(path for method, path in SESSION | READ if method == "GET" and "{" not in path)
NOT_AN_ID = {("PATCH", "/api/v1/tags/{tag}")}
"""A tag is a word: everybody has their own of it."""


async def things_of(person: Any) -> dict[str, str]:
    """One of everything that a path can name, by the parameter's name."""
    made = await person.call(
        "POST",
        "/api/v1/tasks",
        201,
        json={
            "title": f"Water the {MARK}",
            "due_at": "2026-01-06T10:00:00Z",
            "tags": [MARK],
            "reminders": [{"offset": "PT30M"}],
            "recurrence": {"rrule": "FREQ=DAILY"},
        },
    )
    task = made.json()
    key = await person.call("POST", "/api/v1/api-keys", 201, json={"name": MARK, "scopes": ["tasks:read"]})
    browser = await person.call("POST", "/api/v1/push-subscriptions", 201, json=BROWSER | {"name": MARK})
    return {
        "task_id": task["id"],
        "reminder_id": task["reminders"][0]["id"],
        "series_id": task["series_id"],
        "key_id": key.json()["id"],
        "subscription_id": browser.json()["id"],
        "token": made.headers["x-undo-token"],
        "tag": MARK,
    }


async def all_of(person: Any, things: dict[str, str]) -> list[Any]:
    """Everything of the person, as it stands."""
    paths = (
        f"/api/v1/tasks/{things['task_id']}",
        f"/api/v1/series/{things['series_id']}",
        "/api/v1/tags",
        "/api/v1/api-keys",
        "/api/v1/users/me/notification-preferences",
    )
    return [(await person.call("GET", path, 200)).json() for path in paths]


@pytest.mark.parametrize(("method", "path"), NAMED, ids=[f"{method} {path}" for method, path in NAMED])
async def test_what_is_anothers_is_not_there(ada: Any, bob: Any, admin: Any, method: str, path: str) -> None:
    things = await things_of(ada)
    before = await all_of(ada, things)
    for stranger in (bob, admin):
        answer = await stranger.call(method, path.format(**things), json=BODIES.get((method, path)))
        assert answer.status_code == (200 if (method, path) in NOT_AN_ID else 404), answer.text
        # What the stranger named may be told back, and nothing else.
        assert MARK not in answer.text
    assert await all_of(ada, things) == before


@pytest.mark.parametrize("path", OF_THE_CALLER)
async def test_what_names_nobody_shows_the_callers(ada: Any, bob: Any, admin: Any, path: str) -> None:
    await things_of(ada)
    query = {"q": MARK} if path.endswith("/search") else None
    own = await ada.call("GET", path, 200, params=query)
    for stranger in (bob, admin):
        answer = await stranger.call("GET", path, 200, params=query)
        assert answer.json() != own.json()
        assert not [trace for trace in (MARK, str(ada.id), ada.email) if trace in answer.text]


@pytest.mark.parametrize(("method", "path"), sorted(ADMIN))
async def test_administrators_do_administer(ada: Any, admin: Any, http: Any, method: str, path: str) -> None:
    body = {"disabled": False} if method == "PATCH" else None
    await admin.call(method, path.format(user_id=ada.id), 200, json=body)
