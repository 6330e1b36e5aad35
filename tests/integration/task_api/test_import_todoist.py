"""A CSV file of Todoist becomes tasks, once."""

from __future__ import annotations

from typing import Any

from tests.integration.task_api.test_import_json import bring

FILE = """TYPE,CONTENT,DESCRIPTION,PRIORITY,INDENT,AUTHOR,RESPONSIBLE,DATE,DATE_LANG,TIMEZONE
task,Water the plants @home,,1,1,,,every day at 9,en,
task,Send the tax return,soon,3,1,,,1 Mar 2025 9:00,en,America/New_York
task,Send the tax return,soon,3,1,,,1 Mar 2025 9:00,en,America/New_York
task,,,3,1,,,,,
"""


async def test_a_file_of_todoist(ada: Any) -> None:
    answer = await bring(ada, FILE, "text/csv")
    assert (answer["imported"], answer["skipped"], answer["warnings"]) == (3, 0, [])
    assert [(one["item"], one["field"]) for one in answer["failed"]] == [("line 5", "title")]
    first, second, plants = (await ada.call("GET", "/api/v1/tasks?sort=title", 200)).json()["items"]
    assert first["title"] == second["title"] == "Send the tax return"
    assert (first["due_at"], first["timezone"]) == ("2025-03-01T14:00:00Z", "America/New_York")
    assert (plants["tags"], plants["priority"]) == (["home"], "urgent")
    assert (plants["due_at"], plants["recurrence"]["rrule"]) == ("2026-01-06T08:00:00Z", "FREQ=DAILY")
    again = await bring(ada, FILE, "text/csv")
    assert (again["imported"], again["skipped"]) == (0, 3)
