"""Which times of a day a rule's time parts name (RFC 5545, 3.3.10)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime

from event_contracts.rrule import Frequency, RRule
from recurrence.domain.series import Series

UNITS_OF_A_DAY = {Frequency.HOURLY: 24, Frequency.MINUTELY: 24 * 60, Frequency.SECONDLY: 24 * 60 * 60}
"""The periods of a day for the frequencies that are shorter than one."""

_SECONDS_OF_A_DAY = 86_400


def unit_number(slot: datetime, units_of_a_day: int) -> int:
    """Number the hours, minutes or seconds of wall-clock time through all days."""
    seconds = (slot.hour * 60 + slot.minute) * 60 + slot.second
    return slot.toordinal() * units_of_a_day + seconds * units_of_a_day // _SECONDS_OF_A_DAY


class TimesOfDay:
    """The times that a chosen day has, in order, as seconds since its midnight. What the parts leave open is the
    start's, or every one.

    Below a day, INTERVAL counts wall-clock periods from the start's own; the times are sorted beforehand by what
    that count leaves over, so that a day costs what it gives.
    """

    def __init__(self, series: Series) -> None:
        self._units = UNITS_OF_A_DAY.get(series.rule.freq)
        self._interval = series.rule.interval
        self._all = _times(series)
        if self._units is not None and self._interval > 1:
            self._first = unit_number(series.start, self._units)
            seconds_of_a_unit = _SECONDS_OF_A_DAY // self._units
            self._by_left_over = defaultdict[int, list[int]](list)
            for second in self._all:
                self._by_left_over[second // seconds_of_a_unit % self._interval].append(second)

    @property
    def are_the_same_each_day(self) -> bool:
        """Whether `on` gives the same for every day."""
        return self._units is None or self._interval == 1

    def on(self, day: date) -> Sequence[int]:
        """The times of `day`, a day that the day parts have chosen."""
        if self._units is None or self.are_the_same_each_day:
            return self._all
        further = day.toordinal() * self._units - self._first
        return self._by_left_over.get(-further % self._interval, ())


def picked(size: int, positions: tuple[int, ...]) -> list[int]:
    """BYSETPOS: which of the `size` slots of one period it picks, as indexes; a negative n counts from the end."""
    return sorted({n - 1 if n > 0 else size + n for n in positions if abs(n) <= size})


def _times(series: Series) -> Sequence[int]:
    """Where the rule's period is a day or shorter, BYSETPOS picks here: its periods are alike."""
    if series.all_day:
        return _of_period(series.rule, Frequency.DAILY, [0])
    rule, start, freq = series.rule, series.start, series.rule.freq
    hours = rule.byhour or (range(24) if freq in UNITS_OF_A_DAY else (start.hour,))
    every_minute = freq in (Frequency.MINUTELY, Frequency.SECONDLY)
    minutes = rule.byminute or (range(60) if every_minute else (start.minute,))
    seconds = rule.bysecond or (range(60) if freq is Frequency.SECONDLY else (start.second,))
    # A leap second has no wall-clock time here.
    times = _of_period(rule, Frequency.SECONDLY, [0])
    times = _of_period(
        rule, Frequency.MINUTELY, [second + rest for second in seconds if second < 60 for rest in times]
    )
    times = _of_period(rule, Frequency.HOURLY, [minute * 60 + rest for minute in minutes for rest in times])
    return _of_period(rule, Frequency.DAILY, [hour * 3600 + rest for hour in hours for rest in times])


def _of_period(rule: RRule, freq: Frequency, times: list[int]) -> list[int]:
    if rule.freq is not freq or not rule.bysetpos:
        return times
    return [times[index] for index in picked(len(times), rule.bysetpos)]
