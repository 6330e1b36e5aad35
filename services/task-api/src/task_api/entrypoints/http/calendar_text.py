"""Tasks as an iCalendar object (RFC 5545): one VTODO each, alarms inside, the time zones they are told in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from event_contracts.values import Priority, TaskStatus
from task_api.application.calendar_feed import LEFT_OUT_MAX, Dated
from task_api.domain.moments import slot_of
from task_api.domain.strict_rule import StrictRule, strict_rule
from task_api.domain.task import Reminder, Task
from task_api.entrypoints.http.calendar_lines import (
    FIRST_YEAR,
    LAST_YEAR,
    day,
    duration,
    folded,
    local,
    text,
    utc,
    zone_lines,
)

CONTENT_TYPE = "text/calendar; charset=utf-8"
PRIORITIES = {Priority.URGENT: 1, Priority.HIGH: 3, Priority.MEDIUM: 5, Priority.LOW: 9}
_STATUSES = {
    TaskStatus.PENDING: "NEEDS-ACTION",
    TaskStatus.IN_PROGRESS: "IN-PROCESS",
    TaskStatus.COMPLETED: "COMPLETED",
    TaskStatus.ARCHIVED: "CANCELLED",
}
_PERCENT = {TaskStatus.PENDING: 0, TaskStatus.COMPLETED: 100}
"""How far one is that is in progress, nobody said."""
_YEARS_AHEAD = 10
"""For how long after its latest task the clock changes of a zone are told: recurring ones go on."""


def calendar_text(items: Sequence[Dated], day_start: time) -> str:
    """Give the calendar of tasks that have a due; all-day reminders count from `day_start`, the owner's.

    The same tasks give the same text: DTSTAMP is the task's last change, as RFC 5545, 3.8.7.2 has it without METHOD.
    """
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Taskstream//Tasks//EN",
        "CALSCALE:GREGORIAN",
        "NAME:Tasks",
        "X-WR-CALNAME:Tasks",
    ]
    for zone, (first, last) in sorted(_zones(item.task for item in items).items()):
        lines += zone_lines(zone, first, last)
    for item, rule in _with_rules(items):
        lines += _todo(item.task, rule, day_start)
    lines.append("END:VCALENDAR")
    return "".join(map(folded, lines))


def _zones(tasks: Iterable[Task]) -> dict[str, tuple[int, int]]:
    """The zones that dues are told in, each with the years that matter."""
    found: dict[str, tuple[int, int]] = {}
    for task in tasks:
        there = _in_zone(task)
        if there is not None:
            first, last = found.get(task.timezone, (there.year, there.year))
            found[task.timezone] = (min(first, there.year), max(last, there.year))
    return {
        zone: (max(first - 1, FIRST_YEAR), min(last + _YEARS_AHEAD, LAST_YEAR))
        for zone, (first, last) in found.items()
    }


def _in_zone(task: Task) -> datetime | None:
    """The wall-clock time that a task is due at, None for one that is told as a date or in UTC."""
    if task.due_at is None or task.timezone == "UTC":
        return None
    there = task.due_at.astimezone(ZoneInfo(task.timezone))
    # The second coming of an hour has no name on the wall clock: a reader would take the first.
    return there if FIRST_YEAR < there.year < LAST_YEAR and not there.fold else None


def _moment(name: str, task: Task) -> str:
    if task.due_date is not None:
        return f"{name};VALUE=DATE:{day(task.due_date)}"
    there = _in_zone(task)
    if there is not None:
        return f"{name};TZID={task.timezone}:{local(there)}"
    return f"{name}:{utc(task.due_at or datetime.min.replace(tzinfo=UTC))}"


def _todo(task: Task, rule: StrictRule | None, day_start: time) -> list[str]:
    lines = [
        "BEGIN:VTODO",
        f"UID:{task.id}",
        f"DTSTAMP:{utc(task.updated_at)}",
        f"CREATED:{utc(task.created_at)}",
        f"LAST-MODIFIED:{utc(task.updated_at)}",
        f"SEQUENCE:{task.version}",
        f"SUMMARY:{text(task.title)}",
        *([f"DESCRIPTION:{text(task.description)}"] if task.description else []),
        f"PRIORITY:{PRIORITIES[task.priority]}",
        *([f"CATEGORIES:{','.join(map(text, task.tags))}"] if task.tags else []),
        f"STATUS:{_STATUSES[task.status]}",
        *([f"PERCENT-COMPLETE:{_PERCENT[task.status]}"] if task.status in _PERCENT else []),
        *([f"COMPLETED:{utc(task.completed_at)}"] if task.completed_at is not None else []),
        *_recurrence(task, rule),
        _moment("DUE", task),
    ]
    if task.is_open:
        for reminder in task.reminders:
            lines += _alarm(task, reminder, day_start)
    return [*lines, "END:VTODO"]


def _with_rules(items: Iterable[Dated]) -> Iterator[tuple[Dated, StrictRule | None]]:
    """The items, each with the rule that is told of it. The slots that rules are looked through for are bounded: a
    series with more of them left out than there is room for has none."""
    room = LEFT_OUT_MAX
    for item in items:
        series, slot = item.series, _slot_told(item)
        rule = None
        if series is not None and slot is not None:
            to_come = len(series.left_out_after(slot))
            if to_come <= room:
                room -= to_come
                rule = strict_rule(series, slot)
        yield item, rule


def _slot_told(item: Dated) -> str | None:
    """The slot that a rule may be told from: that of a series' last open instance, where it is due in it."""
    task, series = item.task, item.series
    if series is None or not task.is_open or task.occurrence_key is None or not item.is_last:
        return None
    slot = slot_of(task.due_at, task.due_date, task.timezone)
    told_in_utc = task.due_at is not None and _in_zone(task) is None and task.timezone != "UTC"
    if slot != task.occurrence_key or series.timezone != task.timezone or told_in_utc:
        return None
    return slot


def _recurrence(task: Task, rule: StrictRule | None) -> list[str]:
    """The rule of what is due, from it on, and what it makes too much.

    A rule needs DTSTART (RFC 5545, 3.8.2.4). It is the due itself, though 3.8.2.3 wants the due later: nothing else
    gives the dates, and RFC 2445, 4.8.2.3, which readers still go by, allows it.
    """
    if rule is None:
        return []
    left_out = [_exdate(task, rule.without)] if rule.without else []
    return [_moment("DTSTART", task), f"RRULE:{rule.rrule}", *left_out]


def _exdate(task: Task, slots: Iterable[date]) -> str:
    """Slots that are left out, in the form of DTSTART (RFC 5545, 3.8.5.1): of one kind and in one zone with it."""
    if task.due_date is not None:
        return f"EXDATE;VALUE=DATE:{','.join(map(day, slots))}"
    told = [local(slot) for slot in slots if isinstance(slot, datetime)]
    if task.timezone == "UTC":
        return f"EXDATE:{','.join(f'{slot}Z' for slot in told)}"
    return f"EXDATE;TZID={task.timezone}:{','.join(told)}"


def _alarm(task: Task, reminder: Reminder, day_start: time) -> list[str]:
    """An alarm that rings when the reminder fires. A date has no time to count from, so there it is an instant."""
    fires = reminder.fire_time(task.due(day_start), task.timezone)
    if fires is None or reminder.acknowledged_at is not None:
        return []
    relative = reminder.offset is not None and reminder.snoozed_until is None and task.due_at is not None
    trigger = (
        f"TRIGGER;RELATED=END:{_before(reminder.offset or timedelta())}"
        if relative
        else f"TRIGGER;VALUE=DATE-TIME:{utc(fires)}"
    )
    return ["BEGIN:VALARM", "ACTION:DISPLAY", f"DESCRIPTION:{text(task.title)}", trigger, "END:VALARM"]


def _before(offset: timedelta) -> str:
    return f"-{duration(offset)}" if offset else "PT0S"
