"""A rule in plain English."""

from __future__ import annotations

from datetime import date, datetime, time
from itertools import islice, product, starmap

from event_contracts.rrule import Frequency, RRule
from event_contracts.series import Anchor, MonthEnd
from event_contracts.values import parse_local
from recurrence.domain.calendar_days import DayParts, day_parts
from recurrence.domain.series import Series
from recurrence.domain.words import MONTHS, WEEKDAYS, listed, ordinal

_UNITS = {
    Frequency.SECONDLY: "second",
    Frequency.MINUTELY: "minute",
    Frequency.HOURLY: "hour",
    Frequency.DAILY: "day",
    Frequency.WEEKLY: "week",
    Frequency.MONTHLY: "month",
    Frequency.YEARLY: "year",
}
_WORKDAYS = tuple((number, None) for number in range(5))
_SHORTEST_MONTH = 28
_TIMES_MAX = 6
_SECONDS_OF_A_MINUTE = 60


def describe(series: Series) -> str:
    """`Every 2 weeks on Monday and Thursday`; what the rule leaves open is told as the start fills it in.

    Counted from completion it is told as it stands, for each completion fills it in anew.
    """
    rule = series.rule
    start = None if series.policies.anchor is Anchor.COMPLETION else series.start
    parts = day_parts(rule, start, series.policies.month_end)
    if rule.freq is Frequency.WEEKLY and rule.interval == 1 and parts.weekdays == _WORKDAYS:
        text = "Every weekday" + _months(rule)
    else:
        text = _every(rule) + _days(rule, parts, series.policies.month_end)
    if rule.bysetpos and not _picks_workdays(rule, parts):
        text += f", of these the {listed([ordinal(number) for number in rule.bysetpos])}"
    return text + _times(series) + _end(rule)


def _every(rule: RRule) -> str:
    unit = _UNITS[rule.freq]
    return f"Every {unit}" if rule.interval == 1 else f"Every {rule.interval} {unit}s"


def _days(rule: RRule, parts: DayParts, month_end: MonthEnd) -> str:
    yearly_dates = rule.freq is Frequency.YEARLY and parts.months and parts.month_days and not parts.weekdays
    if yearly_dates and len(parts.months) == 1 and parts.month_days[0] > 0:
        days = listed([str(day) for day in parts.month_days])
        return f" on {days} {MONTHS[parts.months[0] - 1]}" + _year_days(parts) + _weeks(parts)
    text = ""
    if _picks_workdays(rule, parts):
        text += f" on the {listed([ordinal(number) for number in rule.bysetpos])} weekday"
    elif parts.weekdays:
        text += f" on {listed([_weekday(*day) for day in parts.weekdays])}"
        if rule.freq is Frequency.YEARLY and not parts.months and parts.weekdays[0][1] is not None:
            text += " of the year"
    if parts.month_days:
        text += f" on the {_month_days(parts, month_end)}"
    return text + _year_days(parts) + _weeks(parts) + _months(rule, parts)


def _picks_workdays(rule: RRule, parts: DayParts) -> bool:
    return bool(rule.bysetpos) and parts.weekdays == _WORKDAYS


def _weekday(number: int, position: int | None) -> str:
    return WEEKDAYS[number] if position is None else f"the {ordinal(position)} {WEEKDAYS[number]}"


def _month_days(parts: DayParts, month_end: MonthEnd) -> str:
    words = [ordinal(day) if day > 0 else f"{ordinal(day)} day" for day in parts.month_days]
    text = listed(words)
    if month_end is MonthEnd.CLAMP and parts.month_days[-1] > _SHORTEST_MONTH:
        text += " or else the month's last day"
    return text


def _year_days(parts: DayParts) -> str:
    if not parts.year_days:
        return ""
    words = [f"day {day}" if day > 0 else f"the {ordinal(day)} day" for day in parts.year_days]
    return f" on {listed(words)} of the year"


def _weeks(parts: DayParts) -> str:
    if not parts.weeks:
        return ""
    words = [f"week {week}" if week > 0 else f"the {ordinal(week)} week" for week in parts.weeks]
    return f" in {listed(words)}"


def _months(rule: RRule, parts: DayParts | None = None) -> str:
    months = rule.bymonth or (parts.months if parts is not None and rule.freq is Frequency.YEARLY else ())
    return f" in {listed([MONTHS[month - 1] for month in months])}" if months else ""


def _times(series: Series) -> str:
    """The times that the rule itself names; the start's own time is told with the date."""
    rule, start = series.rule, series.start
    if rule.freq in (Frequency.HOURLY, Frequency.MINUTELY, Frequency.SECONDLY):
        hours = f" in the hours {listed([f'{hour:02}' for hour in rule.byhour])}" if rule.byhour else ""
        return hours + _parts_of("minute", rule.byminute) + _parts_of("second", rule.bysecond)
    if not (rule.byhour or rule.byminute or rule.bysecond):
        return ""
    on_hours, minutes = rule.byhour or (start.hour,), rule.byminute or (start.minute,)
    seconds = [second for second in rule.bysecond or (start.second,) if second < _SECONDS_OF_A_MINUTE]
    if not seconds:
        return " at leap seconds alone"
    count = len(on_hours) * len(minutes) * len(seconds)
    form = "%H:%M:%S" if rule.bysecond else "%H:%M"
    times = starmap(time, product(on_hours, minutes, seconds))
    shown = [moment.strftime(form) for moment in islice(times, _TIMES_MAX)]
    if count > _TIMES_MAX:
        return f" at {', '.join(shown)} and {count - _TIMES_MAX} more times"
    return f" at {listed(shown)}"


def _parts_of(unit: str, numbers: tuple[int, ...]) -> str:
    """Which minutes of an hour, or seconds of a minute; a leap second has no wall-clock time here."""
    words = [f"{number:02}" for number in numbers if number < _SECONDS_OF_A_MINUTE]
    if not numbers:
        return ""
    return (
        f" at the {unit}{'s' if len(words) > 1 else ''} {listed(words)}"
        if words
        else " at leap seconds alone"
    )


def _end(rule: RRule) -> str:
    if rule.count is not None:
        return ", once" if rule.count == 1 else f", {rule.count} times"
    if rule.until is None:
        return ""
    moment = parse_local(rule.until)
    day: date = moment.date() if isinstance(moment, datetime) else moment
    return f", until {day.day} {MONTHS[day.month - 1]} {day.year}"
