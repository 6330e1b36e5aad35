"""How often a call goes to the database and back: the create path is short on purpose, and nothing grows in a loop."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.task_api.conftest import PASSWORD

FULL = {
    "title": "Water the plants",
    "due_at": "2026-01-06T10:00:00Z",
    "reminders": [{"offset": f"PT{minutes}M"} for minutes in range(10)],
    "recurrence": {"rrule": "FREQ=DAILY"},
}

# Statements and COMMIT; BEGIN travels besides where there is a COMMIT. Who creates has created before.
CALLS = [
    ("POST", "/api/v1/tasks", {"title": "Water the plants"}, 1),
    ("POST", "/api/v1/tasks", FULL, 1),
    ("GET", "/api/v1/tasks", None, 1),
    ("GET", "{task}", None, 1),
    ("GET", "{task}/activity", None, 1),
    ("GET", "{task}/history", None, 1),
    ("GET", "/api/v1/series/{series}/history", None, 1),
    # Read, write.
    ("PATCH", "{task}", {"title": "x"}, 2),
    ("PATCH", "{task}", {"reminders": [{"offset": f"PT{hours}H"} for hours in range(1, 11)]}, 2),
    # Of what is so already nothing is written.
    ("PATCH", "{task}", {"reminders": FULL["reminders"]}, 1),
    # Lock, read beside, the series' rule, write, COMMIT.
    ("PATCH", "{task}", {"due_at": "2026-01-07T10:00:00Z"}, 5),
    # Read; then lock the series, lock, read beside, write, COMMIT; then the successor.
    ("POST", "{task}/complete", None, 7),
    ("POST", "{task}/skip", None, 6),
    ("DELETE", "{task}", None, 6),
]
ALONE = [
    ("POST", "{task}/complete", None, 2),
    ("DELETE", "{task}", None, 2),
    ("PATCH", "{task}", {"tags": ["home"]}, 2),
]


@pytest.mark.parametrize(
    ("task", "method", "path", "body", "budget"),
    [
        *((FULL, *call) for call in CALLS),
        *(({"title": "x", "due_at": FULL["due_at"]}, *call) for call in ALONE),
    ],
)
async def test_budget(
    ada: Any, statements: Any, task: dict[str, Any], method: str, path: str, body: Any, budget: int
) -> None:
    task = (await ada.call("POST", "/api/v1/tasks", 201, json=task)).json()
    with statements() as sent:
        answer = await ada.call(
            method, path.format(task=f"/api/v1/tasks/{task['id']}", series=task.get("series_id")), json=body
        )
    assert answer.is_success
    assert len(sent) == budget, sent


async def test_who_comes_in_is_noted_on_the_same_way(ada: Any, statements: Any) -> None:
    """A login reads the account and opens the session, a refresh is one statement; their lines travel along."""
    login = ("login", {"email": ada.email, "password": PASSWORD}, 2)
    refresh = ("refresh", {"refresh_token": ada.tokens["refresh_token"]}, 1)
    for action, body, budget in (login, refresh):
        with statements() as sent:
            await ada.call("POST", f"/api/v1/auth/{action}", 200, json=body)
        assert len(sent) == budget, sent
