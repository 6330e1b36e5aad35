"""How people want to be told: what is kept, what is shown, and that a copy of the database gives nothing away."""

from __future__ import annotations

import asyncio
import base64
import copy
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.integration.task_api.conftest import Person, Rows
from tests.integration.task_api.deliveries import FROM_NOTIFIER

from task_api.adapters.fernet_seal import Seal, read_encryption_keys
from task_api.adapters.postgres.contacts import PostgresContacts
from task_api.adapters.postgres.preferences import PostgresPreferences

PREFERENCES = "/api/v1/users/me/notification-preferences"
PUSH = "/api/v1/push-subscriptions"
BROWSER = {
    "name": "Firefox",
    "endpoint": "https://push.example.org/send/3f1c",
    "keys": {
        "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    },
}
NOTHING: dict[str, Any] = {
    "channels": {"email": True, "webhooks": [], "chats": [], "push": []},
    "quiet_hours": None,
    "late_policy": "send",
    "drop_after": None,
    "generated": False,
}
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


def wanted(**channels: Any) -> dict[str, Any]:
    return {**NOTHING, "channels": {**NOTHING["channels"], **channels}}


async def put(person: Person, body: dict[str, Any], expect: int = 200, if_match: str = "*") -> dict[str, Any]:
    answer = await person.call("PUT", PREFERENCES, expect, json=body, headers={"If-Match": if_match})
    found: dict[str, Any] = answer.json()
    return found


async def contact(http: httpx.AsyncClient, person: Person, expect: int = 200) -> dict[str, Any]:
    answer = await http.get(f"/internal/v1/users/{person.id}/contact", headers=FROM_NOTIFIER)
    assert answer.status_code == expect, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_who_said_nothing_has_the_defaults(ada: Person) -> None:
    answer = await ada.call("GET", PREFERENCES, 200)
    assert answer.json() == NOTHING
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["cache-control"] == "no-store"


async def test_what_was_read_can_be_sent_back(ada: Person, http: httpx.AsyncClient) -> None:
    made = await put(
        ada,
        {
            **wanted(
                email=False,
                webhooks=[{"name": "home", "url": "https://home.example.org/hook", "secret": SECRET}],
                chats=[{"name": "family", "url": "tgram://123456:token/42"}],
            ),
            "quiet_hours": {"start": "22:00", "until": "07:00"},
            "late_policy": "drop_after",
            "drop_after": "PT6H",
        },
    )
    await ada.call("POST", PUSH, 201, json=BROWSER)
    before = await contact(http, ada)
    read = (await ada.call("GET", PREFERENCES, 200)).json()
    assert made["channels"]["webhooks"][0]["secret"] == SECRET
    assert read["channels"]["webhooks"][0]["secret"] is None
    assert read["channels"]["chats"] == [
        {**read["channels"]["chats"][0], "url": None, "service": "tgram", "name": "family"}
    ]
    assert await put(ada, read) == read
    assert await contact(http, ada) == before
    assert before["webhooks"][0]["secret"] == SECRET
    assert before["chats"][0]["url"] == "tgram://123456:token/42"
    assert (before["push"][0]["p256dh"], before["push"][0]["auth"]) == tuple(BROWSER["keys"].values())  # type: ignore[attr-defined]
    assert before["channels"] == ["inbox", "webhook", "chat", "push"]
    assert before["quiet_hours"] == {"start": "22:00", "until": "07:00"}
    assert (before["late_policy"], before["drop_after"]) == ("drop_after", "PT6H")


async def test_a_webhook_without_secret_is_given_one_and_it_is_shown_once(
    ada: Person, http: httpx.AsyncClient
) -> None:
    made = await put(ada, wanted(webhooks=[{"name": "a", "url": "https://a.example.org/"}]))
    (hook,) = made["channels"]["webhooks"]
    assert len(base64.b64decode(hook["secret"].removeprefix("whsec_"))) == 32
    again = await put(
        ada, wanted(webhooks=[{"id": hook["id"], "name": "b", "url": "https://b.example.org/"}])
    )
    assert again["channels"]["webhooks"] == [
        {**hook, "name": "b", "url": "https://b.example.org/", "secret": None}
    ]
    assert (await contact(http, ada))["webhooks"][0]["secret"] == hook["secret"]


async def test_channels_that_are_switched_off_are_kept_but_not_used(
    ada: Person, http: httpx.AsyncClient
) -> None:
    made = await put(ada, wanted(webhooks=[{"name": "a", "url": "https://a.example.org/", "enabled": False}]))
    assert made["channels"]["webhooks"][0]["enabled"] is False
    found = await contact(http, ada)
    assert (found["webhooks"], found["channels"]) == ([], ["inbox", "email"])


async def test_a_copy_of_the_database_names_no_address(ada: Person, rows: Rows) -> None:
    await put(
        ada,
        wanted(
            webhooks=[{"name": "a", "url": "https://hidden-a.example.org/", "secret": SECRET}],
            chats=[{"name": "b", "url": "slack://hidden-b/c/d"}],
        ),
    )
    await ada.call("POST", PUSH, 201, json=BROWSER)
    found = await rows("SELECT sealed FROM notification_channels WHERE user_id = :user_id", user_id=ada.id)
    assert len(found) == 3
    for row in found:
        for needle in (b"hidden", b"push.example", SECRET.encode(), b"url"):
            assert needle not in bytes(row["sealed"])
            assert needle not in base64.urlsafe_b64decode(bytes(row["sealed"]))


async def test_two_devices_do_not_overwrite_each_other(ada: Person) -> None:
    first = await put(ada, wanted(email=False), if_match='"1"')
    assert first["channels"]["email"] is False
    refused = await put(ada, NOTHING, 412, if_match='"1"')
    assert refused["error_code"] == "version_mismatch"
    answer = await ada.call("GET", PREFERENCES, 200)
    assert (answer.headers["etag"], answer.json()) == ('"2"', first)
    await put(ada, first, if_match='"2"')
    assert (await ada.call("GET", PREFERENCES, 200)).headers["etag"] == '"2"', "nothing changed"


async def test_browsers_that_come_at_once_are_all_kept(ada: Person) -> None:
    """Each reads what there is and adds itself: without the lock the last would be alone."""
    bodies = [{**BROWSER, "endpoint": f"https://push.example.org/{number}"} for number in range(20)]
    answers = await asyncio.gather(*(ada.call("POST", PUSH, json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {201}
    kept = (await ada.call("GET", PREFERENCES, 200)).json()["channels"]["push"]
    assert {one["endpoint"] for one in kept} == {body["endpoint"] for body in bodies}
    full = await ada.call("POST", PUSH, 409, json={**BROWSER, "endpoint": "https://push.example.org/more"})
    assert full.json()["error_code"] == "too_many_push_subscriptions"
    await ada.call("POST", PUSH, 201, json=bodies[0])


async def test_a_browser_that_comes_again_renews_its_keys(ada: Person, http: httpx.AsyncClient) -> None:
    first = (await ada.call("POST", PUSH, 201, json=BROWSER)).json()
    keys = {**BROWSER["keys"], "auth": base64.urlsafe_b64encode(b"n" * 16).decode()}  # type: ignore[dict-item]
    again = (await ada.call("POST", PUSH, 201, json={**BROWSER, "keys": keys})).json()
    assert again == first
    (known,) = (await contact(http, ada))["push"]
    assert known["auth"] == keys["auth"].rstrip("=")
    await ada.call("DELETE", f"{PUSH}/{first['id']}", 204)
    await ada.call("DELETE", f"{PUSH}/{first['id']}", 404)
    assert (await contact(http, ada))["push"] == []


async def test_notifier_takes_away_browsers_that_are_gone(
    ada: Person, bob: Person, http: httpx.AsyncClient
) -> None:
    gone = (await ada.call("POST", PUSH, 201, json=BROWSER)).json()["id"]
    stays = (await bob.call("POST", PUSH, 201, json=BROWSER)).json()["id"]
    before = (await ada.call("GET", PREFERENCES, 200)).headers["etag"]
    for _ in range(2):
        answer = await http.delete(f"/internal/v1/push-subscriptions/{gone}", headers=FROM_NOTIFIER)
        assert answer.status_code == 204
    after = await ada.call("GET", PREFERENCES, 200)
    assert (after.json()["channels"]["push"], after.headers["etag"] != before) == ([], True)
    assert [one["id"] for one in (await contact(http, bob))["push"]] == [stays]


def _with(path: str, value: Any) -> dict[str, Any]:
    body = copy.deepcopy(
        {**wanted(webhooks=[{"name": "a", "url": "https://a.example.org/"}], chats=[], push=[])}
    )
    *way, last = path.split(".")
    place: Any = body
    for step in way:
        place = place[int(step)] if step.isdecimal() else place[step]
    place[last] = value
    return body


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("channels.webhooks.0.url", "ftp://a.example.org", "channels.webhooks.0.url"),
        ("channels.webhooks.0.url", "https://user:word@a.example.org", "channels.webhooks.0.url"),
        ("channels.webhooks.0.url", "https://a.example.org:99999", "channels.webhooks.0.url"),
        ("channels.webhooks.0.url", None, "channels.webhooks.0.url"),
        ("channels.webhooks.0.secret", "whsec_c2hvcnQ=", "channels.webhooks.0.secret"),
        ("channels.webhooks.0.id", str(uuid4()), "channels.webhooks.0.id"),
        ("channels.webhooks.0.name", " ", "channels.webhooks.0.name"),
        ("channels.webhooks.0.colour", "red", "channels.webhooks.0.colour"),
        ("channels.chats", [{"name": "b", "url": "file:///etc/passwd"}], "channels.chats.0.url"),
        ("channels.chats", [{"name": "b", "url": "slack://"}], "channels.chats.0.url"),
        ("channels.push", [{"id": str(uuid4()), "name": "c"}], "channels.push.0.id"),
        ("channels.email", "yes please", "channels.email"),
        ("quiet_hours", {"start": "22:00", "until": "22:00"}, "quiet_hours.until"),
        ("quiet_hours", {"start": "22:00"}, "quiet_hours.until"),
        ("late_policy", "never", "late_policy"),
        ("late_policy", "drop_after", "drop_after"),
        ("drop_after", "PT6H", "drop_after"),
        ("drop_after", "six hours", "drop_after"),
    ],
)
async def test_a_wrong_field_is_named(ada: Person, path: str, value: Any, named: str) -> None:
    problem = await put(ada, _with(path, value), 422)
    assert named in [error["field"] for error in problem["errors"]], problem
    assert (await ada.call("GET", PREFERENCES, 200)).json() == NOTHING


@pytest.mark.parametrize("missing", ["channels", "quiet_hours", "late_policy", "generated"])
async def test_nothing_is_lost_by_leaving_it_out(ada: Person, missing: str) -> None:
    body = {name: value for name, value in NOTHING.items() if name != missing}
    assert [error["field"] for error in (await put(ada, body, 422))["errors"]] == [missing]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"endpoint": "http://push.example.org/"}, "endpoint"),
        ({"keys": {**BROWSER["keys"], "p256dh": "BCV"}}, "keys.p256dh"),  # type: ignore[dict-item]
        ({"keys": {**BROWSER["keys"], "auth": "ü" * 22}}, "keys.auth"),  # type: ignore[dict-item]
    ],
)
async def test_a_wrong_browser_is_refused(ada: Person, change: dict[str, Any], named: str) -> None:
    problem = (await ada.call("POST", PUSH, 422, json={**BROWSER, **change})).json()
    assert [error["field"] for error in problem["errors"]] == [named]


async def test_nobody_but_notifier_reads_addresses(ada: Person, http: httpx.AsyncClient) -> None:
    for sibling in ("reminders", "recurrence"):
        headers = {**FROM_NOTIFIER, "dapr-caller-app-id": sibling}
        for method, path in (
            ("GET", f"/users/{ada.id}/contact"),
            ("DELETE", f"/push-subscriptions/{uuid4()}"),
            ("POST", "/actions"),
        ):
            answer = await http.request(method, f"/internal/v1{path}", headers=headers)
            assert answer.status_code == 403


async def test_whose_account_is_shut_is_told_nothing(
    ada: Person, http: httpx.AsyncClient, rows: Rows
) -> None:
    await rows("UPDATE users SET disabled_at = now() WHERE id = :id RETURNING id", id=ada.id)
    await contact(http, ada, 404)


def _keys(*letters: str) -> str:
    return ",".join(base64.urlsafe_b64encode(letter.encode() * 32).decode() for letter in letters)


async def test_keys_can_be_changed_without_losing_a_channel(
    ada: Person, engine: AsyncEngine, settings: Any
) -> None:
    """New key first, everything sealed anew, old key away."""
    await put(ada, wanted(webhooks=[{"name": "a", "url": "https://a.example.org/"}]))
    old = settings.encryption_keys.get_secret_value()
    both = Seal(read_encryption_keys(f"{_keys('n')},{old}"))
    new = Seal(read_encryption_keys(_keys("n")))
    contacts = PostgresContacts(engine, new)
    unreadable = await contacts.contact(ada.id)
    assert unreadable is not None
    assert unreadable.preferences.webhooks == (), "what cannot be read holds up nothing else"
    try:
        assert await PostgresPreferences(engine, both).renew() >= 1
        found = await contacts.contact(ada.id)
        assert found is not None
        assert [one.url for one in found.preferences.webhooks] == ["https://a.example.org/"]
    finally:
        back = Seal(read_encryption_keys(f"{old},{_keys('n')}"))
        await PostgresPreferences(engine, back).renew()


async def test_a_lost_key_is_said_and_nothing_is_overwritten(
    ada: Person, http: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    await put(ada, wanted(webhooks=[{"name": "a", "url": "https://a.example.org/"}]))
    mine = {"user_id": ada.id}
    async with engine.begin() as connection:
        sealed = "UPDATE notification_channels SET sealed = 'x' WHERE user_id = :user_id"
        await connection.execute(text(sealed), mine)
    for method, body in (("GET", None), ("PUT", NOTHING)):
        answer = await ada.call(method, PREFERENCES, 503, json=body)
        assert answer.json()["error_code"] == "channels_unreadable"
    assert (await contact(http, ada))["channels"] == ["inbox", "email"]
