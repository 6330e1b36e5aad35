"""What must be true: the people's own notes of what they were promised, kept beside the system and never read from it.

A note is taken only when a write was acknowledged. Times are instants in UTC on the clock of this process, which is
that of the system, for both are on one machine.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

LONG_ENOUGH = timedelta(seconds=90)
"""After what time a reminder that was wanted must have been heard: longer than anything takes to come back."""

Fire = tuple[str, datetime]
"""A reminder's id and the instant it fires at: what a person is to hear of exactly once."""


class Status(StrEnum):
    """How a task stands. Withdrawn: a successor that went when its predecessor was opened again."""

    OPEN = "open"
    COMPLETED = "completed"
    DELETED = "deleted"
    WITHDRAWN = "withdrawn"


class Every(StrEnum):
    """The rules that people set; on the 31st, where there is one, else on the last of the month."""

    DAY = "FREQ=DAILY"
    WEEK = "FREQ=WEEKLY"
    MONTH = "FREQ=MONTHLY"


@dataclass(frozen=True)
class Rule:
    """A series' dates: at `hour` on the wall clock of `zone`, from `start` on."""

    every: Every
    start: date
    hour: int
    zone: str

    def due(self, slot: int) -> datetime:
        """When instance `slot` (the first is 0) is due, in UTC. A month that is too short gives its last day."""
        if self.every is Every.MONTH:
            year, month = divmod(self.start.year * 12 + self.start.month - 1 + slot, 12)
            day = min(self.start.day, calendar.monthrange(year, month + 1)[1])
            on = date(year, month + 1, day)
        else:
            on = self.start + slot * timedelta(days=7 if self.every is Every.WEEK else 1)
        wall = datetime(on.year, on.month, on.day, self.hour, tzinfo=ZoneInfo(self.zone))
        return wall.astimezone(UTC)


@dataclass(frozen=True)
class Wanted:
    """A task as its person wants it; `reminders` are instants by id."""

    title: str
    priority: str
    status: Status
    reminders: Mapping[str, datetime]


@dataclass
class Spell:
    """Since when a reminder was wanted at its time, and until when: None as long as it is."""

    since: datetime
    until: datetime | None = None


@dataclass
class Task:
    """One task by the word of its person. `slot` is its place in `series`."""

    task_id: str
    user_id: str
    due: datetime
    version: int
    wanted: Wanted
    series: Series | None = None
    slot: int = 0
    touched: bool = False
    """Whether the person changed it: a successor that was is not taken away by an undo."""
    left_alone: bool = False
    """Whether nothing more is asked of it: a request that got no answer may still be under way."""
    unknown: bool = False
    """Whether a write never was acknowledged, so that nothing is known."""
    versions: set[int] = field(default_factory=set)
    """Those that were acknowledged."""
    story: list[tuple[datetime, str]] = field(default_factory=list)
    """What was acknowledged and when, as its activity calls it."""
    spells: dict[Fire, Spell] = field(default_factory=dict)
    owed: set[Fire] = field(default_factory=set)
    """What was given up only long after its time: it must have been heard by then."""
    heard: set[Fire] = field(default_factory=set)
    """What the person saw in the inbox."""
    busy: bool = False
    undo: tuple[str, Wanted] | None = None
    """The token of the last write, and what it would bring back."""

    @property
    def acts(self) -> list[str]:
        return [act for _, act in self.story]

    @property
    def is_open(self) -> bool:
        return self.wanted.status is Status.OPEN

    def acknowledge(
        self, wanted: Wanted, version: int, at: datetime, act: str, asked: datetime | None = None
    ) -> None:
        """Take a note of a write that was acknowledged at `at`, and may have been done since it was asked for."""
        self.wanted, self.version = wanted, version
        self.versions.add(version)
        self.story.append((at, act))
        current = set(wanted.reminders.items()) if self.is_open else set[Fire]()
        for fire in current:
            spell = self.spells.get(fire)
            if spell is None or spell.until is not None:
                self.spells[fire] = Spell(at)
        for fire, spell in self.spells.items():
            if fire not in current and spell.until is None:
                spell.until = at
                if (asked or at) - max(fire[1], spell.since) > LONG_ENOUGH:
                    self.owed.add(fire)

    def still_wanted(self, now: datetime) -> set[Fire]:
        """What is wanted now and was due by `now`."""
        return {fire for fire, spell in self.spells.items() if spell.until is None and fire[1] <= now}

    def must_be_heard(self, now: datetime) -> set[Fire]:
        """What is still wanted, and what was for long enough."""
        return self.still_wanted(now) | self.owed

    def must_not_be_heard(self) -> Iterator[Fire]:
        """What was given up before its time and never wanted again."""
        return (fire for fire, spell in self.spells.items() if spell.until and spell.until < fire[1])


@dataclass
class Series:
    """A recurring task: its instances in the order of their slots, those that are known."""

    series_id: str
    rule: Rule
    instances: list[Task] = field(default_factory=list)

    @property
    def tip(self) -> Task:
        return self.instances[-1]

    def withdraw_after(self, task: Task, at: datetime, asked: datetime | None = None) -> None:
        """The task is open again: what came after it and was not touched is gone."""
        for later in [one for one in self.instances if one.slot > task.slot]:
            later.acknowledge(
                replace(later.wanted, status=Status.WITHDRAWN), later.version + 1, at, "deleted", asked
            )
            later.left_alone = True
            self.instances.remove(later)


@dataclass
class Model:
    """Everything that was promised to everybody."""

    tasks: dict[str, Task] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    emails: dict[str, str] = field(default_factory=dict)
    """Of each person by their id."""
    acknowledged: int = 0
    """Writes."""
    repeated: int = 0
    """Requests that got no answer, or a 5xx, and were sent again."""

    def add(self, task: Task) -> None:
        self.tasks[task.task_id] = task
        if task.series is not None:
            self.series[task.series.series_id] = task.series
            task.series.instances.append(task)

    def tasks_of(self, user_id: str) -> list[Task]:
        return [task for task in self.tasks.values() if task.user_id == user_id]
