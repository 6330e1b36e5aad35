"""What notifier does in a person's name, asked twice, and what it may not do."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.integration.task_api.conftest import Person, Rows
from tests.integration.task_api.deliveries import FROM_NOTIFIER

STOP_MAIL = "/internal/v1/actions/stop-mail"
PREFERENCES = "/api/v1/users/me/notification-preferences"
UNTIL = "2026-01-05T10:00:00Z"


async def act(http: httpx.AsyncClient, expect: int = 200, **body: Any) -> dict[str, Any]:
    answer = await http.post("/internal/v1/actions", json=body, headers=FROM_NOTIFIER)
    assert answer.status_code == expect, answer.text
    found: dict[str, Any] = answer.json()
    return found


def of(person: Person, task: dict[str, Any], action: str, **more: Any) -> dict[str, Any]:
    return {"action": action, "user_id": str(person.id), "task_id": task["id"], **more}


async def test_done_by_a_link_is_done_once_and_can_be_taken_back(
    ada: Person, http: httpx.AsyncClient
) -> None:
    task = await ada.create()
    first = await act(http, **of(ada, task, "complete"))
    assert (first["changed"], first["status"], first["version"]) == (True, "completed", 2)
    again = await act(http, **of(ada, task, "complete"))
    assert (again["changed"], again["undo_token"], again["version"]) == (False, None, 2)
    history = (await ada.call("GET", f"/api/v1/tasks/{task['id']}/history", 200)).json()["items"]
    assert {line["actor"]["kind"] for line in history} == {"user"}
    await ada.call("POST", f"/api/v1/undo/{first['undo_token']}", 200)
    assert (await ada.call("GET", f"/api/v1/tasks/{task['id']}", 200)).json()["status"] == "pending"


async def test_a_snooze_by_a_link_twice_is_one(ada: Person, http: httpx.AsyncClient) -> None:
    task = await ada.create(due_at="2026-01-05T12:00:00Z", reminders=[{"offset": "PT1H"}])
    reminder = task["reminders"][0]["id"]
    for changed in (True, False):
        told = await act(http, **of(ada, task, "snooze", reminder_id=reminder, until=UNTIL))
        assert told["changed"] is changed
    now = (await ada.call("GET", f"/api/v1/tasks/{task['id']}", 200)).json()
    assert (now["version"], now["reminders"][0]["snoozed_until"]) == (2, UNTIL)
    for changed in (True, False):
        told = await act(http, **of(ada, task, "acknowledge", reminder_id=reminder))
        assert told["changed"] is changed


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"action": "erase"}, 422),
        ({"action": "snooze"}, 422),
        ({"action": "snooze", "reminder_id": str(uuid4())}, 422),
        ({"action": "complete", "reminder_id": str(uuid4())}, 422),
        ({"action": "acknowledge", "reminder_id": str(uuid4())}, 404),
        ({"task_id": str(uuid4())}, 404),
        ({"user_id": str(uuid4())}, 404),
        ({"colour": "red"}, 422),
    ],
)
async def test_what_cannot_be_done_is_said(
    ada: Person, http: httpx.AsyncClient, more: dict[str, Any], status: int
) -> None:
    task = await ada.create()
    await act(http, status, **{**of(ada, task, "complete"), **more})
    assert (await ada.call("GET", f"/api/v1/tasks/{task['id']}", 200)).json()["version"] == 1


async def test_nobody_acts_on_others_tasks(ada: Person, bob: Person, http: httpx.AsyncClient) -> None:
    task = await ada.create()
    await act(http, 404, **of(bob, task, "complete"))


async def test_whose_account_is_shut_acts_no_more(ada: Person, http: httpx.AsyncClient, rows: Rows) -> None:
    task = await ada.create()
    await rows("UPDATE users SET disabled_at = now() WHERE id = :id RETURNING id", id=ada.id)
    await act(http, 404, **of(ada, task, "complete"))


async def test_mail_ends_by_a_link_and_the_other_channels_stay(ada: Person, http: httpx.AsyncClient) -> None:
    before = await ada.call("GET", PREFERENCES, 200)
    said = before.json()
    assert said["channels"]["email"] is True
    for _ in range(2):
        answer = await http.post(STOP_MAIL, json={"user_id": str(ada.id)}, headers=FROM_NOTIFIER)
        assert answer.status_code == 204
    now = await ada.call("GET", PREFERENCES, 200)
    assert now.json()["channels"] == {**said["channels"], "email": False}
    assert (before.headers["etag"], now.headers["etag"]) == ('"1"', '"2"'), "again changes nothing"


@pytest.mark.parametrize(
    ("body", "status"), [({"user_id": str(uuid4())}, 404), ({}, 422), ({"user_id": "x"}, 422)]
)
async def test_mail_of_nobody_does_not_end(
    http: httpx.AsyncClient, body: dict[str, Any], status: int
) -> None:
    answer = await http.post(STOP_MAIL, json=body, headers=FROM_NOTIFIER)
    assert answer.status_code == status
    others = {**FROM_NOTIFIER, "dapr-caller-app-id": "reminders"}
    assert (await http.post(STOP_MAIL, json=body, headers=others)).status_code == 403
