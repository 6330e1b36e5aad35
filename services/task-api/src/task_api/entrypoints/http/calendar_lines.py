"""The lines of iCalendar (RFC 5545, 3.1): escaped, folded, ended with CRLF; and a time zone as they describe it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

FIRST_YEAR, LAST_YEAR = 1970, 2100
"""The years whose clock changes are told; a moment outside them is written in UTC."""
_FOLD_OCTETS = 75
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NEWLINE = re.compile(r"\r\n?")
_ESCAPED = str.maketrans({"\\": "\\\\", ";": "\\;", ",": "\\,", "\n": "\\n"})
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


def text(value: str) -> str:
    """Give a TEXT value (RFC 5545, 3.3.11); control characters have no place in one and are left out."""
    return _CONTROL.sub("", _NEWLINE.sub("\n", value)).translate(_ESCAPED)


def utc(moment: datetime) -> str:
    """Give an instant as UTC (form 2 of RFC 5545, 3.3.5), to the second."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def day(value: date) -> str:
    """Give a DATE value."""
    return value.strftime("%Y%m%d")


def local(moment: datetime) -> str:
    """Give the wall-clock time of a moment, to the second."""
    return moment.strftime("%Y%m%dT%H%M%S")


def duration(value: timedelta) -> str:
    """Give a DURATION that is not negative: days are days of the calendar (RFC 5545, 3.3.6), the rest is exact."""
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days = f"{value.days}D" if value.days else ""
    rest = "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if n)
    if not days and not rest:
        return "PT0S"
    # Hours and seconds may not stand side by side without the minutes between them.
    if hours and seconds and not minutes:
        rest = f"{hours}H0M{seconds}S"
    return f"P{days}" + (f"T{rest}" if rest else "")


def folded(line: str) -> str:
    """Give a line as it is sent: 75 octets at the most, never cut inside a character, ended with CRLF."""
    encoded = line.encode()
    if len(encoded) <= _FOLD_OCTETS:
        return line + "\r\n"
    pieces = []
    start, room = 0, _FOLD_OCTETS
    while start < len(encoded):
        end = min(start + room, len(encoded))
        while end < len(encoded) and encoded[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(encoded[start:end].decode())
        start, room = end, _FOLD_OCTETS - 1
    return "\r\n ".join(pieces) + "\r\n"


@lru_cache(maxsize=64)
def zone_lines(name: str, first: int, last: int) -> tuple[str, ...]:
    """Give the VTIMEZONE of a zone with the clock changes of the years `first` to `last`."""
    zone = ZoneInfo(name)
    begin = datetime(first, 1, 1, tzinfo=zone)
    lines = ["BEGIN:VTIMEZONE", f"TZID:{name}"]
    lines += _observance(begin, begin.utcoffset(), [begin])
    groups: dict[tuple[timedelta | None, timedelta | None, str | None, bool], list[datetime]] = {}
    for before, after in _changes(zone, first, last):
        kind = (before.utcoffset(), after.utcoffset(), after.tzname(), bool(after.dst()))
        groups.setdefault(kind, []).append(after)
    for (old, *_), onsets in groups.items():
        lines += _observance(onsets[0], old, onsets)
    return (*lines, "END:VTIMEZONE")


def _observance(after: datetime, old: timedelta | None, onsets: list[datetime]) -> list[str]:
    """One kind of clock change; its onsets are told by the clock that was valid until then (RFC 5545, 3.6.5)."""
    kind = "DAYLIGHT" if after.dst() else "STANDARD"
    was = old or timedelta()
    told = [local(onset.astimezone(UTC).replace(tzinfo=None) + was) for onset in onsets]
    return [
        f"BEGIN:{kind}",
        f"DTSTART:{told[0]}",
        *(f"RDATE:{onset}" for onset in told[1:]),
        f"TZOFFSETFROM:{_offset(was)}",
        f"TZOFFSETTO:{_offset(after.utcoffset() or timedelta())}",
        f"TZNAME:{text(after.tzname() or 'LMT')}",
        f"END:{kind}",
    ]


def _changes(zone: ZoneInfo, first: int, last: int) -> Iterator[tuple[datetime, datetime]]:
    """The moments at which the clock of a zone changes, each as (the second before, the first one after)."""
    before = datetime(first, 1, 1, tzinfo=UTC)
    end = datetime(last + 1, 1, 1, tzinfo=UTC)
    while before < end:
        after = before + _DAY
        if _clock(zone, before) != _clock(zone, after):
            low, high = before, after
            while high - low > _SECOND:
                middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
                low, high = (middle, high) if _clock(zone, middle) == _clock(zone, before) else (low, middle)
            yield low.astimezone(zone), high.astimezone(zone)
        before = after


def _clock(zone: ZoneInfo, moment: datetime) -> tuple[timedelta | None, str | None, bool]:
    there = moment.astimezone(zone)
    return there.utcoffset(), there.tzname(), bool(there.dst())


def _offset(value: timedelta) -> str:
    seconds = int(abs(value).total_seconds())
    sign = "-" if value < timedelta() else "+"
    rest = f"{seconds % 60:02}" if seconds % 60 else ""
    return f"{sign}{seconds // 3600:02}{seconds // 60 % 60:02}{rest}"


_NAME = r"[A-Za-z0-9-]+"
_GIVEN = r'(?:"[^"]*"|[^";:,]*)'
_LINE = re.compile(rf"({_NAME})((?:;{_NAME}={_GIVEN}(?:,{_GIVEN})*)*):(.*)", re.DOTALL)
_PARAMETER = re.compile(r';([A-Za-z0-9-]+)=("[^"]*"|[^;]*)')
_LINE_END = re.compile(r"\r?\n")
_FOLD = re.compile(r"\r?\n[ \t]")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_COMMA = re.compile(r"(?<!\\)((?:\\\\)*),")


@dataclass(frozen=True, slots=True)
class Line:
    """A property: its name in capitals, its parameters, its value as it is written."""

    name: str
    parameters: dict[str, str]
    value: str

    def text(self) -> str:
        """Give the value as TEXT."""
        return _unescaped(self.value)

    def texts(self, most: int) -> list[str]:
        """Give the value as a list of TEXT, its first `most`."""
        return [_unescaped(one) for one in _COMMA.sub("\\1\n", self.value, count=most).split("\n")[:most]]


def read_lines(document: str) -> Iterator[Line]:
    """Read the lines of a document, unfolded; bare newlines will do, and what is no property is passed over."""
    for raw in _LINE_END.split(_FOLD.sub("", document)):
        found = _LINE.fullmatch(raw)
        if found:
            name, parameters, value = found.groups()
            given = {key.upper(): value.strip('"') for key, value in _PARAMETER.findall(parameters)}
            yield Line(name.upper(), given, value)


def _unescaped(value: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] in "nN" else found[1], value)
