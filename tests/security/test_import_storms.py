"""Files made to be expensive: read in little more time than an honest file of their size, or refused."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import FrameType

import orjson
import pytest

from task_api.entrypoints.http.import_items import Reading, UnreadableFile
from task_api.entrypoints.http.imports import READERS

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
SIZE = 1024 * 1024
SECONDS = 6.0
"""Of a processor. An honest calendar of this size takes less than half of one."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError once this process has worked for so long: what others do on the machine does not count."""

    def over(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"took more than {seconds:g} s")

    before = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def filled(begin: str, part: str, end: str = "") -> bytes:
    return (begin + part * (SIZE // len(part)) + end).encode()


def todo(begin: str, part: str, end: str = "\n") -> bytes:
    """A calendar whose one task has `part` again and again."""
    lines = "BEGIN:VCALENDAR\nBEGIN:VTODO\nUID:1\nSUMMARY:s\nDUE:20990101T000000Z\n"
    return filled(lines + begin, part, end + "END:VTODO\nEND:VCALENDAR\n")


CALENDARS = {
    "parts in parts": filled("BEGIN:VCALENDAR\n", "BEGIN:VTODO\n"),
    "short lines": filled("BEGIN:VCALENDAR\nBEGIN:VTODO\n", "A:\n"),
    "one long line": todo("DESCRIPTION:", "x"),
    "folds": todo("DESCRIPTION:", "x\n "),
    "backslashes": todo("DESCRIPTION:", "\\"),
    "parameters": todo("DESCRIPTION", ";X=1", ":x\n"),
    "open quotes": todo('DESCRIPTION;X="', '"a', ":x\n"),
    "categories": todo("CATEGORIES:", "a,"),
    "escaped categories": todo("CATEGORIES:", "\\\\,"),
    "alarms": todo("", "BEGIN:VALARM\nTRIGGER:-PT5M\nEND:VALARM\n"),
    "alarms of nothing": todo("", "BEGIN:VALARM\nTRIGGER:x\nEND:VALARM\n"),
    "zones": todo("", "BEGIN:VALARM\nEND:VALARM\n")
    + todo("", f"DTSTART;TZID={'/' * 10_000}:20990101T000000\n"),
    "tasks of one zone": filled(
        "BEGIN:VCALENDAR\n",
        f"BEGIN:VTODO\nSUMMARY:s\nDUE;TZID={'/' * 10_000}:20990101T000000\nEND:VTODO\n",
    ),
    "a rule": todo("RRULE:FREQ=DAILY;BYMONTHDAY=", "1,", "1\n"),
    "rules": todo("", "RRULE:FREQ=SECONDLY;BYSECOND=1,2,3,4,5;BYSETPOS=-1\n"),
    "no tasks": filled("BEGIN:VCALENDAR\n", "BEGIN:VTODO\nEND:VTODO\n"),
}
HEAD = "TYPE,CONTENT,DESCRIPTION,PRIORITY,INDENT,DATE\n"
TABLES = {
    "notes of one task": filled(HEAD + "task,t,,4,1,\n", "note,x,,,,\n"),
    "columns and rows": b"TYPE,CONTENT" + b",a" * (SIZE // 4) + b"\n" + b"task,t\n" * (SIZE // 16),
    "cells of one row": filled(HEAD + "task,t", ","),
    "a cell that does not end": filled(HEAD + 'task,"', "x\n"),
    "labels": filled(HEAD, "task," + "@a " * 30_000 + ",,4,1,\n"),
    "spaces in dates": filled(HEAD, "task,t,,4,1,every a" + " " * 100_000 + "b\n"),
    "words in dates": filled(HEAD, "task,t,,4,1," + "every at @ " * 9_000 + "\n"),
    "lists in dates": filled(HEAD, "task,t,,4,1,every " + "and " * 25_000 + "\n"),
    "digits": filled(HEAD, "task,t,,4," + "9" * 100_000 + ",every " + "9" * 20_000 + " days\n"),
    "digits that are none": (HEAD + "task,t,,²,²,every ² days\n").encode(),
    "no tasks": filled(HEAD, "task,,,,,\n"),
}
EXPORT = {"format": "taskstream-export", "version": 1}
EXPORTS = {
    "lists in lists": b"[" * SIZE,
    "objects in objects": b'{"a":' * (SIZE // 5),
    "deep metadata": orjson.dumps({**EXPORT, "tasks": [{"id": str(NOW), "title": "t"}]})[:-1]
    + b',"metadata":' + b'{"a":' * 900 + b"1" + b"}" * 901,
    "rows that are none": orjson.dumps({**EXPORT, "tasks": [{}] * 400_000}),
    "reminders of nothing": orjson.dumps({**EXPORT, "reminders": [{"task_id": []}, {"task_id": {}}] * 50_000}),
    "reminders of one task": orjson.dumps(
        {
            **EXPORT,
            "tasks": [{"id": "0190a6f0-3c5e-7b7a-9d7b-5b1f1c7e2a11", "title": "t"}],
            "reminders": [{"task_id": "0190a6f0-3c5e-7b7a-9d7b-5b1f1c7e2a11", "offset": "PT1M"}] * 20_000,
        }
    ),
    "a long number": b'{"format": "taskstream-export", "version": ' + b"9" * SIZE + b"}",
}  # fmt: skip
STORMS = [
    pytest.param(kind, body, id=f"{kind}: {name}")
    for kind, storms in (("text/calendar", CALENDARS), ("text/csv", TABLES), ("application/json", EXPORTS))
    for name, body in storms.items()
]


@pytest.mark.parametrize(("kind", "body"), STORMS)
def test_it_costs_no_more_than_its_size(kind: str, body: bytes) -> None:
    reading = Reading()
    with within(SECONDS), suppress(UnreadableFile):
        reading = READERS[kind](body, "Europe/Berlin", NOW)
    told = sum(len(item) + len(sentence) for item, sentence in reading.warnings)
    told += sum(len(item) + len(error.message) for item, error in reading.failed)
    assert told < 4 * SIZE, "what is told of a file is of its size"


def test_alarms_and_categories_beyond_what_is_looked_at_are_told_of() -> None:
    alarms = "BEGIN:VALARM\nTRIGGER:-PT5M\nEND:VALARM\n" * 300
    lines = f"BEGIN:VCALENDAR\nBEGIN:VTODO\nUID:1\nSUMMARY:s\nDUE:20990101T000000Z\n{alarms}"
    tags = ",".join(f"tag{number}" for number in range(300))
    body = f"{lines}CATEGORIES:{tags}\nEND:VTODO\nEND:VCALENDAR\n".encode()
    reading = READERS["text/calendar"](body, "Europe/Berlin", NOW)
    (draft,) = reading.drafts
    assert len(draft.request.tags) == 20
    assert len(draft.request.reminders or ()) == 50
    told = " ".join(sentence for _, sentence in reading.warnings)
    assert "Of its 300 alarms the first 200 are looked at." in told
    assert "categories" in told
