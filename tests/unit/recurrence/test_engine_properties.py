"""What holds for every rule: order, grid, anchor day, prefixes, no wall clock; and python-dateutil as the judge."""

from __future__ import annotations

import calendar
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import groupby, islice

from dateutil.rrule import rrulestr
from hypothesis import assume, example, given
from hypothesis import strategies as st

from event_contracts.series import Anchor, DstGap, MonthEnd, Overdue, RecurrencePolicies
from event_contracts.values import parse_local
from recurrence.domain.budget import Budget, ExpansionBoundError
from recurrence.domain.calendar_days import _days_in
from recurrence.domain.grid import Grid
from recurrence.domain.occurrences import occurrences
from recurrence.domain.series import Series
from recurrence.domain.successor import next_slot

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Pacific/Apia",
)
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
SCHEDULE = RecurrencePolicies()
SKIP = RecurrencePolicies(month_end=MonthEnd.SKIP)

starts = st.datetimes(min_value=datetime(1995, 1, 1), max_value=datetime(2035, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0)
)


def _list(name: str, values: st.SearchStrategy[list[str]]) -> st.SearchStrategy[str]:
    return values.map(lambda chosen: f";{name}={','.join(chosen)}")


def _some(low: int, high: int, size: int = 4) -> st.SearchStrategy[list[str]]:
    return st.lists(st.integers(low, high).map(str), min_size=1, max_size=size, unique=True)


plain_days = _list("BYDAY", st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=4, unique=True))
placed_days = _list(
    "BYDAY",
    st.lists(
        st.tuples(st.sampled_from((-4, -1, 1, 2, 4)), st.sampled_from(WEEKDAYS)).map(
            lambda pair: f"{pair[0]}{pair[1]}"
        ),
        min_size=1,
        max_size=3,
        unique=True,
    ),
)
month_days = _list("BYMONTHDAY", _some(1, 28) | _some(-28, -1))
# Intervals that have no factor in common with 12 and 7: no month and no weekday is left out for ever.
intervals = st.sampled_from(("", ";INTERVAL=5", ";INTERVAL=11"))
week_starts = st.sampled_from(("", ";WKST=SU", ";WKST=WE"))
months = st.just("") | _list("BYMONTH", _some(1, 12))
hours = st.just("") | _list("BYHOUR", _some(0, 23, 3)) | _list("BYMINUTE", _some(0, 59, 2))
nothing = st.just("")

matching_rules = st.one_of(
    st.tuples(st.just("FREQ=DAILY"), intervals, nothing | plain_days, hours),
    st.tuples(st.just("FREQ=WEEKLY"), intervals, nothing | plain_days, hours, week_starts),
    st.tuples(st.just("FREQ=MONTHLY"), intervals, months, plain_days | placed_days | month_days, hours),
    st.tuples(st.just("FREQ=YEARLY"), nothing, months, plain_days | placed_days | month_days, hours),
    st.tuples(st.just("FREQ=YEARLY"), nothing, _list("BYYEARDAY", _some(1, 365) | _some(-365, -1)), hours),
    st.tuples(st.just("FREQ=YEARLY"), nothing, _list("BYWEEKNO", _some(1, 52)), plain_days, week_starts),
    st.tuples(st.just("FREQ=HOURLY"), intervals, nothing | plain_days),
    st.tuples(
        st.just("FREQ=MONTHLY"),
        intervals,
        plain_days,
        st.sampled_from((";BYSETPOS=1", ";BYSETPOS=-1", ";BYSETPOS=2,-2")),
    ),
).map("".join)


def _may_leave_its_year(rule: str) -> bool:
    """Of the first and the last week a day may lie in the year next to theirs, which dateutil leaves out."""
    _, _, weeks = rule.partition("BYWEEKNO=")
    return not {"1", "52"}.isdisjoint(weeks.partition(";")[0].split(","))


month_end_rules = st.sampled_from(
    (
        "FREQ=MONTHLY",
        "FREQ=MONTHLY;INTERVAL=2",
        "FREQ=MONTHLY;INTERVAL=3",
        "FREQ=YEARLY",
        "FREQ=MONTHLY;BYMONTHDAY=29,31",
        "FREQ=MONTHLY;BYMONTHDAY=30",
        "FREQ=DAILY;BYMONTHDAY=31",
        "FREQ=YEARLY;BYMONTHDAY=31",
    )
)
any_rules = matching_rules | month_end_rules
ends = st.sampled_from(("", ";COUNT=1", ";COUNT=7", ";COUNT=40"))
policies = st.builds(
    RecurrencePolicies,
    anchor=st.sampled_from(Anchor),
    month_end=st.sampled_from(MonthEnd),
    overdue=st.sampled_from(Overdue),
    dst_gap=st.sampled_from(DstGap),
)


@st.composite
def any_series(draw: st.DrawFn, chosen: st.SearchStrategy[RecurrencePolicies] = policies) -> Series:
    rule = draw(any_rules) + draw(ends)
    start = draw(starts)
    all_day = "HOUR" not in rule and "MINUTE" not in rule and draw(st.booleans())
    text = start.date().isoformat() if all_day else start.isoformat()
    return Series.read(rule, text, draw(st.sampled_from(ZONES)), draw(chosen))


def _slots(series: Series, floor: datetime, count: int) -> list[datetime]:
    """The first `count` slots, or as many as the budget of one question allows."""
    found: list[datetime] = []
    with suppress(ExpansionBoundError):
        found.extend(islice(Grid(series, Budget()).slots_from(floor), count))
    return found


@example("FREQ=MONTHLY;INTERVAL=11;BYMONTH=1;BYMONTHDAY=1", datetime(2000, 1, 1), "")
@given(matching_rules.filter(lambda rule: not _may_leave_its_year(rule)), starts, ends)
def test_without_policies_the_grid_is_dateutils(rule: str, start: datetime, end: str) -> None:
    """Slot for slot, as far as one question goes: twenty that lie eleven years apart are beyond it."""
    series, budget = Series.read(rule + end, start.isoformat(), "UTC", SKIP), Budget()
    expected = list(islice(rrulestr(rule + end, dtstart=start), 20))
    found: list[datetime] = []
    with suppress(ExpansionBoundError):
        found.extend(islice(Grid(series, budget).slots_from(start), 20))
    assert found == expected[: len(found)]
    assert len(found) == len(expected) or budget.exhausted


@given(matching_rules, starts, st.integers(0, 15))
def test_a_grid_entered_in_the_middle_is_the_same_grid(rule: str, start: datetime, skipped: int) -> None:
    series = Series.read(rule, start.isoformat(), "UTC", SKIP)
    slots = _slots(series, start, skipped + 5)
    assume(len(slots) > skipped)
    # A rule that seldom matches uses up the budget on the long way; from the middle there is more of it left.
    assert _slots(series, slots[skipped], 5)[: len(slots) - skipped] == slots[skipped:]


picking_rules = st.one_of(
    st.tuples(st.just("FREQ=HOURLY;BYMINUTE=0,20,40"), nothing | plain_days),
    st.tuples(st.just("FREQ=DAILY;BYHOUR=8,12,20"), nothing | plain_days),
    st.tuples(st.just("FREQ=WEEKLY"), plain_days, st.sampled_from(("", ";BYHOUR=8,20")), week_starts),
    st.tuples(st.just("FREQ=MONTHLY"), months, plain_days | placed_days | month_days),
    st.tuples(st.just("FREQ=YEARLY"), plain_days | month_days, st.sampled_from(("", ";BYHOUR=8,20"))),
).map("".join)
positions = st.sampled_from(("1", "-1", "2,-2", "1,3", "-1,1,50"))


def _period(rule: str, slot: datetime, week_start: str) -> object:
    """The period of a slot, told in another way than the engine does."""
    if "HOURLY" in rule:
        return slot.replace(minute=0)
    if "DAILY" in rule:
        return slot.date()
    if "WEEKLY" in rule:
        return slot.date() - timedelta(days=(slot.weekday() - WEEKDAYS.index(week_start)) % 7)
    return (slot.year, slot.month) if "MONTHLY" in rule else slot.year


@given(picking_rules, positions, starts)
def test_positions_pick_from_whole_periods_and_are_counted_as_they_are_made(
    rule: str, position: str, start: datetime
) -> None:
    """Against slots that are made one by one, from two years before the start on."""
    rule = rule.replace("HOURLY", "HOURLY;BYSECOND=0")
    start = start.replace(minute=0, second=0)
    series = Series.read(f"{rule};BYSETPOS={position}", start.isoformat(), "UTC", SKIP)
    week_start = rule.rpartition("WKST=")[2] if "WKST" in rule else "MO"
    early = start.replace(day=1, month=1, year=start.year - 1)
    every = _slots(
        Series.read(rule, early.isoformat(), "UTC", SKIP), max(early, start - timedelta(days=366)), 1500
    )
    expected: list[datetime] = []
    periods = [list(slots) for _, slots in groupby(every, key=lambda slot: _period(rule, slot, week_start))]
    for period in periods[1:-1]:
        numbers = {
            n - 1 if n > 0 else len(period) + n
            for n in map(int, position.split(","))
            if abs(n) <= len(period)
        }
        expected += [period[number] for number in sorted(numbers) if period[number] >= start]
    found = _slots(series, start, len(expected))
    assert found == expected
    grid = Grid(series, Budget())
    for number, slot in list(enumerate(found))[-3:]:
        assert grid.slots_before(slot) == number


@given(any_series(), st.integers(0, 40))
def test_slots_are_counted_as_they_are_made(series: Series, number: int) -> None:
    slots = _slots(series, series.start, number + 1)
    assume(len(slots) > number)
    with suppress(ExpansionBoundError):
        assert Grid(series, Budget()).slots_before(slots[number]) == number


@given(
    st.sampled_from(
        ("FREQ=DAILY", "FREQ=MONTHLY;BYMONTHDAY=29,-30", "FREQ=YEARLY;BYWEEKNO=1,53;BYYEARDAY=-1,-366,1")
    )
    | matching_rules,
    starts,
    st.integers(2, 9_998),
)
def test_years_of_one_kind_have_the_same_days(rule: str, start: datetime, year: int) -> None:
    """What is chosen once for all years that begin alike is what is chosen for each alone."""
    parts = Grid(Series.read(rule, start.isoformat(), "UTC", SKIP), Budget()).days
    assert parts.days_in(year) == _days_in(parts, year)
    assert parts.number_in(year) == len(parts.days_in(year))


@given(any_series())
def test_keys_and_instants_strictly_increase(series: Series) -> None:
    found = occurrences(series, 40)
    keys = [one.key for one in found]
    assert keys == sorted(set(keys))
    instants = [one.utc for one in found]
    if not series.all_day:
        assert instants == sorted(set(instants))


@given(any_series(), st.integers(0, 30))
def test_fewer_are_a_prefix_of_more(series: Series, count: int) -> None:
    more = occurrences(series, count + 1)
    assert occurrences(series, count) == more[:count]


@given(any_series(), st.integers(0, 20))
def test_asking_after_a_key_gives_the_rest(series: Series, position: int) -> None:
    found = occurrences(series, position + 10)
    assume(len(found) > position)
    rest = occurrences(series, 9, after=found[position].key)
    # Asked from there the budget reaches farther; only where it ran out before is there more.
    known = found[position + 1 : position + 10]
    assert rest[: len(known)] == known
    assert len(rest) == len(known) or len(found) < position + 10


@given(month_end_rules, starts, st.sampled_from(MonthEnd))
def test_the_anchor_day_never_drifts(rule: str, start: datetime, month_end: MonthEnd) -> None:
    """Each key is one of the rule's own days, or the last day of a month that has not got one."""
    series = Series.read(rule, start.date().isoformat(), "UTC", RecurrencePolicies(month_end=month_end))
    named = series.rule.bymonthday or (start.day,)
    for one in occurrences(series, 40):
        day = parse_local(one.key)
        length = calendar.monthrange(day.year, day.month)[1]
        beyond = [number for number in named if number > length]
        if day.day in named:
            assert one.adjusted is None
        else:
            assert month_end is MonthEnd.CLAMP
            assert day.day == length
            assert beyond
            assert str(beyond[0]) in (one.adjusted or "")


@given(
    any_series(st.just(SCHEDULE)), st.integers(0, 10), st.timedeltas(timedelta(days=-40), timedelta(days=400))
)
def test_what_follows_is_the_first_occurrence_that_is_not_overdue(
    series: Series, position: int, late: timedelta
) -> None:
    found = occurrences(series, 100)
    assume(len(found) > position)
    closed_at = found[position].utc + late
    following = next_slot(series, found[position].key, closed_at)
    today = closed_at.astimezone(series.zone).date()
    to_come = [
        one
        for one in found[position + 1 :]
        if (one.local >= today if series.all_day else one.utc > closed_at)
    ]
    if to_come:
        assert following is not None
        assert following.occurrence_key == to_come[0].key
        assert following.due_at == (None if series.all_day else to_come[0].utc)


@given(
    any_series(), st.lists(st.timedeltas(timedelta(days=-30), timedelta(days=90)), min_size=1, max_size=12)
)
def test_a_chain_strictly_increases_and_keeps_to_the_grid(series: Series, delays: list[timedelta]) -> None:
    first = occurrences(series, 1)
    assume(first)
    key, due = first[0].key, first[0].utc
    for delay in delays:
        try:
            following = next_slot(series, key, due + delay)
        except ExpansionBoundError:
            break
        if following is None:
            break
        assert following.occurrence_key > key
        if series.policies.anchor is Anchor.SCHEDULE:
            assert occurrences(series, 1, after=key) != []
            slot = series.last_moment_of(following.occurrence_key)
            assert next(Grid(series, Budget()).slots_from(slot)) == slot
        key = following.occurrence_key
        due = following.due_at or _midnight(following.due_date)


def _midnight(day: date | None) -> datetime:
    assert day is not None
    return datetime.combine(day, datetime.min.time(), tzinfo=UTC)


@given(any_series(), st.timedeltas(timedelta(days=-30), timedelta(days=400)))
def test_one_question_has_one_answer(series: Series, late: timedelta) -> None:
    """Nothing but the arguments counts: no clock (a rule of its own forbids it), and nothing kept from before."""
    first = occurrences(series, 1)
    assume(first)
    closed_at = first[0].utc + late
    expected = next_slot(series, first[0].key, closed_at)
    _days_in.cache_clear()
    again = Series.read(
        str(series.rule), series.key_of(series.start), series.timezone, series.policies, series.exdates
    )
    assert next_slot(again, first[0].key, closed_at.astimezone(series.zone)) == expected


@given(any_series(st.just(SCHEDULE)), st.data())
def test_exdates_only_take_away(series: Series, data: st.DataObject) -> None:
    found = occurrences(series, 30)
    keys = [one.key for one in found]
    gone = frozenset(data.draw(st.lists(st.sampled_from(keys), max_size=5))) if keys else frozenset()
    without = Series(
        rule=series.rule, start=series.start, all_day=series.all_day, timezone=series.timezone, exdates=gone
    )
    assert [one.key for one in occurrences(without, 30 - len(gone))] == [
        key for key in keys if key not in gone
    ]
