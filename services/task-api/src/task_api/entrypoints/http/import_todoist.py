"""Read the CSV files of Todoist's templates and backups."""

from __future__ import annotations

import csv
import io
import re
from datetime import date, datetime
from hashlib import sha256
from typing import Any
from zoneinfo import available_timezones

from event_contracts.moments import resolve
from event_contracts.series import Anchor
from event_contracts.tasks import TAGS_MAX
from event_contracts.values import Priority
from task_api.entrypoints.http.fields import TAG_MAX
from task_api.entrypoints.http.import_items import Reading, UnreadableFile
from task_api.entrypoints.http.todoist_dates import Phrase, first_slot, read_date, read_phrase

_ZONES = frozenset(available_timezones())
_NEEDED = frozenset({"TYPE", "CONTENT"})
_COLUMNS_MAX = 100
_INDENT = re.compile(r"[2-9]|[1-9]\d", re.ASCII)
_PRIORITIES = {
    "1": Priority.URGENT,
    "2": Priority.HIGH,
    "3": Priority.MEDIUM,
    "4": Priority.LOW,
    "": Priority.MEDIUM,
}
_LABEL = re.compile(r"(?:(?<=\s)|^)@(\S+)")


def read_todoist(body: bytes, zone: str, now: datetime) -> Reading:
    """Read a CSV export; its dates are those of its own TIMEZONE column, or of `zone`. Raises UnreadableFile."""
    try:
        rows = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        if not set(rows.fieldnames or ()) >= _NEEDED:
            raise UnreadableFile("its first line does not name the columns TYPE and CONTENT")
        if len(rows.fieldnames or ()) > _COLUMNS_MAX:
            raise UnreadableFile(f"it has more than {_COLUMNS_MAX} columns")
        reading = Reading()
        _Reader(zone, now, reading).read(rows)
    except UnicodeDecodeError as error:
        raise UnreadableFile("it is not UTF-8") from error
    except csv.Error as error:
        raise UnreadableFile(f"it is no CSV: {error}") from error
    return reading


class _Reader:
    """Reads row by row: a note belongs to the task before it, a section to the tasks after it."""

    def __init__(self, zone: str, now: datetime, reading: Reading) -> None:
        self._zone = zone
        self._now = now
        self._reading = reading
        self._section = ""
        self._seen: dict[str, int] = {}
        self._task: tuple[str, str, dict[str, Any]] | None = None
        self._notes: list[str] = []

    def read(self, rows: csv.DictReader[str]) -> None:
        """Add every task to the reading."""
        for row in rows:
            cells = {name: (value or "").strip() for name, value in row.items() if isinstance(name, str)}
            item = f"line {rows.line_num}"
            match cells["TYPE"].lower():
                case "task":
                    self._end()
                    self._task = self._read_task(item, cells)
                case "section":
                    self._end()
                    self._section = cells["CONTENT"]
                case "note" if self._task is not None:
                    self._notes.append(cells["CONTENT"])
                case "note":
                    self._reading.warn(item, "This note belongs to no task.")
                case _:
                    pass  # the blank lines between parts, and the view's own settings
        self._end()

    def _end(self) -> None:
        if self._task is not None:
            item, key, fields = self._task
            if self._notes:
                fields["description"] = "\n\n".join(filter(None, (fields["description"], *self._notes)))
            self._reading.add(item, key, fields)
            self._task, self._notes = None, []

    def _read_task(self, item: str, cells: dict[str, str]) -> tuple[str, str, dict[str, Any]]:
        labels = _LABEL.findall(cells["CONTENT"])
        kept = [label for label in dict.fromkeys(labels) if len(label) <= TAG_MAX][:TAGS_MAX]
        if len(kept) < len(set(labels)):
            self._reading.warn(item, "Some of its labels are too long or too many.")
        priority = cells.get("PRIORITY", "")
        if priority not in _PRIORITIES:
            self._reading.warn(item, f"The priority {priority!r} is not one of 1 to 4.")
        fields: dict[str, Any] = {
            "title": " ".join(_LABEL.sub("", cells["CONTENT"]).split()) or cells["CONTENT"],
            "description": cells.get("DESCRIPTION") or None,
            "priority": _PRIORITIES.get(priority, Priority.MEDIUM),
            "tags": kept,
            "metadata": self._metadata(cells),
        }
        self._date(item, cells, fields)
        return item, self._key(cells), fields

    def _key(self, cells: dict[str, str]) -> str:
        """The file gives no ids: what a task says, and which of several that say the same it is. So a task that was
        changed there is another one here, and one that only moved is not."""
        names = ("CONTENT", "DESCRIPTION", "DATE")
        said = sha256(
            "\0".join([self._section, *(cells.get(name, "") for name in names)]).encode()
        ).hexdigest()
        self._seen[said] = self._seen.get(said, 0) + 1
        return f"csv:{said}:{self._seen[said]}"

    def _metadata(self, cells: dict[str, str]) -> dict[str, Any]:
        """What has no field here and is still the person's: the section, and how deep it stood in the list."""
        kept: dict[str, Any] = {"section": self._section} if self._section else {}
        if _INDENT.fullmatch(cells.get("INDENT", "")):
            kept["indent"] = int(cells["INDENT"])
        return {"todoist": kept} if kept else {}

    def _date(self, item: str, cells: dict[str, str], fields: dict[str, Any]) -> None:
        said = cells.get("DATE", "")
        if not said:
            return
        zone = cells.get("TIMEZONE", "")
        if zone and zone not in _ZONES:
            self._reading.warn(
                item, f"The time zone {zone!r} is not known: its date is read as {self._zone}."
            )
        zone = zone if zone in _ZONES else self._zone
        moment: date | datetime | None = read_date(said)
        phrase = None if moment is not None else read_phrase(said)
        if phrase is not None:
            moment = first_slot(phrase, self._now, zone)
            fields["recurrence"] = _recurrence(phrase)
        if moment is None:
            self._reading.warn(item, f"The date {said!r} is not understood: it is kept in the description.")
            fields["description"] = "\n\n".join(filter(None, (fields["description"], f"Date: {said}")))
        elif isinstance(moment, datetime):
            fields |= {"due_at": resolve(moment, zone), "timezone": zone}
        else:
            fields |= {"due_date": moment, "timezone": zone}


def _recurrence(phrase: Phrase) -> dict[str, Any]:
    anchor = Anchor.COMPLETION if phrase.after_completion else Anchor.SCHEDULE
    return {"rrule": phrase.rrule, "anchor": anchor}
