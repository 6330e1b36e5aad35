"""What operators do by `python -m task_api`, as they run it."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from tests.integration.task_api.conftest import PASSWORD, Person
from tests.integration.task_api.test_serving import environment_of


async def run(settings: Any, *arguments: str, **environment: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "task_api",
        *arguments,
        env=environment_of(settings) | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_the_first_administrator_is_made_by_the_operator(
    ada: Person, http: Any, settings: Any, rows: Any
) -> None:
    code, said = await run(settings, "grant-admin", ada.email.upper())
    assert (code, "is an administrator" in said) == (0, True), said
    open_sessions = "SELECT 1 FROM session_families WHERE user_id = :id AND revoked_at IS NULL"
    assert await rows(open_sessions, id=ada.id) == []
    login = await http.post("/api/v1/auth/login", json={"email": ada.email, "password": PASSWORD})
    admin = Person(ada.id, ada.email, login.json(), http)
    await admin.call("GET", "/api/v1/admin/users", 200)
    (line,) = await rows(
        "SELECT detail FROM audit_log WHERE user_id = :id AND action = 'account_changed_by_operator'",
        id=ada.id,
    )
    assert line["detail"] == {"role": "admin", "by": "operator"}


async def test_what_cannot_be_done_is_one_sentence(settings: Any) -> None:
    code, said = await run(settings, "grant-admin", "nobody@example.org")
    assert (code, said) == (
        1,
        "There is no account with the address nobody@example.org: register it first.\n",
    )
    code, said = await run(settings, "grant-admin", "a@b.org", DATABASE_URL="postgresql://u:p@127.0.0.1:1/d")
    assert (code, "Check DATABASE_URL" in said, "Traceback" in said) == (1, True, False)


async def test_encryption_is_renewed_only_when_every_key_is_there(ada: Person, settings: Any) -> None:
    browser = {
        "endpoint": "https://push.example.org/1",
        "keys": {"p256dh": "B" * 87, "auth": "A" * 22},
    }
    await ada.call("POST", "/api/v1/push-subscriptions", 201, json=browser)
    code, said = await run(settings, "renew-encryption", ENCRYPTION_KEYS="B" * 43 + "=")
    assert (code, "Nothing was changed" in said) == (1, True)
    code, said = await run(settings, "renew-encryption")
    assert (code, "encrypted with the first key" in said) == (0, True), said
    await ada.call("GET", "/api/v1/users/me/notification-preferences", 200)
