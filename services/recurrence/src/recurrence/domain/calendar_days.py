"""Which days of a year a rule's day parts name: RFC 5545, 3.3.10, expanded by python-dateutil.

Where python-dateutil departs from the RFC, the RFC decides (ADR 0014): weeks belong to the year of their number, a
plain weekday beside a placed one adds to it, and days that the rule leaves open come from the start.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from dateutil.rrule import YEARLY, rrule
from dateutil.rrule import weekday as dateutil_weekday

from event_contracts.rrule import Frequency, RRule
from event_contracts.series import MonthEnd

FIRST_YEAR = 2
LAST_YEAR = 9998
"""A day around these years still has an instant in every time zone."""

_CYCLE = 400
"""After this many years each date falls on the same weekday again, in years of the same length."""
_DAYS_OF_A_YEAR = 366
_NUMBERS_A_LOOK = 24
"""So many numbers are compared in the time that it takes to look at a day."""
_MOST_IN_A_MONTH = 5
_ONE_YEAR_ONLY = 10_000
_SHORTEST_MONTH = 28
_EVERY_MONTH = tuple(range(1, 13))
_EVERY_WEEKDAY = tuple((number, None) for number in range(7))


@dataclass(frozen=True, slots=True)
class DayParts:
    """The parts of a rule that choose days, with what the start fills in; `weekdays` are (0 for Monday, ordinal).

    `clamp` says that a day of the month beyond the month's end means its last day.
    """

    months: tuple[int, ...]
    month_days: tuple[int, ...]
    year_days: tuple[int, ...]
    weeks: tuple[int, ...]
    weekdays: tuple[tuple[int, int | None], ...]
    week_start: int
    clamp: bool

    def beyond_month_end(self, day: date) -> int | None:
        """The day of the month that `day` stands for because the month is too short, None when it is itself meant."""
        if not self.clamp or not self.month_days or self.month_days[-1] <= day.day:
            return None
        length = calendar.monthrange(day.year, day.month)[1]
        if day.day < length or day.day in self.month_days or -1 in self.month_days:
            return None
        return next(number for number in self.month_days if number > length)

    def _has_month_day(self, day: date) -> bool:
        length = calendar.monthrange(day.year, day.month)[1]
        return (
            day.day in self.month_days
            or day.day - length - 1 in self.month_days
            or self.beyond_month_end(day) is not None
        )

    def year_of(self, day: date) -> int:
        """The year that `day` counts in: the one of its week's number when weeks are named, else the calendar's."""
        if not self.weeks:
            return day.year
        middle_of_week = day.toordinal() - (day.weekday() - self.week_start) % 7 + 3
        return date.fromordinal(max(middle_of_week, 1)).year

    def year_start(self, year: int) -> date:
        """The first day that counts in `year`."""
        return _week_one(year, self.week_start) if self.weeks else date(year, 1, 1)

    def days_in(self, year: int) -> tuple[date, ...]:
        """The chosen days that count in `year`, in order, whatever FREQ and INTERVAL make of them."""
        like = self.kind_of(year)
        days = _days_in(self, like)
        if like == year:
            return days
        later = date(year, 1, 1).toordinal() - date(like, 1, 1).toordinal()
        return tuple([date.fromordinal(day.toordinal() + later) for day in days])

    def number_in(self, year: int) -> int:
        """How many days are chosen of those that count in `year`."""
        return len(_days_in(self, self.kind_of(year)))

    def kind_of(self, year: int) -> int:
        """The year that stands for all that have the same days: there are 14 kinds, 28 when weeks are named, whose days
        may lie in the years beside theirs."""
        return (_LIKE_WITH_NEIGHBOURS if self.weeks else _LIKE)[year % _CYCLE]

    @property
    def units_of_a_kind(self) -> int:
        """What it costs to choose the days of a year of a kind not met before, in units of a budget.

        Each day is held against the parts, numbers of days one by one; a placed weekday is looked for in each month.
        """
        looks = 1 + bool(self.weeks) + bool(self.month_days)
        numbers = len(self.month_days) + len(self.year_days)
        placed = sum(ordinal is not None for _, ordinal in self.weekdays)
        days = _DAYS_OF_A_YEAR * looks + _DAYS_OF_A_YEAR * numbers // _NUMBERS_A_LOOK
        return days + placed * max(len(self.months), 1)

    def allows(self, day: date) -> bool:
        """Whether a day of a named week is one that the other parts leave in."""
        return (
            (not self.months or day.month in self.months)
            and (not self.month_days or self._has_month_day(day))
            and (not self.year_days or self._has_year_day(day))
            and (not self.weekdays or (day.weekday(), None) in self.weekdays)
        )

    def _has_year_day(self, day: date) -> bool:
        number = day.timetuple().tm_yday
        return number in self.year_days or number - 366 - calendar.isleap(day.year) in self.year_days


def day_parts(rule: RRule, start: datetime | None, month_end: MonthEnd) -> DayParts:
    """Read a rule's day parts; what they leave open is taken from the start, if given (RFC 5545, 3.3.10)."""
    months, month_days = rule.bymonth, rule.bymonthday
    weekdays = tuple((day.weekday.number, day.ordinal) for day in rule.byday)
    if start is not None and not (weekdays or month_days or rule.byyearday):
        if rule.freq is Frequency.YEARLY and not rule.byweekno:
            months, month_days = months or (start.month,), (start.day,)
        elif rule.freq is Frequency.MONTHLY:
            month_days = (start.day,)
        elif rule.freq is Frequency.WEEKLY or rule.byweekno:
            weekdays = ((start.weekday(), None),)
    return DayParts(
        # In a monthly rule 2TU counts in the month; dateutil sees that by the months being named.
        months=months or (_EVERY_MONTH if rule.freq is Frequency.MONTHLY else ()),
        month_days=month_days,
        year_days=rule.byyearday,
        weeks=rule.byweekno,
        weekdays=weekdays,
        week_start=rule.wkst.number,
        clamp=month_end is MonthEnd.CLAMP,
    )


def _first_like(kind: Callable[[int], Hashable]) -> tuple[int, ...]:
    """For each year of the cycle from 2000 on, the first one of its kind."""
    first: dict[Hashable, int] = {}
    return tuple(first.setdefault(kind(year), year) for year in range(2000, 2000 + _CYCLE))


def _own_kind(year: int) -> tuple[int, bool]:
    return date(year, 1, 1).weekday(), calendar.isleap(year)


_LIKE = _first_like(_own_kind)
_LIKE_WITH_NEIGHBOURS = _first_like(
    lambda year: (_own_kind(year), calendar.isleap(year - 1), calendar.isleap(year + 1))
)


@lru_cache(maxsize=2048)
def _days_in(parts: DayParts, year: int) -> tuple[date, ...]:
    if parts.weeks:
        return tuple(filter(parts.allows, _days_of_weeks(parts, year)))
    clamps = parts.clamp and bool(parts.month_days) and parts.month_days[-1] > _SHORTEST_MONTH
    days = _expand(parts, year, _with_month_ends(parts.month_days) if clamps else parts.month_days)
    return tuple(day for day in days if parts._has_month_day(day)) if clamps else days


def _with_month_ends(month_days: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted({*month_days, *range(_SHORTEST_MONTH, month_days[-1])}))


def _week_one(year: int, week_start: int) -> date:
    """The first day of the week that has at least four days in `year`: the one with 4 January."""
    fourth = date(year, 1, 4)
    return fourth - timedelta(days=(fourth.weekday() - week_start) % 7)


def _days_of_weeks(parts: DayParts, year: int) -> Iterator[date]:
    first = _week_one(year, parts.week_start)
    weeks = (_week_one(year + 1, parts.week_start) - first).days // 7
    for number in sorted({week if week > 0 else weeks + 1 + week for week in parts.weeks}):
        if 1 <= number <= weeks:
            for offset in range(7 * (number - 1), 7 * number):
                yield first + timedelta(days=offset)


def _expand(parts: DayParts, year: int, month_days: tuple[int, ...]) -> tuple[date, ...]:
    names_days = parts.weekdays or month_days or parts.year_days
    if not names_days and not parts.months:
        return tuple(
            map(date.fromordinal, range(date(year, 1, 1).toordinal(), date(year + 1, 1, 1).toordinal()))
        )
    weekdays = parts.weekdays if names_days else _EVERY_WEEKDAY
    plain = tuple(day for day in weekdays if day[1] is None)
    if plain in ((), weekdays):
        return _dates(parts, year, month_days, weekdays)
    # dateutil takes only days that are both: for MO,1FR no day at all.
    placed = tuple(day for day in weekdays if day[1] is not None)
    both = {*_dates(parts, year, month_days, plain), *_dates(parts, year, month_days, placed)}
    return tuple(sorted(both))


def _dates(
    parts: DayParts, year: int, month_days: tuple[int, ...], named: tuple[tuple[int, int | None], ...]
) -> tuple[date, ...]:
    weekdays = named
    if parts.months:
        # dateutil looks for the tenth Monday of a December beyond the end of its year, and fails.
        weekdays = tuple(day for day in weekdays if day[1] is None or abs(day[1]) <= _MOST_IN_A_MONTH)
        if named and not weekdays:
            return ()
    # One year at a time: dateutil itself would look for a rule's first match up to the year 9999.
    moments = rrule(
        YEARLY,
        dtstart=datetime(year, 1, 1),  # noqa: DTZ001  wall-clock time has no zone
        interval=_ONE_YEAR_ONLY,
        wkst=parts.week_start,
        bymonth=parts.months or None,
        bymonthday=month_days or None,
        byyearday=parts.year_days or None,
        byweekday=tuple(dateutil_weekday(number, ordinal) for number, ordinal in weekdays) or None,
    )
    return tuple(moment.date() for moment in moments)
