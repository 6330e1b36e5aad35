"""A series' rule as a reader of RFC 5545 takes it, who knows none of our policies."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from event_contracts.moments import resolve
from event_contracts.rrule import Frequency, RRule, parse_rrule
from event_contracts.series import Anchor, DstGap, MonthEnd
from event_contracts.values import parse_local
from task_api.domain.series import Series

_SHORTEST_MONTH = 28
_LONGEST_MONTH = 31
_DAY = timedelta(days=1)
_BY_THE_DAY = frozenset({Frequency.DAILY, Frequency.WEEKLY, Frequency.MONTHLY, Frequency.YEARLY})


@dataclass(frozen=True, slots=True)
class StrictRule:
    """An RRULE, and the slots that are to be taken from what it makes: local moments, dates of an all-day series."""

    rrule: str
    without: tuple[date, ...] = ()


def strict_rule(series: Series, key: str) -> StrictRule | None:
    """Give a rule that makes the slots of `series` from `key` on when it is expanded from there, or None.

    None where RFC 5545 cannot say it: counted from completion, resting, hourly (which it counts by the clock on the
    wall or by time passed, as the reader likes), with BYSETPOS in a week (of which some readers take only the part from
    the start on), with COUNT once a slot is over, with the slots of a clock change left out, with a day near the end of
    a month that no simple rule moves to it, or with one of several slots a day left out where clocks go forward.

    COUNT counts slots that are left out, as it does here: EXDATE takes from what the rule has made (RFC 5545, 3.8.5.1).
    The slot of `key` itself is there, left out or not. The work grows with the slots left out after it, no further.
    """
    rule = parse_rrule(series.recurrence.rrule)
    policies = series.recurrence.policies
    resting = series.paused_at is not None or series.has_ended
    if policies.anchor is Anchor.COMPLETION or resting or rule.freq not in _BY_THE_DAY:
        return None
    if rule.bysetpos and rule.freq is Frequency.WEEKLY:
        return None
    if policies.dst_gap is DstGap.SKIP and not series.is_all_day:
        return None
    if key == series.start:
        if not _surely_on_grid(rule, key):
            return None
    elif rule.count is not None:
        return None
    if policies.month_end is MonthEnd.CLAMP:
        clamped = _clamped(rule, parse_local(series.start))
        if clamped is None:
            return None
        rule = clamped
    without = _left_out(rule, series, key)
    return None if without is None else StrictRule(str(_with_until(rule, series)), without)


def _left_out(rule: RRule, series: Series, key: str) -> tuple[date, ...] | None:
    """The slots left out after `key`, but for those that the rule plainly does not make: those of a rule of before.

    Whether it makes the others is not asked, for that takes an expansion; one that it does not make takes nothing away.
    None where readers may differ: a time that the clocks leave out means the instant of a later one, which may be a
    slot as well. Here the later one stands for both, and is left out for both; readers compare times or instants.
    """
    start = parse_local(key)
    times = max(len(rule.byhour), 1) * max(len(rule.byminute), 1) * max(len(rule.bysecond), 1)
    found = []
    for text in series.left_out_after(key):
        slot = parse_local(text)
        if not _may_make(rule, start, slot):
            continue
        if isinstance(slot, datetime):
            leap = _leap_around(slot, series.timezone)
            if leap >= _DAY or (leap > timedelta() and times > 1):
                return None
        found.append(slot)
    return tuple(found)


def _may_make(rule: RRule, start: date, slot: date) -> bool:
    """Whether the parts that name months, days and times allow a slot; more than that it takes to be one."""
    if rule.bymonth and slot.month not in rule.bymonth:
        return False
    if rule.bymonthday:
        _, last = monthrange(slot.year, slot.month)
        if not {slot.day, slot.day - last - 1} & set(rule.bymonthday):
            return False
    if rule.byday and all(day.weekday.number != slot.weekday() for day in rule.byday):
        return False
    if not isinstance(slot, datetime) or not isinstance(start, datetime):
        return True
    return (
        slot.hour in (rule.byhour or (start.hour,))
        and slot.minute in (rule.byminute or (start.minute,))
        and slot.second in (rule.bysecond or (start.second,))
    )


def _leap_around(slot: datetime, zone: str) -> timedelta:
    """By how much the clocks go forward within a day of a slot; not above zero where they do not."""
    there, instant = ZoneInfo(zone), resolve(slot, zone)
    before, after = ((instant + days).astimezone(there).utcoffset() for days in (-_DAY, _DAY))
    return (after or timedelta()) - (before or timedelta())


def _surely_on_grid(rule: RRule, start: str) -> bool:
    """Whether the start is a slot by the parts that name it plainly; what a reader makes of another is undefined."""
    moment = parse_local(start)
    if rule.byyearday or rule.byweekno or rule.bysetpos:
        return False
    if rule.bymonth and moment.month not in rule.bymonth:
        return False
    if rule.bymonthday and moment.day not in rule.bymonthday:
        return False
    if rule.byday and not any(
        day.weekday.number == moment.weekday() and day.ordinal is None for day in rule.byday
    ):
        return False
    if not isinstance(moment, datetime):
        return True
    named = ((rule.byhour, moment.hour), (rule.byminute, moment.minute), (rule.bysecond, moment.second))
    return all(not allowed or value in allowed for allowed, value in named)


def _clamped(rule: RRule, start: date) -> RRule | None:
    """The rule with days beyond a month's end moved to it: -1 stands for the 31st, and the last of 28 to 30 for the
    30th where that is the month's only day."""
    rule = _with_month_days(rule, start)
    late = [day for day in rule.bymonthday if day > _SHORTEST_MONTH]
    if not late:
        return rule
    if _LONGEST_MONTH in late:
        days = {day for day in rule.bymonthday if day != _LONGEST_MONTH} | {-1}
        return rule.model_copy(update={"bymonthday": tuple(sorted(days))})
    one_month = rule.freq is Frequency.MONTHLY or (
        rule.freq is Frequency.YEARLY and len(rule.bymonth) == 1 and not (rule.byweekno or rule.byyearday)
    )
    once_a_day = max(len(rule.byhour), 1) * max(len(rule.byminute), 1) * max(len(rule.bysecond), 1) == 1
    if not one_month or not once_a_day or len(rule.bymonthday) > 1 or rule.byday or rule.bysetpos:
        return None
    days_up_to = tuple(range(_SHORTEST_MONTH, late[0] + 1))
    return rule.model_copy(update={"bymonthday": days_up_to, "bysetpos": (-1,)})


def _with_month_days(rule: RRule, start: date) -> RRule:
    """The rule with the days that its first start fills in: a later one may stand for a day that its month lacks."""
    if start.day <= _SHORTEST_MONTH or rule.byday or rule.bymonthday or rule.byyearday or rule.byweekno:
        return rule
    if rule.freq is Frequency.MONTHLY:
        return rule.model_copy(update={"bymonthday": (start.day,)})
    if rule.freq is Frequency.YEARLY:
        return rule.model_copy(update={"bymonth": rule.bymonth or (start.month,), "bymonthday": (start.day,)})
    return rule


def _with_until(rule: RRule, series: Series) -> RRule:
    """UNTIL as RFC 5545, 3.3.10 wants it: a date beside dates, an instant in UTC beside times of a zone."""
    if rule.until is None:
        return rule
    until = parse_local(rule.until)
    if series.is_all_day:
        if isinstance(until, datetime):
            instant = until.replace(tzinfo=UTC)
            until = (
                instant.astimezone(ZoneInfo(series.timezone)).date() if rule.until_is_utc else until.date()
            )
        return rule.model_copy(update={"until": until.isoformat(), "until_is_utc": False})
    if not rule.until_is_utc:
        last = until if isinstance(until, datetime) else datetime.combine(until, time(23, 59, 59))
        until = resolve(last, series.timezone).replace(tzinfo=None)
    return rule.model_copy(update={"until": until.isoformat(), "until_is_utc": True})
