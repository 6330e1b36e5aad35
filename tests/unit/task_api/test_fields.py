"""What a body's fields take, and how they are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from task_api.entrypoints.http.account_models import ProfilePatch, RegisterBody
from task_api.entrypoints.http.task_answers import ReminderAnswer
from task_api.entrypoints.http.task_models import ReminderBody, TaskCreate, TaskPatch


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("PT30M", timedelta(minutes=30)),
        ("P1D", timedelta(days=1)),
        ("P1DT2H3M4S", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("P2W", timedelta(weeks=2)),
        ("PT0S", timedelta(0)),
    ],
)
def test_durations(text: str, offset: timedelta) -> None:
    assert ReminderBody.model_validate({"offset": text}).offset == offset


@pytest.mark.parametrize(
    "text", ["P1M", "P1Y", "-PT5M", "PT", "P", "30", 1800, "00:30", "P400D", "PT1.5H", ""]
)
def test_durations_that_are_refused(text: Any) -> None:
    with pytest.raises(ValidationError):
        ReminderBody.model_validate({"offset": text})


def test_durations_are_shown_as_they_are_taken() -> None:
    for text in ("PT30M", "P1D", "P1DT2H3M4S", "PT0S", "P14D"):
        offset = ReminderBody.model_validate({"offset": text}).offset
        assert ReminderAnswer(id=uuid4(), offset=offset).model_dump(mode="json", include={"offset"}) == {
            "offset": text
        }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", ""),
        ("title", "   "),
        ("title", "x" * 256),
        ("title", "nul \x00"),
        ("title", None),
        ("description", "x" * 5001),
        ("status", "completed"),
        ("priority", "none"),
        ("tags", [str(number) for number in range(21)]),
        ("tags", [""]),
        ("due_at", "2026-01-06T10:00:00"),
        ("due_at", 1767693600),
        ("due_at", "1969-12-31T23:59:59Z"),
        ("due_at", "9999-12-31T23:59:59Z"),
        ("due_date", "2026-02-30"),
        ("due_date", "2026-01-06T10:00:00Z"),
        ("timezone", "Mars/Olympus"),
        ("metadata", {"a": "x" * 17_000}),
        ("metadata", {"a": "\x00"}),
        ("metadata", []),
        ("reminders", [{}]),
        ("reminders", [{"offset": "PT5M", "at": "2026-01-06T10:00:00Z"}]),
        ("reminders", [{"offset": "PT5M"}] * 51),
        ("reminders", [{"offset": "PT5M", "channels": ["pigeon"]}]),
        ("recurrence", {"rrule": "FREQ=SECONDLY"}),
        ("recurrence", {"rrule": "FREQ=DAILY", "month_end": "maybe"}),
        ("colour", "red"),
    ],
)
def test_fields_that_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        TaskCreate.model_validate({"title": "Water the plants"} | {field: value})


def test_lone_surrogates_are_refused() -> None:
    for fields in (
        {"title": "\ud800"},
        {"title": "x", "metadata": {"a": "\ud800"}},
        {"title": "x", "metadata": {"\ud800": 1}},
    ):
        with pytest.raises(ValidationError):
            TaskCreate.model_validate(fields)


def test_only_one_due() -> None:
    both = {"due_at": "2026-01-06T10:00:00Z", "due_date": "2026-01-06"}
    for model, body in ((TaskCreate, {"title": "x", **both}), (TaskPatch, both)):
        with pytest.raises(ValidationError, match="not both"):
            model.model_validate(body)


def test_tags_are_kept_once_each_in_their_order() -> None:
    assert TaskCreate.model_validate({"title": "x", "tags": ["b", " a ", "b"]}).tags == ("b", "a")


def test_a_due_is_read_with_any_offset() -> None:
    body = TaskCreate.model_validate({"title": "x", "due_at": "2026-01-06T10:00:00+02:00"})
    assert body.due_at == datetime(2026, 1, 6, 8, tzinfo=UTC)


def test_an_edit_names_what_the_body_named() -> None:
    edit = TaskPatch.model_validate({"tags": None, "metadata": None, "description": None}).edit(
        allow_past=False
    )
    assert edit.fields == {"tags": (), "metadata": {}, "description": None}
    assert (edit.reminders, edit.status, edit.names_recurrence) == (None, None, False)
    assert TaskPatch.model_validate({"reminders": None}).edit(allow_past=False).reminders == ()


@pytest.mark.parametrize("field", ["title", "status", "priority", "timezone"])
def test_what_cannot_be_cleared(field: str) -> None:
    with pytest.raises(ValidationError):
        TaskPatch.model_validate({field: None})


@pytest.mark.parametrize(
    "body", [{"email": None}, {"timezone": None}, {"locale": "x"}, {"day_start": "25:00"}, {"role": "admin"}]
)
def test_a_profile_that_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ProfilePatch.model_validate(body)


@pytest.mark.parametrize("email", ["", "ada", "ada@", "ada@example"])
def test_an_address_that_is_refused(email: str) -> None:
    with pytest.raises(ValidationError):
        RegisterBody.model_validate({"email": email, "password": "correct horse battery"})


def test_metadata_may_speak_of_nul() -> None:
    body = TaskCreate.model_validate({"title": "x", "metadata": {"a": "\\u0000", "b": [None, 1.5, True]}})
    assert body.metadata == {"a": "\\u0000", "b": [None, 1.5, True]}
