"""A recurrence in English words made a rule: `every 2nd weekday of the month at 9`.

What is not clearly one rule is refused, with the words that were not understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time

from event_contracts.rrule import RRule, parse_rrule
from recurrence.domain.words import MONTHS, WEEKDAYS

PHRASE_MAX = 200

_CODES = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_WORKING_DAYS = "MO,TU,WE,TH,FR"
_GROUPS = {"weekday": _WORKING_DAYS, "workday": _WORKING_DAYS, "weekend": "SA,SU", "weekend day": "SA,SU"}
_WORKING_DAY_NOUNS = ("weekday", "workday", "working day", "business day")
_WEEKDAY_CODES = {
    name: code
    for day, code in zip(WEEKDAYS, _CODES, strict=True)
    for name in (day.lower(), day[:3].lower(), f"{day.lower()}s")
}
_MONTH_NUMBERS = {
    name: number
    for number, month in enumerate(MONTHS, start=1)
    for name in (month.lower(), month[:3].lower())
}
_ADVERBS = {
    "hourly": "every hour",
    "daily": "every day",
    "weekly": "every week",
    "monthly": "every month",
    "quarterly": "every quarter",
    "yearly": "every year",
    "annually": "every year",
}
_UNITS = {
    "hour": ("HOURLY", 1),
    "day": ("DAILY", 1),
    "week": ("WEEKLY", 1),
    "fortnight": ("WEEKLY", 2),
    "month": ("MONTHLY", 1),
    "quarter": ("MONTHLY", 3),
    "year": ("YEARLY", 1),
}
_NUMBERS = {"": 1, "other": 2, "second": 2, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "last": -1}

_END = re.compile(r"(?P<rest>.+?),? (?:until (?P<day>\d{4}-\d\d-\d\d)|(?:for )?(?P<count>\d{1,6}) times)")
_AT = re.compile(r"(?P<rest>.+?),? at (?P<times>[^a-z]*\d.*|noon|midnight)")
_TIME = re.compile(r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?(?: ?(?P<half>am|pm))?", re.ASCII)
_UNIT = re.compile(
    rf"every (?:(?P<number>\d{{1,4}}|{'|'.join(filter(None, _NUMBERS))})(?:st|nd|rd|th)? )?"
    rf"(?P<unit>{'|'.join(_UNITS)})s?(?: on (?P<on>.+))?"
)
_OF_A_MONTH = re.compile(r"(?:every |on )?(?P<days>.+?) (?:of|in) (?:the|every|each|a) month")
_OF_A_NAMED_MONTH = re.compile(
    rf"(?:every |on )?(?P<days>.+?) (?:of|in) (?P<month>{'|'.join(_MONTH_NUMBERS)})"
)
_WEEKLY = re.compile(r"every (?P<other>other )?(?P<days>.+)")
_YEAR_DAY = (
    re.compile(rf"(?:the )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)? (?P<month>{'|'.join(_MONTH_NUMBERS)})"),
    re.compile(rf"(?P<month>{'|'.join(_MONTH_NUMBERS)}) (?P<day>\d{{1,2}})(?:st|nd|rd|th)?"),
)
_PLACED = re.compile(
    rf"(?:(?P<ordinal>\d{{1,2}}(?:st|nd|rd|th)|{'|'.join(_ORDINALS)}))"
    r"(?P<from_end>(?: to)? last)?(?: (?P<noun>.+))?"
)
_SEPARATOR = re.compile(r",? and |, ?")


class PhraseError(ValueError):
    """Words that are not clearly one rule; `words` are those that were not understood."""

    def __init__(self, words: str) -> None:
        super().__init__(f"not understood: {words!r}")
        self.words = words


@dataclass(frozen=True)
class Phrase:
    """The rule that was said, and the time of day of its start if one was."""

    rule: RRule
    at: time | None = None


def read_phrase(text: str) -> Phrase:
    """Read a recurrence in words, in any letter case. Raises PhraseError, and RuleError for a rule that is none."""
    said = " ".join(text.lower().split()).rstrip(".")
    said, end = _read_end(said)
    said, times = _read_times(said)
    parts = {**_read_days(_ADVERBS.get(said, said).replace("each ", "every ", 1)), **end}
    if len(times) > 1:
        parts["BYHOUR"] = ",".join(str(moment.hour) for moment in times)
        parts["BYMINUTE"] = str(times[0].minute)
    rule = parse_rrule(";".join(f"{name}={value}" for name, value in parts.items()))
    return Phrase(rule, times[0] if len(times) == 1 else None)


def _read_end(said: str) -> tuple[str, dict[str, str]]:
    match = _END.fullmatch(said)
    if match is None:
        return said, {}
    if match["day"]:
        return match["rest"], {"UNTIL": match["day"].replace("-", "")}
    return match["rest"], {"COUNT": match["count"]}


def _read_times(said: str) -> tuple[str, list[time]]:
    match = _AT.fullmatch(said)
    if match is None:
        return said, []
    times = [_time(word) for word in _SEPARATOR.split(match["times"])]
    if len({moment.minute for moment in times}) > 1:
        # BYHOUR and BYMINUTE would give each hour with each minute.
        raise PhraseError(match["times"])
    return match["rest"], times


def _time(word: str) -> time:
    named = {"noon": time(12), "midnight": time(0)}.get(word)
    match = _TIME.fullmatch(word)
    if named is not None or match is None:
        if named is None:
            raise PhraseError(word)
        return named
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    if match["half"]:
        if not 1 <= hour <= 12:
            raise PhraseError(word)
        hour = hour % 12 + (12 if match["half"] == "pm" else 0)
    if hour > 23 or minute > 59:
        raise PhraseError(word)
    return time(hour, minute)


def _read_days(said: str) -> dict[str, str]:
    if match := _UNIT.fullmatch(said):
        return _every_unit(match)
    if match := _OF_A_MONTH.fullmatch(said):
        return {"FREQ": "MONTHLY", **_places(match["days"])}
    if match := _OF_A_NAMED_MONTH.fullmatch(said):
        return {"FREQ": "YEARLY", "BYMONTH": str(_MONTH_NUMBERS[match["month"]]), **_places(match["days"])}
    if match := _WEEKLY.fullmatch(said):
        if (date_of_year := _year_day(match["days"])) and not match["other"]:
            return {"FREQ": "YEARLY", **date_of_year}
        interval = {"INTERVAL": "2"} if match["other"] else {}
        return {"FREQ": "WEEKLY", **interval, "BYDAY": _weekdays(match["days"])}
    raise PhraseError(said)


def _every_unit(match: re.Match[str]) -> dict[str, str]:
    frequency, units = _UNITS[match["unit"]]
    number = match["number"] or ""
    interval = units * (int(number) if number.isdigit() else _NUMBERS[number])
    parts = {"FREQ": frequency, "INTERVAL": str(interval)}
    on = match["on"]
    if on is None:
        return parts
    if frequency == "WEEKLY":
        return parts | {"BYDAY": _weekdays(on)}
    if frequency == "MONTHLY":
        return parts | _places(on)
    date_of_year = _year_day(on) if frequency == "YEARLY" else None
    if date_of_year is None:
        raise PhraseError(f"on {on}")
    return parts | date_of_year


def _weekdays(said: str) -> str:
    if said.removesuffix("s") in _GROUPS:
        return _GROUPS[said.removesuffix("s")]
    names = _SEPARATOR.split(said)
    unknown = [name for name in names if name not in _WEEKDAY_CODES]
    if unknown:
        raise PhraseError(unknown[0])
    return ",".join(_WEEKDAY_CODES[name] for name in names)


def _year_day(said: str) -> dict[str, str] | None:
    match = next((match for pattern in _YEAR_DAY if (match := pattern.fullmatch(said))), None)
    if match is None:
        return None
    return {"BYMONTH": str(_MONTH_NUMBERS[match["month"]]), "BYMONTHDAY": match["day"]}


def _places(said: str) -> dict[str, str]:
    """Days by their place in a month: `the 1st and 15th`, `the first and last Monday`, `the 2nd weekday`."""
    positions: list[int] = []
    noun: str | None = None
    # From the right: in `first and last Monday` the noun stands at the last one alone.
    for item in reversed(_SEPARATOR.split(said)):
        match = _PLACED.fullmatch(item.removeprefix("the "))
        if match is None or (match["noun"] and noun not in (None, match["noun"])):
            raise PhraseError(item)
        noun = match["noun"] or noun or "day"
        number = _ORDINALS.get(match["ordinal"]) or int(match["ordinal"][:-2])
        positions.append(-number if match["from_end"] else number)
    text = ",".join(str(position) for position in positions)
    if noun == "day":
        return {"BYMONTHDAY": text}
    if noun in _WORKING_DAY_NOUNS:
        return {"BYDAY": _WORKING_DAYS, "BYSETPOS": text}
    if noun not in _WEEKDAY_CODES:
        raise PhraseError(str(noun))
    return {"BYDAY": ",".join(f"{position}{_WEEKDAY_CODES[noun]}" for position in positions)}
