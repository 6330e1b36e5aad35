"""The slots of a rule: naive local times in order, before exdates and before clock changes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import dropwhile, groupby, islice, takewhile

from event_contracts.rrule import Frequency
from event_contracts.values import parse_local
from recurrence.domain.budget import Budget
from recurrence.domain.calendar_days import FIRST_YEAR, LAST_YEAR, DayParts, day_parts
from recurrence.domain.series import Series
from recurrence.domain.times_of_day import UNITS_OF_A_DAY, TimesOfDay, unit_number
from recurrence.domain.wall_time import local_time, resolve

_DAYS_OF_A_YEAR = 366


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
        self.days: DayParts = day_parts(series.rule, series.start, series.policies.month_end)

    def slots_from(self, floor: datetime) -> Iterator[datetime]:
        """Slots at or after `floor` in strict order. Raises ExpansionBoundError when the next costs too much."""
        if self._rule.count is None:
            slots = self._expanded(max(floor, self._start))
        else:
            slots = islice(self._expanded(self._start), self._rule.count)
        slots = dropwhile(lambda slot: slot < floor, slots)
        return slots if self._rule.until is None else takewhile(self._not_over, slots)

    def last_slot(self) -> datetime | None:
        """The slot that COUNT makes the last one; None without COUNT. Raises ExpansionBoundError."""
        if self._rule.count is None:
            return None
        last = None
        for slot in self.slots_from(self._start):
            last = slot
        return last

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

    def _expanded(self, floor: datetime) -> Iterator[datetime]:
        """Slots from `floor` on without COUNT and UNTIL."""
        positions = self._rule.bysetpos
        if not positions:
            slots = self._candidates(floor.date())
        else:
            candidates = self._candidates(self._period_start(floor.date()))
            slots = (
                slot
                for _, period in groupby(candidates, key=self._period_of)
                for slot in _at_positions(list(period), positions)
            )
        return dropwhile(lambda slot: slot < floor, slots)

    def _candidates(self, first: date) -> Iterator[datetime]:
        """Every slot of the active periods from the day `first` on, before BYSETPOS."""
        every_day = self._rule.interval == 1 or self._rule.freq in UNITS_OF_A_DAY
        for year in range(max(first.year, FIRST_YEAR), LAST_YEAR + 1):
            if not self._has_active_period(year):
                self._budget.spend(1)
                continue
            self._budget.spend(_DAYS_OF_A_YEAR)
            days = self.days.days_in(year)
            for day in days[bisect_left(days, first) :]:
                if every_day or self._is_active(day):
                    yield from self._slots_on(day)

    def _slots_on(self, day: date) -> list[datetime]:
        times = self._times.on(day)
        self._budget.spend(1 + len(times))
        return [datetime.combine(day, moment) for moment in times]

    def _has_active_period(self, year: int) -> bool:
        if self._rule.freq is Frequency.YEARLY:
            return (year - self._start.year) % self._rule.interval == 0
        if self._rule.freq is Frequency.MONTHLY:
            return any(self._is_active(date(year, month, 1)) for month in range(1, 13))
        return True

    def _is_active(self, day: date) -> bool:
        """Whether the day's year, month, week or day is one that INTERVAL does not leave out."""
        distance = self._period_number(day) - self._period_number(self._start.date())
        return distance % self._rule.interval == 0

    def _period_number(self, day: date) -> int:
        match self._rule.freq:
            case Frequency.YEARLY:
                return day.year
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
                return day.replace(month=1, day=1)
            case Frequency.MONTHLY:
                return day.replace(day=1)
            case Frequency.WEEKLY:
                return day - timedelta(days=(day.weekday() - self._rule.wkst.number) % 7)
            case _:
                return day


def _at_positions(period: list[datetime], positions: tuple[int, ...]) -> list[datetime]:
    """BYSETPOS: the n-th slots of one period, from its end for a negative n."""
    size = len(period)
    chosen = {n - 1 if n > 0 else size + n for n in positions if abs(n) <= size}
    return [period[index] for index in sorted(chosen)]
