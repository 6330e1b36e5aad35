"""Tasks as iCalendar: read by a strict reader of ours, and by the icalendar package."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import icalendar
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.task_api.calendar_checks import content_lines, expanded, offset_at, parsed

from event_contracts.series import RecurrencePolicies
from event_contracts.values import ClosedBy, Priority, TaskStatus
from recurrence.domain.occurrences import occurrences
from recurrence.domain.series import Series as Engine
from task_api.application.calendar_feed import LEFT_OUT_MAX, Dated
from task_api.domain.moments import slot_of
from task_api.domain.series import Recurrence, Series
from task_api.domain.task import Reminder, Task
from task_api.entrypoints.http.calendar_lines import duration, zone_lines
from task_api.entrypoints.http.calendar_text import calendar_text

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
DUE = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
NINE = time(9)
BERLIN = "Europe/Berlin"
OWNER = uuid4()

words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=255)


def task(**fields: Any) -> Task:
    given_fields = {"title": "Water the plants", "timezone": BERLIN, "due_at": DUE, **fields}
    return Task(id=uuid4(), user_id=OWNER, number=1, version=3, created_at=AT, updated_at=AT, **given_fields)


def recurring(rrule: str, one: Task, exdates: Iterable[str] = (), **policies: Any) -> Dated:
    slot = slot_of(one.due_at, one.due_date, one.timezone)
    assert slot is not None
    series = Series(
        id=uuid4(),
        user_id=OWNER,
        version=1,
        recurrence=Recurrence(rrule, RecurrencePolicies(**policies)),
        timezone=one.timezone,
        start=slot,
        created_at=AT,
        updated_at=AT,
        exdates=tuple(exdates),
    )
    return Dated(replace(one, series_id=series.id, occurrence_key=slot), series)


def by_the_package(text: str) -> list[Any]:
    """The VTODOs as icalendar has them."""
    calendar: Any = icalendar.Calendar.from_ical(text)
    return list(calendar.walk("VTODO"))


def todo(item: Task | Dated) -> Any:
    """The one VTODO of a feed, as our strict reader has it."""
    dated = Dated(item) if isinstance(item, Task) else item
    (found,) = parsed(calendar_text([dated], NINE)).all("VTODO")
    return found


@settings(max_examples=300, deadline=None)
@given(
    title=words, description=st.none() | words, tags=st.lists(words.map(lambda word: word[:50]), max_size=4)
)
def test_any_text_comes_back(title: str, description: str | None, tags: list[str]) -> None:
    def kept(value: str) -> str:
        return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "", re.sub("\r\n?", "\n", value))

    text = calendar_text([Dated(task(title=title, description=description, tags=tuple(tags)))], NINE)
    (found,) = parsed(text).all("VTODO")
    assert found.text("SUMMARY") == kept(title)
    assert ("DESCRIPTION" in found.properties) == bool(description)
    if description:
        assert found.text("DESCRIPTION") == kept(description)
    (read,) = by_the_package(text)
    assert str(read["SUMMARY"]) == kept(title)
    if tags:
        assert [str(tag) for tag in read["CATEGORIES"].cats] == [kept(tag) for tag in tags]


def test_what_a_task_says() -> None:
    found = todo(task(priority=Priority.URGENT, tags=("home", "a,b"), description="two\nlines; more"))
    assert found.properties["DUE"] == [({"TZID": BERLIN}, "20260302T093000")]
    assert found.value("PRIORITY") == "1"
    assert found.value("CATEGORIES") == r"home,a\,b"
    assert found.value("DESCRIPTION") == r"two\nlines\; more"
    assert (found.value("STATUS"), found.value("PERCENT-COMPLETE")) == ("NEEDS-ACTION", "0")
    assert (found.value("SEQUENCE"), found.value("DTSTAMP")) == ("3", "20260105T090000Z")


@pytest.mark.parametrize(
    ("fields", "due"),
    [
        ({"due_at": None, "due_date": date(2026, 3, 2)}, ({"VALUE": "DATE"}, "20260302")),
        ({"timezone": "UTC"}, ({}, "20260302T083000Z")),
        # 02:30 comes twice that night in Berlin: the second one has no name on the wall clock.
        ({"due_at": datetime(2026, 10, 25, 0, 30, tzinfo=UTC)}, ({"TZID": BERLIN}, "20261025T023000")),
        ({"due_at": datetime(2026, 10, 25, 1, 30, tzinfo=UTC)}, ({}, "20261025T013000Z")),
        ({"due_at": datetime(8000, 3, 2, 8, 30, tzinfo=UTC)}, ({}, "80000302T083000Z")),
    ],
)
def test_a_due_in_the_words_of_its_kind(fields: dict[str, Any], due: Any) -> None:
    assert todo(task(**fields)).properties["DUE"] == [due]


def test_a_completed_task_rings_no_more() -> None:
    reminder = Reminder(uuid4(), AT, offset=timedelta(minutes=30))
    done = task(
        status=TaskStatus.COMPLETED,
        closed_by=ClosedBy.COMPLETED,
        closed_version=3,
        closed_at=AT,
        completed_at=AT,
        reminders=(reminder,),
    )
    found = todo(done)
    assert (found.value("STATUS"), found.value("PERCENT-COMPLETE")) == ("COMPLETED", "100")
    assert found.value("COMPLETED") == "20260105T090000Z"
    assert found.parts == []


ALL_DAY: dict[str, Any] = {"due_at": None, "due_date": date(2026, 3, 2)}


@pytest.mark.parametrize(
    ("fields", "reminder", "trigger"),
    [
        ({}, {"offset": timedelta(minutes=30)}, ({"RELATED": "END"}, "-PT30M")),
        ({}, {"offset": timedelta(days=1, hours=2)}, ({"RELATED": "END"}, "-P1DT2H")),
        ({}, {"offset": timedelta()}, ({"RELATED": "END"}, "PT0S")),
        ({}, {"at": AT}, ({"VALUE": "DATE-TIME"}, "20260105T090000Z")),
        (ALL_DAY, {"offset": timedelta(days=1)}, ({"VALUE": "DATE-TIME"}, "20260301T080000Z")),
        ({}, {"offset": timedelta(), "snoozed_until": AT}, ({"VALUE": "DATE-TIME"}, "20260105T090000Z")),
    ],
)
def test_an_alarm_rings_when_the_reminder_fires(
    fields: dict[str, Any], reminder: dict[str, Any], trigger: Any
) -> None:
    (alarm,) = todo(task(reminders=(Reminder(uuid4(), AT, **reminder),), **fields)).parts
    assert alarm.properties["TRIGGER"] == [trigger]
    assert (alarm.value("ACTION"), alarm.value("DESCRIPTION")) == ("DISPLAY", "Water the plants")


def test_an_acknowledged_reminder_is_no_alarm() -> None:
    assert todo(task(reminders=(Reminder(uuid4(), AT, at=AT, acknowledged_at=AT),))).parts == []


@settings(max_examples=200)
@given(
    st.timedeltas(timedelta(), timedelta(days=400)).map(
        lambda one: timedelta(seconds=int(one.total_seconds()))
    )
)
def test_a_duration_is_read_as_it_was_meant(value: timedelta) -> None:
    package: Any = icalendar.vDuration
    assert package.from_ical(duration(value)) == value


def test_a_recurring_task_has_its_rule_and_a_start() -> None:
    found = todo(recurring("FREQ=WEEKLY;BYDAY=MO,TH", task()))
    assert found.value("RRULE") == "FREQ=WEEKLY;BYDAY=MO,TH"
    assert found.properties["DTSTART"] == found.properties["DUE"]


@pytest.mark.parametrize(
    ("one", "exdates", "told"),
    [
        pytest.param(
            task(**ALL_DAY), ["2026-03-03", "2026-03-05"], ({"VALUE": "DATE"}, "20260303,20260305"), id="dates"
        ),
        pytest.param(
            task(), ["2026-03-03T09:30:00"], ({"TZID": BERLIN}, "20260303T093000"), id="times of a zone"
        ),
        pytest.param(task(timezone="UTC"), ["2026-03-03T08:30:00"], ({}, "20260303T083000Z"), id="UTC"),
    ],
)  # fmt: skip
def test_slots_left_out_are_told_in_the_words_of_the_start(one: Task, exdates: list[str], told: Any) -> None:
    found = todo(recurring("FREQ=DAILY", one, exdates))
    assert found.properties["EXDATE"] == [told]
    assert found.properties["DTSTART"][0][0] == told[0]


@pytest.mark.parametrize(
    "exdates",
    [
        pytest.param(["2026-03-01T09:30:00", "2026-03-02T09:30:00"], id="over, or the one that is due"),
        pytest.param(["2026-03-03T10:30:00", "2026-03-03"], id="of another time"),
    ],
)
def test_what_takes_nothing_away_is_not_told(exdates: list[str]) -> None:
    found = todo(recurring("FREQ=DAILY", task(), exdates))
    assert found.value("RRULE") == "FREQ=DAILY"
    assert "EXDATE" not in found.properties


@pytest.mark.parametrize("zone", [BERLIN, "UTC", "Australia/Lord_Howe", None])
@pytest.mark.parametrize(
    "rrule",
    [
        "FREQ=DAILY",
        "FREQ=DAILY;COUNT=30",
        "FREQ=WEEKLY;BYDAY=MO,TH;UNTIL=20271231",
        "FREQ=MONTHLY",
        "FREQ=YEARLY",
    ],
)
@settings(max_examples=25, deadline=None)
@given(gone=st.sets(st.integers(1, 25)))
def test_a_reader_has_the_dates_that_are_made(zone: str | None, rrule: str, gone: set[int]) -> None:
    one = task(**ALL_DAY) if zone is None else task(timezone=zone, due_at=DUE + timedelta(days=28))
    item = recurring(rrule, one)
    assert item.series is not None

    def made(exdates: Iterable[str]) -> list[Any]:
        whole = item.series
        assert whole is not None
        engine = Engine.read(rrule, whole.start, whole.timezone, whole.recurrence.policies, exdates)
        return occurrences(engine, 20)

    keys = [slot.key for slot in made(())]
    exdates = [key for number, key in enumerate(keys) if number in gone]
    text = calendar_text([replace(item, series=replace(item.series, exdates=tuple(exdates)))], NINE)
    (found,) = parsed(text).all("VTODO")
    assert ("EXDATE" in found.properties) == bool(exdates)
    dates = made(exdates)
    # One more is read than was made, so that a reader who goes on where the series ends is found out.
    read = expanded(text, len(dates) + (len(dates) < 20))
    assert [one.replace(tzinfo=None) for one in read] == [wall_of(slot.local) for slot in dates]


def wall_of(moment: date) -> datetime:
    return moment if isinstance(moment, datetime) else datetime.combine(moment, time.min)


def test_many_slots_left_out_are_one_folded_line() -> None:
    days = [f"{date(2026, 3, 3) + timedelta(days=n):%Y-%m-%d}" for n in range(500)]
    text = calendar_text([recurring("FREQ=DAILY", task(**ALL_DAY), days)], NINE)
    (line,) = (line for line in content_lines(text) if line.startswith("EXDATE"))
    assert line.count(",") == 499
    assert expanded(text, 2) == [datetime(2026, 3, 2), datetime(2026, 3, 3) + timedelta(days=500)]


def test_a_feed_takes_so_many_slots_into_account() -> None:
    """What is over, and what has no rule anyway, counts for nothing; a series that still fits in has its rule."""
    days = [f"{date(2026, 3, 2) + timedelta(days=n):%Y-%m-%d}" for n in range(500)]
    many = [recurring("FREQ=DAILY", task(**ALL_DAY), days) for _ in range(LEFT_OUT_MAX // 499 + 2)]
    many.insert(0, replace(many[0], is_last=False))
    few = recurring("FREQ=DAILY", task(**ALL_DAY), ["2026-04-01"])
    todos = list(parsed(calendar_text([*many, few], NINE)).all("VTODO"))
    told = ["EXDATE" in one.properties for one in todos]
    assert told == [False] + [True] * (LEFT_OUT_MAX // 499) + [False, False] + [True]
    assert told == ["RRULE" in one.properties for one in todos]


def moved(item: Dated) -> Dated:
    return replace(item, task=replace(item.task, due_at=DUE + timedelta(hours=1)))


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(moved(recurring("FREQ=DAILY", task())), id="moved away from its slot"),
        pytest.param(replace(recurring("FREQ=DAILY", task()), is_last=False), id="a later one is open"),
        pytest.param(recurring("FREQ=DAILY", task(), anchor="completion"), id="counted from completion"),
        pytest.param(recurring("FREQ=HOURLY", task()), id="hourly"),
        pytest.param(recurring("FREQ=DAILY", task(), dst_gap="skip"), id="skips what the clocks leave out"),
    ],
)
def test_no_rule_where_a_strict_reader_would_get_other_dates(item: Dated) -> None:
    assert "RRULE" not in todo(item).properties


ZONES = [
    BERLIN,
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Europe/Dublin",
]


@pytest.mark.parametrize("name", ZONES)
@settings(max_examples=60, deadline=None)
@given(wall=st.datetimes(datetime(2005, 1, 2), datetime(2040, 12, 30)))
def test_a_time_zone_says_what_the_clock_says(name: str, wall: datetime) -> None:
    wall = wall.replace(microsecond=0)
    zone = ZoneInfo(name)
    moments = {wall.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1)}
    if len(moments) > 1:  # the hour that comes twice, or never
        return
    lines = ["BEGIN:VCALENDAR", "PRODID:x", "VERSION:2.0", *zone_lines(name, 2004, 2041), "END:VCALENDAR"]
    (told,) = parsed("\r\n".join(lines) + "\r\n").all("VTIMEZONE")
    assert {offset_at(told, wall)} == moments


def test_the_package_reads_the_same_instants() -> None:
    items = [Dated(task(timezone=zone, due_at=DUE + timedelta(days=n))) for n, zone in enumerate(ZONES)]
    read = by_the_package(calendar_text(items, NINE))
    dues = {UUID(str(one["UID"])): one["DUE"].dt.astimezone(UTC) for one in read}
    assert dues == {item.task.id: item.task.due_at for item in items}
