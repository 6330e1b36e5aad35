"""Recognisable values for all that is secret or personal: found in no log, no metric, no span and no event."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import httpx
from tests.e2e.conftest import Person
from tests.e2e.eventually import eventually
from tests.e2e.test_main_flow import _recorded

from event_contracts.topics import SERVICES
from service_kit.settings import describe_settings
from service_kit.testing.spans import SpanCollector
from stack import Instance

BROWSER = {
    "name": "laptop",
    "endpoint": "https://push.example.org/",
    "keys": {"p256dh": "B" * 87, "auth": "A" * 22},
}


def canary(what: str) -> str:
    """A text that stands nowhere else."""
    return f"canary{what}{secrets.token_hex(8)}"


def _settings_of(system: Instance) -> dict[str, str]:
    """Each secret setting of each service, and the passwords inside of addresses: `service NAME` and its value."""
    found: dict[str, str] = {}
    for service in SERVICES:
        module = import_module(f"{service.replace('-', '_')}.settings")
        (settings,) = (
            one
            for name, one in vars(module).items()
            if name.endswith("Settings")
            and one.__module__ == module.__name__
            and "app_port" in one.model_fields
        )
        given = system.env(service)
        for setting in describe_settings(settings):
            value = given.get(setting.name, "")
            if not setting.secret or not value:
                continue
            if "://" in value:
                value = urlsplit(value).password or ""
            for line in value.replace("\\n", "\n").splitlines():
                if len(line) > 10 and "-----" not in line:
                    found[f"{service} {setting.name}"] = line
    return found


async def _do_everything(system: Instance, person: Person) -> tuple[dict[str, str], dict[str, str]]:
    """Play what handles secrets, well and badly. What must show nowhere, and what must not show in logs and metrics."""
    hidden = {"password": person.password, "access token": person.client.headers["Authorization"].split()[1]}
    personal = {"e-mail address": person.email, "title": canary("title"), "tag": canary("tag")}
    notifier = system.app_url("notifier")

    async def call(
        method: str, path: str, body: Any = None, expect: int = 200, **more: Any
    ) -> httpx.Response:
        answer = await person.client.request(method, path, json=body, **more)
        assert answer.status_code == expect, f"{method} {path}: {answer.text}"
        return answer

    hidden["wrong password"] = canary("wrong")
    await call(
        "POST", "/api/v1/auth/login", {"email": person.email, "password": hidden["wrong password"]}, 401
    )
    session = (
        await call("POST", "/api/v1/auth/login", {"email": person.email, "password": person.password})
    ).json()
    hidden["refresh token"] = session["refresh_token"]
    renewed = (await call("POST", "/api/v1/auth/refresh", {"refresh_token": session["refresh_token"]})).json()
    hidden["renewed refresh token"] = renewed["refresh_token"]
    hidden["made-up refresh token"] = canary("refresh")
    await call("POST", "/api/v1/auth/refresh", {"refresh_token": hidden["made-up refresh token"]}, 401)
    hidden["field of a bad body"], hidden["unknown field"] = canary("field"), canary("unknown")
    bad = {"email": person.email, "password": [hidden["field of a bad body"]], hidden["unknown field"]: 1}
    await call("POST", "/api/v1/auth/register", bad, 422)
    await call("POST", "/api/v1/auth/register", {"email": person.email, "password": person.password}, 409)
    hidden["made-up token"] = canary("token")
    await call(
        "GET", "/api/v1/tasks", expect=401, headers={"Authorization": f"Bearer {hidden['made-up token']}"}
    )

    key = (await call("POST", "/api/v1/api-keys", {"name": "k", "scopes": ["tasks:read"]}, 201)).json()["key"]
    hidden["API key"] = key
    await call("GET", "/api/v1/tasks", headers={"Authorization": f"Bearer {key}"})
    feed = (await call("POST", "/api/v1/calendar-token", expect=201)).json()
    hidden["calendar token"] = re.split(r"token=", str(feed))[-1].split("'")[0]
    await person.client.get("/api/v1/calendar.ics", params={"token": hidden["calendar token"]})

    hidden |= {
        "webhook path": canary("path"),
        "webhook secret": "whsec_" + secrets.token_hex(16),
        "chat password": canary("chat"),
        "push key": "A" + secrets.token_hex(10) + "A",
    }
    preferences = (await call("GET", "/api/v1/users/me/notification-preferences")).json()
    preferences["channels"] |= {
        "webhooks": [
            {
                "name": "hook",
                "url": f"https://127.0.0.1:9/{hidden['webhook path']}",
                "secret": hidden["webhook secret"],
            }
        ],
        "chats": [{"name": "room", "url": f"ntfy://ada:{hidden['chat password']}@127.0.0.1:9/room"}],
    }
    await call("PUT", "/api/v1/users/me/notification-preferences", preferences)

    task = await person.call(
        "POST",
        "/api/v1/tasks",
        {
            "title": personal["title"],
            "tags": [personal["tag"]],
            "reminders": [{"at": (datetime.now(UTC) + timedelta(seconds=1)).isoformat()}],
        },
    )
    await call("GET", "/api/v1/tasks/search", params={"q": personal["title"]})
    undo = (await call("PATCH", f"/api/v1/tasks/{task['id']}", {"priority": "high"})).headers["x-undo-token"]
    hidden["undo token"] = undo
    await call("POST", f"/api/v1/undo/{undo}")
    ticket = await person.client.post(f"{notifier}/api/v1/stream/ticket")
    hidden["stream ticket"] = ticket.json()["ticket"]
    stream = f"{notifier}/api/v1/stream?ticket={hidden['stream ticket']}x"
    await call("GET", stream, expect=401, headers={"Authorization": ""})

    (mail,) = await asyncio.to_thread(system.mail, person.email, wait=30)
    for number, link in enumerate(re.findall(r"/api/v1/actions/(\S+)", mail.text)):
        hidden[f"link {number}"] = link
        await person.client.get(f"{notifier}/api/v1/actions/{link}")
    assert "link 0" in hidden

    async def outcomes() -> set[str]:
        return {
            str(entry.get("channel") or entry.get("details", {}).get("channel"))
            for entry in await person.activity(task["id"])
            if entry["kind"].startswith("notification")
        }

    await eventually(outcomes, lambda seen: len(seen) >= 1, what="the word on a delivery in the activity")
    assert (await person.client.post(f"{notifier}/api/v1/notifications/test")).is_success
    return hidden, personal


async def test_what_is_secret_shows_nowhere(
    system: Instance, register: Callable[[], Awaitable[Person]], collector: SpanCollector
) -> None:
    person = await register()
    began = len(collector.spans())
    hidden, personal = await _do_everything(system, person)
    hidden |= _settings_of(system)
    assert {name.split()[1] for name in hidden if name.startswith("task-api ")} >= {
        "APP_API_TOKEN", "DAPR_API_TOKEN", "DATABASE_URL", "JWT_PRIVATE_KEYS", "ENCRYPTION_KEYS",
    }  # fmt: skip

    async with httpx.AsyncClient() as client:
        metrics = {one: (await client.get(f"{system.app_url(one)}/metrics")).text for one in SERVICES}
    logs = {
        path.name: path.read_text(encoding="utf-8", errors="replace")
        for path in sorted((system.home / "logs").iterdir())
    }
    assert {f"{one}.log" for one in SERVICES} <= logs.keys()
    assert "/api/v1/auth/login" in logs["task-api.log"], "the log is the one that was written to"

    async def last_span() -> bool:
        return any(one.name == "POST /api/v1/notifications/test" for one in collector.spans()[began:])

    await eventually(last_span, what="the span of the last request")
    for texts in (logs, metrics, {"spans": collector.text()}):
        shown = {
            (where, what)
            for where, text in texts.items()
            for what, value in (hidden | personal).items()
            if value in text
        }
        assert not shown
    events = [value.decode() for _, _, value in await _recorded(system.kafka_bootstrap)]
    assert any(personal["title"] in event for event in events), "the events are those of this test"
    away = hidden | {"e-mail address": person.email}
    assert not {what for what, value in away.items() if any(value in event for event in events)}
