"""The person's default reminder: what makes a task gives it one, what brings or changes one leaves it as it is."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.integration.task_api.conftest import Person, Rows
from tests.integration.task_api.deliveries import Weekly
from tests.integration.task_api.test_import_json import bring, export

TASKS = "/api/v1/tasks"
CALENDAR = """BEGIN:VCALENDAR
BEGIN:VTODO
UID:1
SUMMARY:File
DUE;VALUE=DATE:20260106
END:VTODO
END:VCALENDAR
"""
DATED = {"title": "Water the plants", "due_date": "2026-01-06"}


@pytest.fixture
async def ada(ada: Person) -> Person:
    """Ada wants to be reminded a quarter of an hour before."""
    await prefer(ada, "PT15M")
    return ada


async def prefer(person: Person, offset: str | None) -> None:
    await person.call("PATCH", "/api/v1/users/me", 200, json={"default_reminder": offset})


def offsets(task: Any) -> list[str]:
    return [reminder["offset"] for reminder in task["reminders"]]


async def test_every_way_of_making_a_task_gives_it_one(ada: Person) -> None:
    assert offsets(await ada.create(due_date="2026-01-06")) == ["PT15M"]
    assert offsets(await ada.create(due_at="2026-01-06T10:00:00Z", reminders=None)) == ["PT15M"]
    assert offsets(await ada.create(due_date="2026-01-06", recurrence={"rrule": "FREQ=DAILY"})) == ["PT15M"]
    for path in ("/api/v1/todos", f"/api/v1/users/{ada.id}/tasks"):
        assert offsets((await ada.call("POST", path, 201, json=DATED)).json()) == ["PT15M"], path
    bulk = [DATED, {**DATED, "reminders": []}, {"title": "Some day"}]
    for atomic in ("true", "false"):
        answer = await ada.call("POST", f"{TASKS}/bulk?atomic={atomic}", 201, json={"tasks": bulk})
        assert [offsets(item) for item in answer.json()["items"]] == [["PT15M"], [], []]


async def test_who_names_reminders_or_has_no_due_gets_no_other(ada: Person) -> None:
    assert (await ada.create(due_date="2026-01-06", reminders=[]))["reminders"] == []
    assert offsets(await ada.create(due_date="2026-01-06", reminders=[{"offset": "P1D"}])) == ["P1D"]
    assert (await ada.create())["reminders"] == []


async def test_a_change_of_a_task_adds_none(ada: Person) -> None:
    """PATCH leaves alone what it does not name, and PUT names everything."""
    task = await ada.create()
    patched = await ada.call("PATCH", f"{TASKS}/{task['id']}", 200, json={"due_date": "2026-01-06"})
    assert patched.json()["reminders"] == []
    reminded = await ada.create(due_date="2026-01-06")
    await prefer(ada, "P1D")
    moved = await ada.call("PATCH", f"{TASKS}/{reminded['id']}", 200, json={"due_date": "2026-01-07"})
    assert offsets(moved.json()) == ["PT15M"], "the preference is for what is made from now on"


async def test_a_successor_has_what_its_predecessor_had(
    ada: Person, rows: Rows, http: httpx.AsyncClient
) -> None:
    """Whatever the preference is by then: who took the reminder off the series does not want it back."""
    weekly = Weekly(ada, rows, http)
    kept, bare = await weekly.begin(reminders=None), await weekly.begin(reminders=[])
    await prefer(ada, "P1D")
    for first, expected in ((kept, ["PT15M"]), (bare, [])):
        await weekly.complete(first)
        assert await (await weekly.offer(first)).to(http) == "SUCCESS"
        _, successor = await weekly.chain(first)
        task = (await ada.call("GET", f"{TASKS}/{successor['id']}", 200)).json()
        assert offsets(task) == expected


async def test_what_is_imported_keeps_the_reminders_of_its_file(ada: Person, bob: Person) -> None:
    """A thousand tasks of another program are not a thousand reminders that nobody asked for."""
    await bob.create("Reminded", due_date="2026-01-06", reminders=[{"offset": "PT30M"}])
    await bob.create("Quiet", due_date="2026-01-06", reminders=[])
    await bring(ada, json.dumps(await export(bob)))
    await bring(ada, CALENDAR, "text/calendar")
    await bring(ada, "TYPE,CONTENT,PRIORITY,DATE\ntask,Todoist,1,2026-01-06\n", "text/csv")
    items = (await ada.call("GET", f"{TASKS}?sort=title", 200)).json()["items"]
    assert {task["title"]: offsets(task) for task in items} == {
        "File": [],
        "Quiet": [],
        "Reminded": ["PT30M"],
        "Todoist": [],
    }


async def test_a_default_that_is_cleared_is_no_more(ada: Person) -> None:
    await prefer(ada, None)
    assert (await ada.create(due_date="2026-01-06"))["reminders"] == []
