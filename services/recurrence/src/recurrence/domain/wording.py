"""Dates and adjustments in plain English."""

from __future__ import annotations

from datetime import date, datetime

from event_contracts.rrule import Frequency
from recurrence.domain.rule_text import describe
from recurrence.domain.series import Series
from recurrence.domain.words import MONTHS, WEEKDAYS, shortened

SENTENCE_MAX = 500
_RULE_MAX = 200
_COUNTED_MAX = 1_000


def month_end_adjustment(day: date, named: int | None) -> str | None:
    """Say that `day` stands for the day `named` that its month does not have; None when `named` is None."""
    if named is None:
        return None
    month = MONTHS[day.month - 1]
    in_year = f" in {day.year}" if (day.month, named) == (2, 29) else ""
    return f"{named} {month} does not exist{in_year}: moved to {day.day} {month}"


def gap_adjustment(slot: datetime, local: datetime) -> str:
    """Say that the wall-clock time of `slot` was left out by the clocks and became `local`."""
    moved = clock_text(local) if local.date() == slot.date() else f"{date_text(local)} at {clock_text(local)}"
    return f"{clock_text(slot)} does not exist on {date_text(slot)}: moved to {moved}"


def why_on_schedule(
    series: Series, predecessor_key: str, local: datetime | date, adjusted: str | None, passed_over: int
) -> str:
    """Say why `local` follows `predecessor_key` on the grid. At most 500 characters."""
    return _with_notes(_on_the_grid(series, predecessor_key, local), adjusted, passed_over)


def why_by_schedule(
    series: Series, predecessor_key: str, local: datetime | date, adjusted: str | None, passed_over: int
) -> str:
    """Say why `local` follows `predecessor_key`, which may be open. At most 500 characters."""
    text = f"{_on_the_grid(series, predecessor_key, local)} It comes by its date and waits for no other."
    return _with_notes(text, adjusted, passed_over)


def why_after_completion(
    series: Series, closed_on: date, local: datetime | date, adjusted: str | None
) -> str:
    """Say why `local` follows a completion on the local day `closed_on`. At most 500 characters."""
    text = (
        f"{_rule(series)}, counted from completion: closed on {date_text(closed_on)}, "
        f"next is {_due_text(series, local)}."
    )
    return _with_notes(text, adjusted, 0)


def _on_the_grid(series: Series, predecessor_key: str, local: datetime | date) -> str:
    after = predecessor_key[:10]
    if series.rule.freq is Frequency.HOURLY:
        after = predecessor_key.replace("T", " ")[:16]
    return f"{_rule(series)}: next after {after} is {_due_text(series, local)}."


def _rule(series: Series) -> str:
    return shortened(describe(series), _RULE_MAX)


def _with_notes(text: str, adjusted: str | None, passed_over: int) -> str:
    if adjusted:
        text += f" {adjusted}."
    if passed_over == 1:
        text += " 1 overdue date was passed over."
    elif passed_over > _COUNTED_MAX:
        text += f" More than {_COUNTED_MAX} overdue dates were passed over."
    elif passed_over:
        text += f" {passed_over} overdue dates were passed over."
    return shortened(text, SENTENCE_MAX)


def _due_text(series: Series, local: datetime | date) -> str:
    if not isinstance(local, datetime):
        return date_text(local)
    return f"{date_text(local)} at {clock_text(local)} ({series.timezone})"


def date_text(day: date) -> str:
    """`Monday 31 March 2025`."""
    return f"{WEEKDAYS[day.weekday()]} {day.day} {MONTHS[day.month - 1]} {day.year}"


def clock_text(moment: datetime) -> str:
    """`09:00`, with seconds only when there are any."""
    return moment.strftime("%H:%M:%S" if moment.second else "%H:%M")
