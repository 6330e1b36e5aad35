"""The calendar feed: opened by its secret alone, as fresh as the tasks, shut at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.unit.task_api.calendar_checks import Component, expanded, parsed

TOKEN = "/api/v1/calendar-token"
TASKS = "/api/v1/tasks"


async def subscribe(person: Any) -> str:
    """The path and query of a new feed."""
    made = (await person.call("POST", TOKEN, 201)).json()
    url = httpx.URL(made["url"])
    assert (url.path, url.params["token"]) == ("/api/v1/calendar.ics", made["token"])
    return str(url.raw_path, "ascii")


async def read(http: Any, feed: str, **headers: str) -> tuple[httpx.Response, list[Component]]:
    answer = await http.get(feed, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer, list(parsed(answer.text).all("VTODO"))


async def test_a_feed_has_what_is_open_and_due_and_nobody_elses(ada: Any, bob: Any, http: Any) -> None:
    task = await ada.create(
        "Pay the rent",
        due_date="2026-01-31",
        tags=["home"],
        priority="high",
        reminders=[{"offset": "P1D"}],
        recurrence={"rrule": "FREQ=MONTHLY"},
    )
    await ada.create("Call", due_at="2026-01-08T10:00:00Z")
    await ada.create("Some day")
    gone = await ada.create("Deleted", due_date="2026-01-09")
    await ada.call("DELETE", f"{TASKS}/{gone['id']}", 204)
    await bob.create("Bob's", due_date="2026-01-09")
    answer, todos = await read(http, await subscribe(ada))
    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert [todo.text("SUMMARY") for todo in todos] == ["Pay the rent", "Call"]
    rent, call = todos
    assert rent.value("UID") == task["id"]
    assert rent.value("RRULE") == "FREQ=MONTHLY;BYMONTHDAY=-1"
    assert (rent.value("PRIORITY"), rent.value("CATEGORIES")) == ("3", "home")
    ((_, trigger),) = rent.parts[0].properties["TRIGGER"]
    assert trigger == "20260130T080000Z"
    assert call.properties["DUE"] == [({"TZID": "Europe/Berlin"}, "20260108T110000")]


async def test_of_several_open_instances_the_last_has_the_rule(
    ada: Any, http: Any, rows: Any, follow: Any
) -> None:
    first = await ada.create(due_date="2026-01-08", recurrence={"rrule": "FREQ=DAILY"})
    await ada.call("POST", f"{TASKS}/{first['id']}/complete", 200)
    second = await follow(first)
    _, todos = await read(http, await subscribe(ada))
    told = {todo.value("UID"): (todo.value("STATUS"), "RRULE" in todo.properties) for todo in todos}
    assert told == {first["id"]: ("COMPLETED", False), second["id"]: ("NEEDS-ACTION", True)}


@pytest.mark.parametrize(
    ("due", "left_out", "told"),
    [
        pytest.param(
            {"due_at": "2026-01-08T10:00:00Z"},
            ["2026-01-08T11:00:00", "2026-01-10T11:00:00"],
            ({"TZID": "Europe/Berlin"}, "20260110T110000"),
            id="timed",
        ),
        pytest.param(
            {"due_date": "2026-01-08"},
            ["2026-01-08", "2026-01-10"],
            ({"VALUE": "DATE"}, "20260110"),
            id="all day",
        ),
    ],
)
async def test_slots_left_out_stand_beside_the_rule(
    ada: Any, http: Any, due: dict[str, str], left_out: list[str], told: Any
) -> None:
    task = await ada.create(**due, recurrence={"rrule": "FREQ=DAILY;COUNT=4"})
    await ada.call("PATCH", f"/api/v1/series/{task['series_id']}", 200, json={"exdates": left_out})
    answer, (todo,) = await read(http, await subscribe(ada))
    assert (todo.value("RRULE"), todo.properties["EXDATE"]) == ("FREQ=DAILY;COUNT=4", [told])
    assert [date.day for date in expanded(answer.text, 4)] == [8, 9, 11]


async def test_what_is_done_stays_for_thirty_days(ada: Any, http: Any, clock: Any) -> None:
    task = await ada.create(due_date="2026-01-08")
    await ada.call("POST", f"{TASKS}/{task['id']}/complete", 200)
    feed = await subscribe(ada)
    answer, todos = await read(http, feed)
    assert [todo.value("STATUS") for todo in todos] == ["COMPLETED"]
    clock.advance(timedelta(days=32))
    # The counter is as it was; the day is not.
    _, todos = await read(http, feed, **{"If-None-Match": answer.headers["etag"]})
    assert todos == []


async def test_nothing_changed_nothing_sent(ada: Any, http: Any, statements: Any) -> None:
    task = await ada.create(due_date="2026-01-08")
    feed = await subscribe(ada)
    answer, _ = await read(http, feed)
    seen = {"If-None-Match": answer.headers["etag"]}
    with statements() as sent:
        again = await http.get(feed, headers=seen)
    assert (again.status_code, again.content) == (304, b"")
    assert [statement for statement in sent if "FROM tasks" in statement] == []
    await ada.call("PATCH", f"{TASKS}/{task['id']}", 200, json={"title": "x"})
    assert (await http.get(feed, headers=seen)).status_code == 200


async def test_after_a_restore_the_feed_is_sent_anew(ada: Any, http: Any, raised_epoch: Any) -> None:
    await ada.create(due_date="2026-01-08")
    feed = await subscribe(ada)
    answer, _ = await read(http, feed)
    async with raised_epoch():
        await read(http, feed, **{"If-None-Match": answer.headers["etag"]})


async def test_a_wrong_secret_opens_nothing_and_is_told_nothing(ada: Any, http: Any) -> None:
    feed = await subscribe(ada)
    for wrong in ("/api/v1/calendar.ics", "/api/v1/calendar.ics?token=", feed[:-1], feed + "x"):
        answer = await http.get(wrong)
        assert (answer.status_code, answer.json()["error_code"]) == (404, "calendar_not_found")


async def test_a_new_secret_takes_the_place_of_the_old_and_revoking_shuts(
    ada: Any, http: Any, rows: Any
) -> None:
    await ada.call("DELETE", TOKEN, 404)
    old, new = await subscribe(ada), await subscribe(ada)
    assert (await http.get(old)).status_code == 404
    assert (await http.get(new)).status_code == 200
    stored = await rows("SELECT * FROM calendar_tokens WHERE user_id = :id", id=ada.id)
    assert len(stored) == 1
    assert new.split("=")[1] not in repr(stored)
    await ada.call("DELETE", TOKEN, 204)
    assert (await http.get(new)).status_code == 404
    noted = await rows("SELECT action FROM audit_log WHERE user_id = :id ORDER BY id", id=ada.id)
    assert [line["action"] for line in noted if "calendar" in line["action"]] == [
        "calendar_token_made",
        "calendar_token_made",
        "calendar_token_revoked",
    ]


@pytest.mark.parametrize("column", ["disabled_at", "erase_requested_at"])
async def test_an_account_that_is_shut_has_no_feed(ada: Any, http: Any, rows: Any, column: str) -> None:
    feed = await subscribe(ada)
    await rows(f"UPDATE users SET {column} = now() WHERE id = :id", id=ada.id)
    assert (await http.get(feed)).status_code == 404
    await rows(f"UPDATE users SET {column} = NULL WHERE id = :id", id=ada.id)
    assert (await http.get(feed)).status_code == 200


async def test_a_feed_is_read_in_two_statements(ada: Any, http: Any, statements: Any) -> None:
    await ada.call(
        "POST",
        f"{TASKS}/bulk",
        201,
        json={"tasks": [{"title": str(n), "due_date": "2026-02-01"} for n in range(50)]},
    )
    feed = await subscribe(ada)
    with statements() as sent:
        _, todos = await read(http, feed)
    assert len(todos) == 50
    assert len(sent) == 2, sent
