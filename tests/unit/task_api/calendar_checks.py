"""A reader of iCalendar that takes RFC 5545 at its word: what breaks a MUST of it fails an assertion."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Any

import icalendar
from dateutil.rrule import rruleset, rrulestr

_LINE = re.compile(r'([A-Z][A-Z0-9-]*)((?:;[A-Z0-9-]+=(?:"[^"]*"|[^;:,"]*))*):(.*)', re.DOTALL)
_TEXT = re.compile(r"(?:[^\\;,\x00-\x08\x0a-\x1f\x7f]|\\[\\;,nN])*")
_DATE = re.compile(r"\d{8}")
_LOCAL = re.compile(r"\d{8}T\d{6}")
_UTC = re.compile(r"\d{8}T\d{6}Z")
_DURATION = re.compile(r"[+-]?P(\d+W|(?=.)(\d+D)?(T(?=.)(\d+H)?((?<![0-9]H)|\d+M)?(\d+S)?)?)")
_TEXTS = frozenset({"SUMMARY", "DESCRIPTION", "UID", "NAME", "PRODID", "TZNAME"})
_ONCE = (
    {"UID", "DTSTAMP", "CREATED", "LAST-MODIFIED", "SEQUENCE", "SUMMARY", "DESCRIPTION", "PRIORITY", "STATUS"}
    | {"PERCENT-COMPLETE", "COMPLETED", "DTSTART", "DUE", "RRULE", "ACTION", "TRIGGER", "PRODID", "VERSION"}
    | {"CALSCALE", "TZID", "TZOFFSETFROM", "TZOFFSETTO"}
)
_NEEDED = {
    "VCALENDAR": {"PRODID", "VERSION"},
    "VTODO": {"UID", "DTSTAMP"},
    "VALARM": {"ACTION", "TRIGGER", "DESCRIPTION"},
    "VTIMEZONE": {"TZID"},
    "STANDARD": {"DTSTART", "TZOFFSETFROM", "TZOFFSETTO"},
    "DAYLIGHT": {"DTSTART", "TZOFFSETFROM", "TZOFFSETTO"},
}
_INSIDE = {
    "VTODO": "VCALENDAR",
    "VTIMEZONE": "VCALENDAR",
    "VALARM": "VTODO",
    "STANDARD": "VTIMEZONE",
    "DAYLIGHT": "VTIMEZONE",
}


@dataclass
class Component:
    """A component with its properties as (parameters, value), in their order."""

    name: str
    properties: dict[str, list[tuple[dict[str, str], str]]] = field(default_factory=dict)
    parts: list[Component] = field(default_factory=list)

    def value(self, name: str) -> str:
        ((_, value),) = self.properties[name]
        return value

    def text(self, name: str) -> str:
        """A TEXT value as it was meant."""
        return re.sub(r"\\(.)", lambda found: "\n" if found[1] in "nN" else found[1], self.value(name))

    def all(self, name: str) -> Iterator[Component]:
        for part in self.parts:
            if part.name == name:
                yield part
            yield from part.all(name)


def content_lines(document: str) -> list[str]:
    """The lines of RFC 5545, 3.1: CRLF at the end of each, 75 octets at the most, then unfolded."""
    assert document.endswith("\r\n")
    physical = document.split("\r\n")[:-1]
    for line in physical:
        assert "\r" not in line
        assert "\n" not in line
        assert len(line.encode()) <= 75, line
    return "\r\n".join(physical).replace("\r\n ", "").split("\r\n")


def parsed(document: str) -> Component:
    """Read a document. Raises AssertionError for what is not valid."""
    open_ones: list[Component] = []
    whole: Component | None = None
    for line in content_lines(document):
        found = _LINE.fullmatch(line)
        assert found, line
        name, parameters, value = found.groups()
        if name == "BEGIN":
            assert whole is None
            open_ones.append(Component(value))
            if value in _INSIDE:
                assert open_ones[-2].name == _INSIDE[value]
        elif name == "END":
            done = open_ones.pop()
            assert done.name == value
            _check(done)
            if open_ones:
                open_ones[-1].parts.append(done)
            else:
                whole = done
        else:
            given = dict(one.split("=", 1) for one in parameters.split(";")[1:])
            open_ones[-1].properties.setdefault(name, []).append((given, value))
    assert whole is not None
    assert whole.name == "VCALENDAR"
    defined = {zone.value("TZID") for zone in whole.all("VTIMEZONE")}
    for todo in whole.all("VTODO"):
        for name in ("DUE", "DTSTART", "EXDATE"):
            for given, _ in todo.properties.get(name, []):
                assert given.get("TZID") in defined | {None}
    return whole


def _check(component: Component) -> None:
    given = component.properties
    assert _NEEDED[component.name] <= set(given), component.name
    for name, values in given.items():
        assert name not in _ONCE or len(values) == 1, name
        for parameters, value in values:
            _check_value(name, parameters, value)
    if "RRULE" in given:
        assert "DTSTART" in given
    for left_out in given.get("EXDATE", []):
        assert "RRULE" in given
        _check_left_out(left_out, given["DTSTART"][0])
    if "DTSTART" in given and "DUE" in given:
        (start, _), (due, _) = given["DTSTART"][0], given["DUE"][0]
        assert start == due
    if component.name == "VTODO":
        assert ("COMPLETED" in given) == (component.value("STATUS") == "COMPLETED")
        assert 0 <= int(component.value("PRIORITY")) <= 9


def _check_left_out(left_out: tuple[dict[str, str], str], start: tuple[dict[str, str], str]) -> None:
    """EXDATE is of the kind and in the zone of DTSTART (RFC 5545, 3.8.5.1), which it does not take away."""
    slots = left_out[1].split(",")
    assert left_out[0] == start[0]
    assert len(set(slots)) == len(slots)
    assert start[1] not in slots
    assert {_kind(slot) for slot in slots} == {_kind(start[1])}


def _kind(value: str) -> re.Pattern[str]:
    """Of what kind a DATE or DATE-TIME is."""
    (kind,) = (one for one in (_DATE, _LOCAL, _UTC) if one.fullmatch(value))
    return kind


def _check_value(name: str, parameters: dict[str, str], value: str) -> None:
    if name in _TEXTS:
        assert _TEXT.fullmatch(value), (name, value)
    elif name == "CATEGORIES":
        assert all(_TEXT.fullmatch(one) for one in re.split(r"(?<!\\)(?:\\\\)*,", value))
    elif name in ("DTSTAMP", "CREATED", "LAST-MODIFIED", "COMPLETED"):
        assert _UTC.fullmatch(value), (name, value)
    elif name in ("DUE", "DTSTART") and parameters.get("VALUE") == "DATE":
        assert _DATE.fullmatch(value)
    elif name == "DUE":
        assert (_LOCAL if "TZID" in parameters else _UTC).fullmatch(value)
    elif name == "TRIGGER" and parameters.get("VALUE") == "DATE-TIME":
        assert _UTC.fullmatch(value)
    elif name == "TRIGGER":
        assert parameters.get("RELATED") == "END"
        assert _DURATION.fullmatch(value), value


def expanded(document: str, count: int) -> list[datetime]:
    """The first dates of the one task that recurs, as the icalendar package reads it and python-dateutil expands it;
    all-day ones at midnight."""
    calendar: Any = icalendar.Calendar.from_ical(document)
    (todo,) = (one for one in calendar.walk("VTODO") if "RRULE" in one)
    start = _at_midnight(todo["DTSTART"].dt)
    dates: Any = rruleset()
    dates.rrule(rrulestr(todo["RRULE"].to_ical().decode(), dtstart=start))
    for left_out in todo["EXDATE"].dts if "EXDATE" in todo else ():
        dates.exdate(_at_midnight(left_out.dt))
    return list(islice(dates, count))


def _at_midnight(moment: date) -> datetime:
    return moment if isinstance(moment, datetime) else datetime.combine(moment, time.min)


def offset_at(zone: Component, wall: datetime) -> timedelta:
    """What a VTIMEZONE says of a wall-clock time: the observance with the latest onset before it (RFC 5545, 3.6.5)."""
    onsets = [
        (datetime.fromisoformat(moment), part)
        for part in zone.parts
        for name in ("DTSTART", "RDATE")
        for _, moment in part.properties.get(name, [])
    ]
    _, part = max(((at, part) for at, part in onsets if at <= wall), key=lambda one: one[0])
    sign, digits = part.value("TZOFFSETTO")[0], part.value("TZOFFSETTO")[1:]
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]), seconds=int(digits[4:] or 0))
    return -offset if sign == "-" else offset
