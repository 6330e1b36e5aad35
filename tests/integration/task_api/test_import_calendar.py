"""A calendar file becomes tasks; our own feed becomes the tasks that it was made of."""

from __future__ import annotations

from typing import Any

from tests.integration.task_api.test_import_json import bring

TASKS = "/api/v1/tasks"
FILE = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Example//EN
BEGIN:VTODO
UID:one
DTSTAMP:20260101T080000Z
SUMMARY:Pay the rent
DUE;VALUE=DATE:20250131
PRIORITY:1
CATEGORIES:home,money
RRULE:FREQ=MONTHLY
END:VTODO
BEGIN:VTODO
UID:two
SUMMARY:Done
STATUS:COMPLETED
COMPLETED:20250102T080000Z
CREATED:20250101T080000Z
DUE;TZID=Asia/Tokyo:20250102T090000
BEGIN:VALARM
ACTION:DISPLAY
TRIGGER:-PT30M
END:VALARM
END:VTODO
BEGIN:VTODO
UID:three
PRIORITY:odd
END:VTODO
END:VCALENDAR
"""


async def test_a_file_of_another_program(ada: Any, rows: Any) -> None:
    answer = await bring(ada, FILE, "text/calendar; charset=utf-8")
    assert (answer["imported"], answer["skipped"]) == (2, 0)
    assert [(one["item"], one["field"]) for one in answer["failed"]] == [("three", "title")]
    assert [one["item"] for one in answer["warnings"]] == ["three"]
    items = (await ada.call("GET", f"{TASKS}?sort=title", 200)).json()["items"]
    done, rent = items
    assert (rent["priority"], rent["tags"], rent["due_date"]) == ("urgent", ["home", "money"], "2025-01-31")
    assert (rent["recurrence"]["rrule"], rent["recurrence"]["month_end"]) == ("FREQ=MONTHLY", "skip")
    assert (done["status"], done["completed_at"]) == ("completed", "2025-01-02T08:00:00Z")
    assert (done["due_at"], done["timezone"]) == ("2025-01-02T00:00:00Z", "Asia/Tokyo")
    assert (done["created_at"], done["reminders"][0]["offset"]) == ("2025-01-01T08:00:00Z", "PT30M")
    told = await rows("SELECT topic FROM outbox WHERE key = :id", id=rent["series_id"])
    assert [row["topic"] for row in told] == ["series-updated"]
    again = await bring(ada, FILE, "text/calendar")
    assert (again["imported"], again["skipped"]) == (0, 2)


async def test_the_own_feed_doubles_nothing_and_fills_another_account(ada: Any, bob: Any, http: Any) -> None:
    await ada.create("Recurring", due_date="2026-01-31", recurrence={"rrule": "FREQ=MONTHLY"})
    await ada.create("Once", due_at="2026-01-08T10:00:00Z", reminders=[{"offset": "P1D"}], priority="low")
    token = (await ada.call("POST", "/api/v1/calendar-token", 201)).json()["token"]
    feed = (await http.get("/api/v1/calendar.ics", params={"token": token})).text
    assert (await bring(ada, feed, "text/calendar"))["skipped"] == 2
    assert (await bring(bob, feed, "text/calendar"))["imported"] == 2
    once, recurring = (await bob.call("GET", f"{TASKS}?sort=title", 200)).json()["items"]
    assert recurring["recurrence"]["rrule"] == "FREQ=MONTHLY;BYMONTHDAY=-1"
    assert (once["due_at"], once["timezone"]) == ("2026-01-08T10:00:00Z", "Europe/Berlin")
    assert (once["priority"], once["reminders"][0]["offset"]) == ("low", "P1D")
