"""What is done to an account and its line in the audit log: both, or neither."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from tests.integration.task_api.conftest import PASSWORD, Person, Rows
from tests.integration.task_api.deliveries import FROM_NOTIFIER
from tests.integration.task_api.test_metrics import moves
from tests.integration.task_api.test_preferences import BROWSER, PREFERENCES, PUSH, wanted

AUTH = "/api/v1/auth"
KEYS = "/api/v1/api-keys"
CALENDAR = "/api/v1/calendar-token"
INTERNAL = "/internal/v1"
GONE = f"{INTERNAL}/push-subscriptions"
STOP_MAIL = f"{INTERNAL}/actions/stop-mail"
KEPT_IN = (
    "users",
    "session_families",
    "refresh_tokens",
    "api_keys",
    "calendar_tokens",
    "notification_preferences",
    "notification_channels",
)

# The action: the table that it changes; how it is asked for, {} being of Prepared.known; how it is answered.
ACTIONS: dict[str, tuple[str, str, str, dict[str, Any] | None, int]] = {
    "register": ("users", "POST", f"{AUTH}/register", {"email": "{new}", "password": PASSWORD}, 201),
    "login": ("session_families", "POST", f"{AUTH}/login", {"email": "{email}", "password": PASSWORD}, 200),
    "refresh": ("refresh_tokens", "POST", f"{AUTH}/refresh", {"refresh_token": "{unused}"}, 200),
    "refresh_token_reused": (
        "session_families",
        "POST",
        f"{AUTH}/refresh",
        {"refresh_token": "{used}"},
        401,
    ),
    "logout": ("session_families", "POST", f"{AUTH}/logout", None, 204),
    "profile_changed": ("users", "PATCH", "/api/v1/users/me", {"first_name": "Ada"}, 200),
    "notification_preferences_changed": (
        "notification_preferences",
        "PUT",
        PREFERENCES,
        wanted(email=False, push=[]),
        200,
    ),
    "push_subscribed": (
        "notification_channels",
        "POST",
        PUSH,
        BROWSER | {"endpoint": "https://push.example.org/another"},
        201,
    ),
    "push_unsubscribed": ("notification_channels", "DELETE", f"{PUSH}/{{browser}}", None, 204),
    "push_gone": ("notification_channels", "DELETE", f"{GONE}/{{browser}}", None, 204),
    "mail_stopped": ("notification_preferences", "POST", STOP_MAIL, {"user_id": "{user}"}, 204),
    "calendar_token_made": ("calendar_tokens", "POST", CALENDAR, None, 201),
    "calendar_token_revoked": ("calendar_tokens", "DELETE", CALENDAR, None, 204),
    "api_key_made": ("api_keys", "POST", KEYS, {"name": "k", "scopes": ["tasks:read"]}, 201),
    "api_key_revoked": ("api_keys", "DELETE", f"{KEYS}/{{key}}", None, 204),
}
IN_TURN = pytest.mark.parametrize("action", ACTIONS)


class Prepared:
    """A person with one of everything, who asks for an action."""

    def __init__(self, person: Person, **known: str) -> None:
        self.person = person
        self.known = known

    async def ask(self, action: str) -> httpx.Response:
        _, method, path, body, _ = ACTIONS[action]
        if body is not None:
            body = {
                name: one.format(**self.known) if isinstance(one, str) else one for name, one in body.items()
            }
        headers = FROM_NOTIFIER if path.startswith(INTERNAL) else {"If-Match": "*"}
        return await self.person.call(method, path.format(**self.known), json=body, headers=headers)


@pytest_asyncio.fixture(loop_scope="session")
async def prepared(ada: Person) -> Prepared:
    used = ada.tokens["refresh_token"]
    key = await ada.call("POST", KEYS, 201, json={"name": "script", "scopes": ["tasks:read"]})
    browser = await ada.call("POST", PUSH, 201, json=BROWSER)
    await ada.call("POST", CALENDAR, 201)
    refreshed = await ada.call("POST", f"{AUTH}/refresh", 200, json={"refresh_token": used})
    return Prepared(
        ada,
        user=str(ada.id),
        email=ada.email,
        new=f"{uuid4().hex}@example.org",
        used=used,
        unused=refreshed.json()["refresh_token"],
        key=key.json()["id"],
        browser=browser.json()["id"],
    )


@asynccontextmanager
async def refusing(rows: Rows, table: str) -> AsyncIterator[None]:
    """Let commits fail that wrote to the table: each statement of the transaction has gone well by then."""
    await rows(
        "CREATE FUNCTION refuse_at_commit() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'refused'; END$$"
    )
    await rows(
        f"CREATE CONSTRAINT TRIGGER refuse_at_commit AFTER INSERT OR UPDATE OR DELETE ON {table} "
        f"DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_at_commit()"
    )
    try:
        yield
    finally:
        await rows(f"DROP TRIGGER refuse_at_commit ON {table}")
        await rows("DROP FUNCTION refuse_at_commit")


async def kept(rows: Rows) -> dict[str, list[str]]:
    """All that is kept of accounts, the log aside."""
    return {
        table: sorted(row["one"] for row in await rows(f"SELECT one::text FROM {table} AS one"))
        for table in KEPT_IN
    }


async def lines(rows: Rows, action: str) -> list[dict[str, Any]]:
    """The lines of the action, the newest first."""
    return await rows(
        "SELECT user_id, succeeded, request_id FROM audit_log WHERE action = :action ORDER BY at DESC, id DESC",
        action=action,
    )


def counted(action: str, by: int) -> Any:
    outcome = "failed" if action == "refresh_token_reused" else "succeeded"
    return moves("account_actions_total", by, action=action, outcome=outcome)


@IN_TURN
async def test_no_change_stands_without_its_line(prepared: Prepared, rows: Rows, action: str) -> None:
    before, noted = await kept(rows), await lines(rows, action)
    # As if the process had died when all but the line was written.
    async with refusing(rows, "audit_log"):
        with counted(action, 0):
            assert (await prepared.ask(action)).status_code == 500
    assert await kept(rows) == before
    with counted(action, 1):
        assert (await prepared.ask(action)).status_code == ACTIONS[action][-1]
    assert await kept(rows) != before
    line, *older = await lines(rows, action)
    assert older == noted
    assert (line["user_id"] == prepared.person.id) == (action != "register")
    assert line["succeeded"] == (action != "refresh_token_reused")
    assert line["request_id"]


@IN_TURN
async def test_no_line_stands_without_its_change(prepared: Prepared, rows: Rows, action: str) -> None:
    before, noted = await kept(rows), await lines(rows, action)
    async with refusing(rows, ACTIONS[action][0]):
        with counted(action, 0):
            assert (await prepared.ask(action)).status_code == 500
    assert await kept(rows) == before
    assert await lines(rows, action) == noted
