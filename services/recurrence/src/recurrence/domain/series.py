"""A series as the rule engine sees it: a rule, its start, and the choices that RFC 5545 leaves to people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, time
from functools import cached_property
from zoneinfo import ZoneInfo

from event_contracts.rrule import RRule, check_start, parse_rrule
from event_contracts.series import RecurrencePolicies
from event_contracts.values import parse_local

_LAST_SECOND = time(23, 59, 59)


@dataclass(frozen=True)
class Series:
    """`start` is local wall-clock time without zone, at midnight for an all-day series.

    A slot is a naive local datetime on the rule's grid. Its occurrence key is its text: `YYYY-MM-DD` when all-day,
    else `YYYY-MM-DDTHH:MM:SS`. Only a day that its month does not have cannot be a key, since it is no date: under
    `month_end: clamp` the grid itself has the month's last day there, and the key names that day. Days that clamping
    makes equal are therefore one slot with one key. What a clock change does to a slot comes after the key: a slot at
    02:30 keeps its key on the day that has no 02:30.
    """

    rule: RRule
    start: datetime
    all_day: bool
    timezone: str
    policies: RecurrencePolicies = field(default_factory=RecurrencePolicies)
    exdates: frozenset[str] = frozenset()

    @classmethod
    def read(
        cls,
        rrule: str,
        start: str,
        timezone: str,
        policies: RecurrencePolicies | None = None,
        exdates: Iterable[str] = (),
    ) -> Series:
        """Read a series from its texts. Raises RuleError for a bad rule, ValueError for another bad text."""
        rule = parse_rrule(rrule)
        check_start(rule, start)
        moment = parse_local(start)
        return cls(
            rule=rule,
            start=_at_midnight(moment),
            all_day=not isinstance(moment, datetime),
            timezone=timezone,
            policies=policies or RecurrencePolicies(),
            exdates=frozenset(exdates),
        )

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def key_of(self, slot: datetime) -> str:
        """The occurrence key of a slot; keys of one series sort as text in the order of time."""
        return slot.date().isoformat() if self.all_day else slot.isoformat(timespec="seconds")

    def last_moment_of(self, key: str) -> datetime:
        """The naive local moment that a later slot must lie after.

        A key of the other form is left from before an edit that made the series all-day or timed: the whole of its
        day counts as used. Raises ValueError for a text that is no key.
        """
        moment = parse_local(key)
        if self.all_day:
            return _at_midnight(moment.date() if isinstance(moment, datetime) else moment)
        return moment if isinstance(moment, datetime) else datetime.combine(moment, _LAST_SECOND)


def _at_midnight(moment: date | datetime) -> datetime:
    return moment if isinstance(moment, datetime) else datetime.combine(moment, time.min)
