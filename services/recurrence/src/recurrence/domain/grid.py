"""The slots of a rule: naive local times in order, before exdates and before clock changes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import dropwhile, groupby, islice, takewhile

from event_contracts.rrule import Frequency, RRule
from event_contracts.values import parse_local
from recurrence.domain.budget import UNITS_OF_A_SLOT, Budget
from recurrence.domain.calendar_days import FIRST_YEAR, LAST_YEAR, DayParts, day_parts
from recurrence.domain.series import Series
from recurrence.domain.times_of_day import UNITS_OF_A_DAY, TimesOfDay, picked
from recurrence.domain.wall_time import local_time, resolve

_UNITS_OF_A_YEAR = 3
"""What a year costs besides the days that are looked at in it."""
_UNITS_OF_A_PERIOD = 2
_LONGER_THAN_A_DAY = (Frequency.WEEKLY, Frequency.MONTHLY, Frequency.YEARLY)
_FIRST_DAY = date(FIRST_YEAR, 1, 8)


class Grid:
    """The slots of `series`, counted from its start and no earlier.

    FREQ and INTERVAL say which periods are active, the day parts which days in them, the time parts which times;
    BYSETPOS picks from a whole period, also when the series starts in the middle of it. COUNT counts slots, after
    those that clamping made equal have become one; an exdate leaves the count alone.
    """

    def __init__(self, series: Series, budget: Budget) -> None:
        self._series = series
        self._rule = series.rule
        self._start = series.start
        self._budget = budget
        self._times = TimesOfDay(series)
        self._days_are_active = self._rule.interval == 1 or self._rule.freq in UNITS_OF_A_DAY
        self.days: DayParts = day_parts(series.rule, series.start, series.policies.month_end)
        self._picks_from_days = bool(self._rule.bysetpos) and self._rule.freq in _LONGER_THAN_A_DAY
        self._indexes_by_size: dict[int, list[int]] = {}
        self._kinds: set[int] = set()
        self._period_number = _numbering(self._rule, self.days)
        self._start_period = self._period_number(series.start.date())
        self._last_year = LAST_YEAR
        if self._rule.until is not None:
            # The year after it too, for its last days may lie there in a zone, or count there by their week.
            self._last_year = min(parse_local(self._rule.until).year + 1, LAST_YEAR)

    def slots_from(self, floor: datetime) -> Iterator[datetime]:
        """Slots at or after `floor` in strict order. Raises ExpansionBoundError when the next costs too much."""
        slots = self._expanded(max(floor, self._start))
        if self._rule.count is not None:
            slots = islice(slots, max(self._rule.count - self.slots_before(floor), 0))
        return slots if self._rule.until is None else takewhile(self._not_over, slots)

    def is_used_up_at(self, moment: datetime) -> bool:
        """Whether COUNT lets no slot come at `moment` or later. Raises ExpansionBoundError."""
        return self._rule.count is not None and self.slots_before(moment) >= self._rule.count

    def slots_before(self, moment: datetime) -> int:
        """How many slots lie before `moment`; COUNT and UNTIL have no say. Raises ExpansionBoundError."""
        if moment <= self._start:
            return 0
        if self._picks_from_days:
            return self._picked_before(moment)
        # Whole days are counted by their number of times: no slot of them is made.
        return (
            self._on_whole_days(self._start.date(), moment.date())
            - self._times_before(self._start)
            + self._times_before(moment)
        )

    def _on_whole_days(self, first: date, end: date) -> int:
        """How many slots the days have from `first` on that lie before `end`."""
        if not (self._days_are_active and self._times.are_the_same_each_day):
            return sum(len(self._times.on(day)) for day in self._active_days(first, end) if day < end)
        # Whole years are counted by their number of days.
        first_year, last_year = self._years(first, end)
        if last_year < first_year:
            return 0
        days = bisect_left(self._days_of(last_year), end) - bisect_left(self._days_of(first_year), first)
        for year in range(first_year, last_year):
            self._spend_on(year)
            days += self.days.number_in(year)
        return days * len(self._times.on(first))

    def _picked_before(self, moment: datetime) -> int:
        """How many slots BYSETPOS picks before `moment`: those of whole periods are counted, not made."""
        last = self._period_number(moment.date())
        before = 0
        # The week of `moment` may end in the next year.
        end = moment.date() + timedelta(days=6)
        for number, days in self._periods(self._period_start(self._start.date()), end):
            if number > last:
                break
            before += (
                len(self._indexes(days))
                if number < last
                else sum(slot < moment for slot in self._picked(days))
            )
            if number == self._start_period:
                before -= sum(slot < self._start for slot in self._picked(days))
        return before

    def _not_over(self, slot: datetime) -> bool:
        until = self._rule.until
        if until is None:
            return True
        moment = parse_local(until)
        if not isinstance(moment, datetime):
            return slot.date() <= moment
        if not self._rule.until_is_utc:
            return slot <= moment
        instant = moment.replace(tzinfo=UTC)
        if self._series.all_day:
            return slot.date() <= local_time(instant, self._series.zone).date()
        return resolve(slot, self._series.zone).utc <= instant

    def _times_before(self, moment: datetime) -> int:
        """How many slots the day of `moment` has before it, whatever day the series starts on."""
        day = moment.date()
        if not self._is_chosen(day):
            return 0
        return bisect_left(self._times.on(day), _seconds_since_midnight(moment))

    def _is_chosen(self, day: date) -> bool:
        return day in self.days.days_in(self.days.year_of(day)) and self._is_active(day)

    def _expanded(self, floor: datetime) -> Iterator[datetime]:
        """Slots from `floor` on without COUNT and UNTIL."""
        if floor.year > LAST_YEAR:
            return iter(())
        if not self._picks_from_days:
            return self._candidates(floor)
        periods = self._periods(self._period_start(floor.date()))
        slots = (slot for _, days in periods for slot in self._picked(days))
        return dropwhile(lambda slot: slot < floor, slots)

    def _candidates(self, floor: datetime) -> Iterator[datetime]:
        """Every slot of the active periods from `floor` on, where BYSETPOS picks no days."""
        first = floor.date()
        for day in self._active_days(first):
            times = self._times.on(day)
            if day == first:
                times = times[bisect_left(times, _seconds_since_midnight(floor)) :]
            for second in times:
                yield self._slot(day, second)

    def _slot(self, day: date, second: int) -> datetime:
        self._budget.spend(UNITS_OF_A_SLOT)
        return datetime.combine(day, time.min) + timedelta(seconds=second)

    def _periods(self, first: date, last: date | None = None) -> Iterator[tuple[int, list[date]]]:
        """The active periods from the one that begins on `first` on, each with its number and its chosen days; with
        `last` none of a year after that day's."""
        for number, days in groupby(self._chosen_days(first, last), key=self._period_number):
            self._budget.spend(_UNITS_OF_A_PERIOD)
            if (number - self._start_period) % self._rule.interval == 0:
                yield number, list(days)

    def _picked(self, days: list[date]) -> Iterator[datetime]:
        """The slots that BYSETPOS picks from a whole period; all its days have the same times."""
        times = self._times.on(days[0])
        for index in self._indexes(days):
            day, number = divmod(index, len(times))
            yield self._slot(days[day], times[number])

    def _indexes(self, days: list[date]) -> list[int]:
        size = len(days) * len(self._times.on(days[0]))
        found = self._indexes_by_size.get(size)
        if found is None:
            self._budget.spend(len(self._rule.bysetpos))
            found = self._indexes_by_size[size] = picked(size, self._rule.bysetpos)
        return found

    def _active_days(self, first: date, last: date | None = None) -> Iterator[date]:
        """The chosen days of the active periods from `first` on; with `last` none of a year after that day's."""
        days = self._chosen_days(first, last)
        return days if self._days_are_active else filter(self._is_active, days)

    def _chosen_days(self, first: date, last: date | None = None) -> Iterator[date]:
        """The days that the day parts choose, in years that have an active period."""
        first_year, last_year = self._years(first, last)
        for year in range(first_year, last_year + 1):
            if not self._has_active_period(year):
                self._budget.spend(1)
                continue
            days = self._days_of(year)
            yield from days[bisect_left(days, first) :] if year == first_year else days

    def _years(self, first: date, last: date | None) -> tuple[int, int]:
        last_year = self._last_year if last is None else min(self.days.year_of(last), LAST_YEAR)
        return max(self.days.year_of(first), FIRST_YEAR), last_year

    def _days_of(self, year: int) -> tuple[date, ...]:
        """The days chosen of a year, paid for as days that are looked at."""
        self._spend_on(year)
        self._budget.spend(self.days.number_in(year))
        return self.days.days_in(year)

    def _spend_on(self, year: int) -> None:
        """Pay for a year and, if none of its kind came before in this grid, for choosing its days. What other questions
        have left in a cache has no say: one question has one answer."""
        kind = self.days.kind_of(year)
        is_new = kind not in self._kinds
        self._kinds.add(kind)
        self._budget.spend(_UNITS_OF_A_YEAR + (self.days.units_of_a_kind if is_new else 0))

    def _has_active_period(self, year: int) -> bool:
        if self._rule.freq is Frequency.YEARLY:
            return (year - self._start_period) % self._rule.interval == 0
        if self._rule.freq is Frequency.MONTHLY:
            months_to_the_next = (
                self._start_period - self._period_number(date(year, 1, 1))
            ) % self._rule.interval
            return months_to_the_next < 12
        return True

    def _is_active(self, day: date) -> bool:
        """Whether the day's year, month, week or day is one that INTERVAL does not leave out; below a day it is the
        times that are left out."""
        return (
            self._days_are_active
            or (self._period_number(day) - self._start_period) % self._rule.interval == 0
        )

    def _period_start(self, day: date) -> date:
        """The first day of the period that `day` lies in, if the calendar goes back so far."""
        day = max(day, _FIRST_DAY)
        match self._rule.freq:
            case Frequency.YEARLY:
                return self.days.year_start(self.days.year_of(day))
            case Frequency.MONTHLY:
                return day.replace(day=1)
            case Frequency.WEEKLY:
                return day - timedelta(days=(day.weekday() - self._rule.wkst.number) % 7)
            case _:
                return day


def _numbering(rule: RRule, days: DayParts) -> Callable[[date], int]:
    """How the rule's periods are numbered: a day gives its period's number, its own where periods are shorter."""
    if rule.freq is Frequency.YEARLY:
        return days.year_of
    if rule.freq is Frequency.MONTHLY:
        return lambda day: day.year * 12 + day.month
    if rule.freq is Frequency.WEEKLY:
        days_before = 1 + rule.wkst.number
        return lambda day: (day.toordinal() - days_before) // 7
    return date.toordinal


def _seconds_since_midnight(moment: datetime) -> int:
    return (moment.hour * 60 + moment.minute) * 60 + moment.second
