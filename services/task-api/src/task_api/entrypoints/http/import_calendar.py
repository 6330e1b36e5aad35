"""Read the VTODOs of an iCalendar file (RFC 5545)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON
from pydantic import TypeAdapter, ValidationError

from event_contracts.moments import resolve
from event_contracts.rrule import RuleError, check_start, parse_rrule
from event_contracts.series import MonthEnd
from event_contracts.tasks import REMINDERS_MAX, TAGS_MAX
from event_contracts.values import Priority, TaskStatus
from task_api.domain.moments import slot_of
from task_api.entrypoints.http.calendar_lines import Line, read_lines
from task_api.entrypoints.http.fields import TAG_MAX, in_reach
from task_api.entrypoints.http.import_items import ITEMS_MAX, Reading, UnreadableFile, too_many_tasks

_LINES_MAX = 500_000
"""A file of 10 MiB may have more, which say next to nothing and take the longer to read."""
_DEPTH_MAX = 16
_CATEGORIES_MAX = 200
_ALARMS_MAX = 4 * REMINDERS_MAX
_ZONES = frozenset(available_timezones())
_ZONE_PARTS = max(name.count("/") for name in _ZONES) + 1
_DATE = re.compile(r"\d{8}", re.ASCII)
_DATE_TIME = re.compile(r"\d{8}T\d{6}Z?", re.ASCII)
_DURATION = TypeAdapter(timedelta)
_STATUSES = {
    "NEEDS-ACTION": TaskStatus.PENDING,
    "IN-PROCESS": TaskStatus.IN_PROGRESS,
    "COMPLETED": TaskStatus.COMPLETED,
    "CANCELLED": TaskStatus.ARCHIVED,
}
_NOT_TAKEN = {
    "EXDATE": "Its left out dates are not taken.",
    "RDATE": "Its additional dates are not taken.",
    "RELATED-TO": "That it belongs to another task is not taken.",
    "ATTACH": "Its attachments are not taken.",
}
Moment = date | datetime


@dataclass(slots=True)
class _Todo:
    """The properties of a VTODO by their names, and those of each alarm in it."""

    properties: dict[str, list[Line]] = field(default_factory=dict)
    alarms: list[dict[str, Line]] = field(default_factory=list)

    def line(self, name: str) -> Line | None:
        return self.properties[name][0] if name in self.properties else None

    def text(self, name: str) -> str | None:
        line = self.line(name)
        return None if line is None else line.text()


def read_calendar(body: bytes, zone: str, now: datetime) -> Reading:
    """Read a calendar; times without a zone, or of one that is unknown, are those of `zone`. Raises UnreadableFile."""
    try:
        document = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFile("it is not UTF-8") from error
    if "BEGIN:VCALENDAR" not in document.upper():
        raise UnreadableFile("it holds no VCALENDAR")
    if document.count("\n") > _LINES_MAX:
        raise UnreadableFile(f"it has more than {_LINES_MAX} lines: bring it in parts")
    reading = Reading()
    for number, todo in enumerate(_todos(document), start=1):
        _Reader(todo, zone, f"VTODO {number}", reading).read()
    return reading


def _todos(document: str) -> list[_Todo]:
    found: list[_Todo] = []
    inside: list[str] = []
    for line in read_lines(document):
        part = line.value.strip().upper()
        if line.name == "BEGIN":
            inside.append(part)
            if len(inside) > _DEPTH_MAX:
                raise UnreadableFile(f"its parts lie in one another, more than {_DEPTH_MAX} deep")
            if inside.count("VTODO") > 1:
                continue  # a task in a task is none: its lines belong to nobody
            if part == "VTODO":
                found.append(_Todo())
                if len(found) > ITEMS_MAX:
                    raise too_many_tasks()
            elif part == "VALARM" and inside[-2:-1] == ["VTODO"]:
                found[-1].alarms.append({})
        elif line.name == "END":
            if inside and inside[-1] == part:
                inside.pop()
        elif inside.count("VTODO") > 1:
            continue
        elif inside[-1:] == ["VTODO"]:
            found[-1].properties.setdefault(line.name, []).append(line)
        elif inside[-2:] == ["VTODO", "VALARM"]:
            found[-1].alarms[-1].setdefault(line.name, line)
    return found


class _Reader:
    """Reads one VTODO. What cannot be read is warned of and left out; the rest is the task."""

    def __init__(self, todo: _Todo, zone: str, item: str, reading: Reading) -> None:
        self._todo = todo
        self._zone = zone
        self._reading = reading
        self._uid = todo.text("UID")
        self._item = self._uid or item

    def read(self) -> None:
        """Add the task to the reading."""
        todo = self._todo
        fields: dict[str, Any] = {
            "title": todo.text("SUMMARY") or "",
            "description": todo.text("DESCRIPTION"),
            "priority": self._priority(),
            "tags": self._tags(),
            "status": self._status(),
        }
        for name, given in (("completed_at", "COMPLETED"), ("created_at", "CREATED")):
            moment = self._moment(given)[0]
            if isinstance(moment, datetime):
                fields[name] = moment
        due, zone = self._due()
        if isinstance(due, datetime):
            fields |= {"due_at": due, "timezone": zone}
        elif due is not None:
            fields["due_date"] = due
        fields["recurrence"] = self._recurrence(due, zone, fields["status"])
        fields["reminders"] = self._reminders(due, zone)
        for name, sentence in _NOT_TAKEN.items():
            if name in todo.properties:
                self._warn(sentence)
        self._reading.add(self._item, self._key(), fields, self._own_id())

    def _warn(self, sentence: str) -> None:
        self._reading.warn(self._item, sentence)

    def _key(self) -> str:
        instance = self._todo.text("RECURRENCE-ID")
        if self._uid:
            return f"ics:{self._uid}" + (f":{instance}" if instance else "")
        written = repr(
            sorted((name, [one.value for one in lines]) for name, lines in self._todo.properties.items())
        )
        return f"ics-digest:{sha256(written.encode()).hexdigest()}"

    def _own_id(self) -> UUID | None:
        """The calendar feed names tasks by their ids: one that comes back is the same."""
        try:
            return UUID(self._uid or "")
        except ValueError:
            return None

    def _priority(self) -> Priority:
        """RFC 5545, 3.8.1.9: 1 is the highest, 9 the lowest, 0 undefined."""
        given = self._todo.text("PRIORITY") or "0"
        if given not in "0123456789":
            self._warn(f"The priority {given!r} is not one of 0 to 9.")
            return Priority.MEDIUM
        number = int(given)
        if number in (0, 5):
            return Priority.MEDIUM
        if number < 5:
            return Priority.URGENT if number <= 2 else Priority.HIGH
        return Priority.LOW

    def _tags(self) -> list[str]:
        lines = self._todo.properties.get("CATEGORIES", [])
        named = list(
            dict.fromkeys(one.strip() for line in lines for one in line.texts(_CATEGORIES_MAX) if one.strip())
        )
        kept = [one for one in named if len(one) <= TAG_MAX][:TAGS_MAX]
        if kept != named:
            self._warn(f"Of its categories {len(named) - len(kept)} are too long or too many.")
        return kept

    def _status(self) -> TaskStatus:
        given = (self._todo.text("STATUS") or "").upper()
        if "COMPLETED" in self._todo.properties or self._todo.text("PERCENT-COMPLETE") == "100":
            given = given if given == "CANCELLED" else "COMPLETED"
        if given not in _STATUSES and given:
            self._warn(f"The status {given!r} is not known.")
        return _STATUSES.get(given, TaskStatus.PENDING)

    def _moment(self, name: str) -> tuple[Moment | None, str]:
        """A date, or an instant with the zone it was told in."""
        line = self._todo.line(name)
        if line is None:
            return None, self._zone
        value = line.value.strip()
        try:
            if _DATE.fullmatch(value):
                return in_reach(date.fromisoformat(value)), self._zone
            if _DATE_TIME.fullmatch(value):
                moment = in_reach(datetime.fromisoformat(value))
                if moment.tzinfo is not None:
                    return moment, self._zone
                zone = self._zone_of(line)
                return resolve(moment, zone), zone
        except ValueError:
            pass
        self._warn(f"The {name} {value!r} is no date or date-time.")
        return None, self._zone

    def _zone_of(self, line: Line) -> str:
        """The IANA zone that a TZID means: by its own name, at the end of a longer one, or by Windows' name."""
        named = line.parameters.get("TZID")
        if named is None:
            return self._zone
        parts = named.rsplit("/", _ZONE_PARTS)[-_ZONE_PARTS:]
        tails = ["/".join(parts[start:]) for start in range(len(parts))]
        for one in (*tails, WINDOWS_TO_OLSON.get(named, "")):
            if one in _ZONES:
                return one
        self._warn(f"The time zone {named!r} is not known: its times are read as {self._zone}.")
        return self._zone

    def _due(self) -> tuple[Moment | None, str]:
        if "DUE" in self._todo.properties:
            return self._moment("DUE")
        start, zone = self._moment("DTSTART")
        if start is not None and "DURATION" in self._todo.properties:
            length = self._duration(self._todo.text("DURATION") or "")
            return (start if length is None else self._after(start, length)), zone
        # A rule counts from somewhere: without a due, from the start.
        return (start if "RRULE" in self._todo.properties else None), zone

    def _duration(self, value: str) -> timedelta | None:
        try:
            return _DURATION.validate_python(value.strip())
        except ValidationError:
            self._warn(f"{value!r} is no duration.")
            return None

    def _instant(self, value: str) -> dict[str, Any] | None:
        try:
            return {"at": resolve(datetime.fromisoformat(value.rstrip("Z")), "UTC")}
        except ValueError:
            self._warn(f"{value!r} is no date-time.")
            return None

    def _after(self, moment: Moment, length: timedelta) -> Moment | None:
        try:
            return moment + length
        except OverflowError:
            self._warn(f"{moment} and {length} lead beyond all dates.")
            return None

    def _recurrence(self, due: Moment | None, zone: str, status: TaskStatus) -> dict[str, Any] | None:
        """The rule as RFC 5545 has it: a day that a month does not have is left out."""
        line = self._todo.line("RRULE")
        if line is None or status in (TaskStatus.COMPLETED, TaskStatus.ARCHIVED):
            return None
        slot = slot_of(due, None, zone) if isinstance(due, datetime) else slot_of(None, due, zone)
        if slot is None:
            self._warn("It recurs and has no due: it comes as a task that does not recur.")
            return None
        try:
            rule = parse_rrule(line.value)
            check_start(rule, slot)
            if rule.freq.value in ("SECONDLY", "MINUTELY"):
                raise RuleError("FREQ", f"a task recurs HOURLY at the most often, not {rule.freq}")
        except RuleError as error:
            self._warn(
                f"Its rule {line.value!r} is not taken ({error}): it comes as a task that does not recur."
            )
            return None
        start = self._moment("DTSTART")[0]
        if start is not None and start != due:
            self._warn("Its rule counts from its start: here it counts from the due.")
        return {"rrule": str(rule), "month_end": MonthEnd.SKIP}

    def _reminders(self, due: Moment | None, zone: str) -> list[dict[str, Any]]:
        if len(self._todo.alarms) > _ALARMS_MAX:
            self._warn(f"Of its {len(self._todo.alarms)} alarms the first {_ALARMS_MAX} are looked at.")
        found = [self._reminder(alarm, due, zone) for alarm in self._todo.alarms[:_ALARMS_MAX]]
        kept = [one for one in found if one is not None]
        if len(kept) > REMINDERS_MAX:
            self._warn(f"Of its {len(kept)} alarms {REMINDERS_MAX} are kept.")
        return kept[:REMINDERS_MAX]

    def _reminder(self, alarm: dict[str, Line], due: Moment | None, zone: str) -> dict[str, Any] | None:
        """An alarm before a due instant is an offset; one beside a date, or after the due, is an instant."""
        trigger = alarm.get("TRIGGER")
        if trigger is None:
            return None
        value = trigger.value.strip()
        if _DATE_TIME.fullmatch(value):
            return self._instant(value)
        after = self._duration(value)
        start = self._moment("DTSTART")[0]
        related = (
            due if trigger.parameters.get("RELATED", "START").upper() == "END" or start is None else start
        )
        if after is None or related is None or due is None:
            if after is not None:
                self._warn("An alarm counts from a due or a start that it does not have.")
            return None
        # A date begins at midnight (RFC 5545, 3.8.6.3).
        began = related if isinstance(related, datetime) else resolve(datetime.combine(related, time()), zone)
        fires = self._after(began, after)
        if not isinstance(fires, datetime):
            return None
        if isinstance(due, datetime) and timedelta() <= due - fires <= timedelta(days=366):
            return {"offset": -after if related == due else due - fires}
        return {"at": fires}
