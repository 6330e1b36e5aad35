"""The grammar of a recurrence rule: the RECUR value of RFC 5545, section 3.3.10, as one pure type.

It reads and checks; which dates a rule gives is the recurrence service's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, NoReturn

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from event_contracts.values import Payload, parse_local

TEXT_MAX = 500
INTERVAL_MAX = 1_000
COUNT_MAX = 100_000


class Frequency(StrEnum):
    SECONDLY = "SECONDLY"
    MINUTELY = "MINUTELY"
    HOURLY = "HOURLY"
    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"
    YEARLY = "YEARLY"


class Weekday(StrEnum):
    """A day of the week, Monday first, in the RFC's letters."""

    MO = "MO"
    TU = "TU"
    WE = "WE"
    TH = "TH"
    FR = "FR"
    SA = "SA"
    SU = "SU"

    @property
    def number(self) -> int:
        """0 for Monday to 6 for Sunday, as `date.weekday` counts."""
        return _WEEKDAYS.index(self)


_WEEKDAYS = tuple(Weekday)


class WeekdayOrdinal(Payload):
    """A BYDAY entry: `MO` is every Monday (`ordinal` None), `2MO` the second, `-1FR` the last Friday of the period."""

    weekday: Weekday
    ordinal: int | None = None

    def __str__(self) -> str:
        return f"{self.ordinal or ''}{self.weekday}"


class RuleError(ValueError):
    """A rule that is not valid. `part` names the part at fault (`BYDAY`), `message` says what is wrong with it."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(f"{part}: {message}")
        self.part = part
        self.message = message


class RRule(Payload):
    """A parsed rule. `until` is a local date or date-time text; `until_is_utc` says that it was written with Z."""

    freq: Frequency
    interval: int = 1
    count: int | None = None
    until: str | None = None
    until_is_utc: bool = False
    bysecond: tuple[int, ...] = ()
    byminute: tuple[int, ...] = ()
    byhour: tuple[int, ...] = ()
    byday: tuple[WeekdayOrdinal, ...] = ()
    bymonthday: tuple[int, ...] = ()
    byyearday: tuple[int, ...] = ()
    byweekno: tuple[int, ...] = ()
    bymonth: tuple[int, ...] = ()
    bysetpos: tuple[int, ...] = ()
    wkst: Weekday = Weekday.MO

    def __str__(self) -> str:
        """The canonical text: parts in the RFC's order, defaults left out. Parsing it gives an equal rule."""
        parts = [f"FREQ={self.freq}"]
        if self.until is not None:
            compact = self.until.replace("-", "").replace(":", "")
            parts.append(f"UNTIL={compact}{'Z' if self.until_is_utc else ''}")
        if self.count is not None:
            parts.append(f"COUNT={self.count}")
        if self.interval != 1:
            parts.append(f"INTERVAL={self.interval}")
        for name in _LISTS:
            values = getattr(self, name.lower())
            if values:
                parts.append(f"{name}={','.join(str(value) for value in values)}")
        if self.wkst is not Weekday.MO:
            parts.append(f"WKST={self.wkst}")
        return ";".join(parts)


_UNTIL = re.compile(r"(\d{4})(\d{2})(\d{2})(?:T(\d{2})(\d{2})(\d{2})(Z?))?", re.ASCII)
_BYDAY = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,6}", re.ASCII)


def _refuse(part: str, message: str) -> NoReturn:
    raise RuleError(part, message)


def _number(part: str, text: str, low: int, high: int) -> int:
    if not _NUMBER.fullmatch(text) or not low <= int(text) <= high:
        _refuse(part, f"{text!r} is not a whole number from {low} to {high}")
    return int(text)


def _numbers(low: int, high: int, *, signed: bool = False) -> Callable[[str, str], tuple[int, ...]]:
    def read(part: str, text: str) -> tuple[int, ...]:
        values = [_number(part, item, -high if signed else low, high) for item in text.split(",")]
        if signed and 0 in values:
            _refuse(part, "0 is no position: count from 1, or from -1 at the end")
        return tuple(sorted(set(values)))

    return read


def _byday(part: str, text: str) -> tuple[WeekdayOrdinal, ...]:
    days = []
    for item in text.split(","):
        match = _BYDAY.fullmatch(item)
        if match is None:
            _refuse(part, f"{item!r} is not a weekday like MO, 2TU or -1FR")
        ordinal = int(match[1]) if match[1] else None
        if ordinal is not None and not 1 <= abs(ordinal) <= 53:
            _refuse(part, f"{item!r}: the position is from 1 to 53 or -1 to -53")
        days.append(WeekdayOrdinal(weekday=Weekday(match[2]), ordinal=ordinal))
    return tuple(sorted(set(days), key=lambda day: (day.ordinal or 0, day.weekday.number)))


_LISTS: dict[str, Callable[[str, str], tuple[object, ...]]] = {
    "BYSECOND": _numbers(0, 60),
    "BYMINUTE": _numbers(0, 59),
    "BYHOUR": _numbers(0, 23),
    "BYDAY": _byday,
    "BYMONTHDAY": _numbers(1, 31, signed=True),
    "BYYEARDAY": _numbers(1, 366, signed=True),
    "BYWEEKNO": _numbers(1, 53, signed=True),
    "BYMONTH": _numbers(1, 12),
    "BYSETPOS": _numbers(1, 366, signed=True),
}


def _until(text: str) -> tuple[str, bool]:
    match = _UNTIL.fullmatch(text)
    if match is None:
        _refuse("UNTIL", f"{text!r} is not a date like 20261231 or a date-time like 20261231T170000Z")
    year, month, day, hour, minute, second, zulu = match.groups()
    local = f"{year}-{month}-{day}" + (f"T{hour}:{minute}:{second}" if hour else "")
    try:
        parse_local(local)
    except ValueError:
        _refuse("UNTIL", f"{text!r} is not a date that exists")
    return local, zulu == "Z"


def _split(text: str) -> dict[str, str]:
    body = text.strip().upper().removeprefix("RRULE:")
    if len(body) > TEXT_MAX:
        _refuse("RRULE", f"longer than {TEXT_MAX} characters")
    parts: dict[str, str] = {}
    for piece in body.split(";"):
        name, equals, value = piece.partition("=")
        if not equals or not value:
            _refuse(
                name or "RRULE", "a rule is NAME=VALUE pairs parted by semicolons, like FREQ=WEEKLY;BYDAY=MO"
            )
        if name in parts:
            _refuse(name, "given twice")
        parts[name] = value
    return parts


def parse_rrule(text: str) -> RRule:
    """Read a rule, with or without the `RRULE:` prefix, in any letter case.

    Raises RuleError for what RFC 5545, 3.3.10 does not allow; the error names the part at fault.
    """
    parts = _split(text)
    frequency = parts.pop("FREQ", None)
    if frequency is None:
        _refuse("FREQ", "missing: say how often, like FREQ=DAILY")
    if frequency not in Frequency.__members__:
        _refuse("FREQ", f"{frequency!r} is none of {', '.join(Frequency)}")
    fields: dict[str, object] = {"freq": Frequency(frequency)}
    for name, value in parts.items():
        if name in _LISTS:
            fields[name.lower()] = _LISTS[name](name, value)
        elif name == "INTERVAL":
            fields["interval"] = _number(name, value, 1, INTERVAL_MAX)
        elif name == "COUNT":
            fields["count"] = _number(name, value, 1, COUNT_MAX)
        elif name == "UNTIL":
            fields["until"], fields["until_is_utc"] = _until(value)
        elif name == "WKST":
            if value not in Weekday.__members__:
                _refuse(name, f"{value!r} is not a weekday like MO")
            fields["wkst"] = Weekday(value)
        else:
            _refuse(name, "not a part of a recurrence rule")
    rule = RRule.model_validate(fields)
    _check_together(rule)
    return rule


def _check_together(rule: RRule) -> None:
    """The parts that RFC 5545, 3.3.10 does not allow side by side."""
    freq = rule.freq
    if rule.count is not None and rule.until is not None:
        _refuse("UNTIL", "COUNT and UNTIL exclude each other")
    if any(day.ordinal is not None for day in rule.byday):
        if freq not in (Frequency.MONTHLY, Frequency.YEARLY):
            _refuse("BYDAY", f"a position like 2MO needs FREQ=MONTHLY or YEARLY, not {freq}")
        if freq is Frequency.YEARLY and rule.byweekno:
            _refuse("BYDAY", "a position like 2MO cannot stand beside BYWEEKNO")
        if freq is Frequency.MONTHLY and any(abs(day.ordinal or 0) > 5 for day in rule.byday):
            _refuse("BYDAY", "no month has more than 5 of a weekday")
    if rule.bymonthday and freq is Frequency.WEEKLY:
        _refuse("BYMONTHDAY", "cannot stand in a weekly rule")
    if rule.byyearday and freq in (Frequency.DAILY, Frequency.WEEKLY, Frequency.MONTHLY):
        _refuse("BYYEARDAY", f"cannot stand in a {freq} rule")
    if rule.byweekno and freq is not Frequency.YEARLY:
        _refuse("BYWEEKNO", "stands in a YEARLY rule only")
    if rule.bysetpos and not any(getattr(rule, name.lower()) for name in _LISTS if name != "BYSETPOS"):
        _refuse("BYSETPOS", "picks from another BY part, and there is none")


def check_start(rule: RRule, start: str) -> None:
    """Check a rule against the form of its start: an all-day series has no part finer than a day.

    `start` is a local date or date-time text. Raises RuleError.
    """
    if isinstance(parse_local(start), datetime):
        return
    if rule.freq in (Frequency.SECONDLY, Frequency.MINUTELY, Frequency.HOURLY):
        _refuse("FREQ", f"{rule.freq} needs a time of day: give due_at instead of due_date")
    for name, values in (("BYHOUR", rule.byhour), ("BYMINUTE", rule.byminute), ("BYSECOND", rule.bysecond)):
        if values:
            _refuse(name, "needs a time of day: give due_at instead of due_date")


def _as_validation_error(error: RuleError) -> PydanticCustomError:
    return PydanticCustomError("rrule", "{part}: {reason}", {"part": error.part, "reason": error.message})


def _canonical(text: str) -> str:
    try:
        return str(parse_rrule(text))
    except RuleError as error:
        raise _as_validation_error(error) from error


def _canonical_for_tasks(text: str) -> str:
    try:
        rule = parse_rrule(text)
        if rule.freq in (Frequency.SECONDLY, Frequency.MINUTELY):
            _refuse("FREQ", f"a task recurs HOURLY at the most often, not {rule.freq}")
    except RuleError as error:
        raise _as_validation_error(error) from error
    return str(rule)


RRuleText = Annotated[
    str,
    Field(max_length=TEXT_MAX + len("RRULE:"), examples=["FREQ=WEEKLY;BYDAY=MO"]),
    AfterValidator(_canonical),
]
"""A rule as text, checked and brought to its canonical form."""

TaskRRuleText = Annotated[
    str,
    Field(max_length=TEXT_MAX + len("RRULE:"), examples=["FREQ=WEEKLY;BYDAY=MO"]),
    AfterValidator(_canonical_for_tasks),
]
"""A rule that a task may have: HOURLY or longer."""
