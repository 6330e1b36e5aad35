"""The dates that Todoist writes in words: those that mean one thing clearly, and no other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_TIME = r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2})(?::\d{2})?)?\s*(?P<half>am|pm)?"
_AT = rf"(?:(?:\s+at|[t,]|\s)\s*{_TIME})?"
_DATES = tuple(
    re.compile(pattern + _AT, re.IGNORECASE | re.ASCII)
    for pattern in (
        r"(?P<year>\d{4})-(?P<number>\d{2})-(?P<day>\d{2})",
        rf"{_DAY}\s+{_MONTH},?\s+(?P<year>\d{{4}})",
        rf"{_MONTH}\s+{_DAY},?\s+(?P<year>\d{{4}})",
    )
)

_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_LONG_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NAMES = {
    **dict(zip(_LONG_NAMES, _WEEKDAYS, strict=True)),
    **{name[:3]: code for name, code in zip(_LONG_NAMES, _WEEKDAYS, strict=True)},
}
_UNITS = {"day": "DAILY", "week": "WEEKLY", "month": "MONTHLY", "year": "YEARLY"}
_ADVERBS = {"daily": "day", "weekly": "week", "monthly": "month", "yearly": "year", "annually": "year"}
_EVERY = re.compile(r"ev(?:ery)?(?P<completion>!)?\s+(?P<what>.+)")
_TAIL = re.compile(rf"(?P<what>.*?)(?:\s+at\s+|\s+@\s*){_TIME}")
_INTERVAL = re.compile(r"(?:(?P<number>\d{1,3})|(?P<other>other)|)\s*(?P<unit>day|week|month|year)s?")
_MONTH_DAY = re.compile(r"(?P<day>\d{1,2})(?:st|nd|rd|th)")
_YEAR_DAY = tuple(re.compile(pattern) for pattern in (rf"{_DAY}\s+{_MONTH}", rf"{_MONTH}\s+{_DAY}"))
_YEARS_AHEAD = 5


@dataclass(frozen=True, slots=True)
class Phrase:
    """A recurrence in words: its rule, the time of day if one was said, and which days its first date may be."""

    rrule: str
    at: time | None = None
    after_completion: bool = False
    weekdays: frozenset[int] = frozenset()
    month_day: int | None = None
    month: int | None = None

    def takes(self, day: date) -> bool:
        """Whether a day can be the first one."""
        if self.month_day == -1:
            return (day + timedelta(days=1)).day == 1
        return (
            (not self.weekdays or day.weekday() in self.weekdays)
            and (self.month_day is None or day.day == self.month_day)
            and (self.month is None or day.month == self.month)
        )


def read_date(said: str) -> date | datetime | None:
    """Read a date, or a local date-time where a time was said; None for what is neither."""
    for pattern in _DATES:
        found = pattern.fullmatch(said.strip())
        if found is None:
            continue
        parts = found.groupdict()
        month = int(parts["number"]) if parts.get("number") else _MONTHS.index(parts["month"].lower()) + 1
        at = _time(parts)
        try:
            day = date(int(parts["year"]), month, int(parts["day"]))
        except ValueError:
            return None
        if parts["hour"] is None:
            return day
        return None if at is None else datetime.combine(day, at)
    return None


def read_phrase(said: str) -> Phrase | None:
    """Read a recurrence like `every 2 weeks`, `every Mon, Fri at 9` or `every 15th`; None for what is not clear."""
    text = " ".join(said.lower().split())
    at = None
    tail = _TAIL.fullmatch(text)
    if tail is not None:
        at = _time(tail.groupdict())
        text = tail["what"]
        if at is None:
            return None
    if text in _ADVERBS:
        text = f"every {_ADVERBS[text]}"
    every = _EVERY.fullmatch(text)
    if every is None:
        return None
    return _every(every["what"], at, after_completion=every["completion"] is not None)


def _every(what: str, at: time | None, *, after_completion: bool) -> Phrase | None:
    if what in ("weekday", "workday"):
        return Phrase("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", at, after_completion, frozenset(range(5)))
    if what in ("last day", "last day of the month"):
        return Phrase("FREQ=MONTHLY;BYMONTHDAY=-1", at, after_completion, month_day=-1)
    interval = _INTERVAL.fullmatch(what)
    if interval is not None:
        number = 2 if interval["other"] else int(interval["number"] or 1)
        rule = f"FREQ={_UNITS[interval['unit']]}" + (f";INTERVAL={number}" if number != 1 else "")
        return Phrase(rule, at, after_completion) if number else None
    names = [name.strip() for name in re.split(r",|\band\b", what) if name.strip()]
    if names and all(name in _NAMES for name in names):
        days = sorted({_WEEKDAYS.index(_NAMES[name]) for name in names})
        rule = f"FREQ=WEEKLY;BYDAY={','.join(_WEEKDAYS[day] for day in days)}"
        return Phrase(rule, at, after_completion, frozenset(days))
    month_day = _MONTH_DAY.fullmatch(what)
    if month_day is not None and 1 <= int(month_day["day"]) <= 31:
        number = int(month_day["day"])
        return Phrase(f"FREQ=MONTHLY;BYMONTHDAY={number}", at, after_completion, month_day=number)
    for pattern in _YEAR_DAY:
        found = pattern.fullmatch(what)
        if found is not None and 1 <= int(found["day"]) <= 31:
            month = _MONTHS.index(found["month"][:3]) + 1
            rule = f"FREQ=YEARLY;BYMONTHDAY={int(found['day'])};BYMONTH={month}"
            return Phrase(rule, at, after_completion, month_day=int(found["day"]), month=month)
    return None


@lru_cache(maxsize=1024)
def first_slot(phrase: Phrase, now: datetime, zone: str) -> date | datetime | None:
    """Give the first date of a recurrence that is not over at `now`, local where a time was said.

    The file does not say where the person was in it. None for a day that does not come, like 31 February.
    """
    local = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    first = local.date()
    if phrase.at is not None and datetime.combine(first, phrase.at) < local:
        first += timedelta(days=1)
    for ahead in range(_YEARS_AHEAD * 366):
        day = first + timedelta(days=ahead)
        if phrase.takes(day):
            return day if phrase.at is None else datetime.combine(day, phrase.at)
    return None


def _time(parts: dict[str, str | None]) -> time | None:
    hour, minute, half = parts.get("hour"), parts.get("minute"), (parts.get("half") or "").lower()
    if hour is None:
        return None
    number = int(hour)
    if half:
        if not 1 <= number <= 12:
            return None
        number = number % 12 + (12 if half == "pm" else 0)
    try:
        return time(number, int(minute or 0))
    except ValueError:
        return None
