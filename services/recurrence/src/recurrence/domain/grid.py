"""The slots of a rule: naive local times in order, before exdates and before clock changes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import dropwhile, groupby, islice, takewhile

from event_contracts.rrule import Frequency
from event_contracts.values import parse_local
from recurrence.domain.budget import UNITS_OF_A_SLOT, Budget
from recurrence.domain.calendar_days import FIRST_YEAR, LAST_YEAR, DayParts, day_parts
from recurrence.domain.series import Series
from recurrence.domain.times_of_day import UNITS_OF_A_DAY, TimesOfDay, unit_number
from recurrence.domain.wall_time import local_time, resolve

_DAYS_OF_A_YEAR = 366
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
        self._start_period = self._period_number(series.start.date())

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
        if self._rule.bysetpos:
            return sum(1 for _ in takewhile(lambda slot: slot < moment, self._expanded(self._start)))
        first, last = self._start.date(), moment.date()
        # Whole days are counted by their number of times: no slot of them is made.
        whole_days = takewhile(lambda day: day < last, self._active_days(first))
        on_whole_days = sum(len(self._times.on(day)) for day in whole_days)
        return on_whole_days - self._times_before(self._start) + self._times_before(moment)

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
        positions = self._rule.bysetpos
        if not positions:
            return self._candidates(floor)
        first = self._period_start(max(floor.date(), _FIRST_DAY))
        candidates = self._candidates(datetime.combine(first, time.min))
        slots = (
            slot
            for _, period in groupby(candidates, key=self._period_of)
            for slot in _at_positions(list(period), positions)
        )
        return dropwhile(lambda slot: slot < floor, slots)

    def _candidates(self, floor: datetime) -> Iterator[datetime]:
        """Every slot of the active periods from `floor` on, before BYSETPOS."""
        first = floor.date()
        for day in self._active_days(first):
            times = self._times.on(day)
            if day == first:
                times = times[bisect_left(times, _seconds_since_midnight(floor)) :]
            if not times:
                continue
            midnight = datetime.combine(day, time.min)
            for second in times:
                self._budget.spend(UNITS_OF_A_SLOT)
                yield midnight + timedelta(seconds=second)

    def _active_days(self, first: date) -> Iterator[date]:
        """The chosen days of the active periods from `first` on."""
        for year in range(max(self.days.year_of(first), FIRST_YEAR), LAST_YEAR + 1):
            if not self._has_active_period(year):
                self._budget.spend(1)
                continue
            self._budget.spend(_DAYS_OF_A_YEAR)
            days = self.days.days_in(year)
            days = days[bisect_left(days, first) :]
            yield from days if self._days_are_active else filter(self._is_active, days)

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

    def _period_number(self, day: date) -> int:
        match self._rule.freq:
            case Frequency.YEARLY:
                return self.days.year_of(day)
            case Frequency.MONTHLY:
                return day.year * 12 + day.month
            case Frequency.WEEKLY:
                return (day.toordinal() - 1 - self._rule.wkst.number) // 7
            case _:
                return day.toordinal()

    def _period_of(self, slot: datetime) -> int:
        units = UNITS_OF_A_DAY.get(self._rule.freq)
        return self._period_number(slot.date()) if units is None else unit_number(slot, units)

    def _period_start(self, day: date) -> date:
        match self._rule.freq:
            case Frequency.YEARLY:
                return self.days.year_start(self.days.year_of(day))
            case Frequency.MONTHLY:
                return day.replace(day=1)
            case Frequency.WEEKLY:
                return day - timedelta(days=(day.weekday() - self._rule.wkst.number) % 7)
            case _:
                return day


def _seconds_since_midnight(moment: datetime) -> int:
    return (moment.hour * 60 + moment.minute) * 60 + moment.second


def _at_positions(period: list[datetime], positions: tuple[int, ...]) -> list[datetime]:
    """BYSETPOS: the n-th slots of one period, from its end for a negative n."""
    size = len(period)
    chosen = {n - 1 if n > 0 else size + n for n in positions if abs(n) <= size}
    return [period[index] for index in sorted(chosen)]
