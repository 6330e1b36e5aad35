"""The ledger of a task in plain words: one sentence per line, from what its event left behind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_SENTENCES = {
    "created": "The task was created.",
    "updated": "The task was changed: {changed}.",
    "completed": "The task was completed.",
    "reopened": "The task was opened again.",
    "skipped": "This occurrence was skipped.",
    "deleted": "The task was deleted.",
    "restored": "The task was restored.",
    "reminder_scheduled": "A reminder is set for {fire_at}.",
    "reminder_fired": "The reminder for {fire_at} went out at {fired_at}.",
    "series_changed": "The series was changed, and this occurrence goes by it.",
    "reminder_snoozed": "A reminder was put off.",
    "reminder_acknowledged": "A reminder was acknowledged.",
    "notification_delivered": "Sent by {channel}.",
    "notification_failed": "Could not be sent by {channel}: {reason}.",
    "notification_cancelled": "Not sent by {channel}: {reason}.",
    "notification_to_be_repeated": "Attempt {attempt} to send by {channel} failed: {reason}. Another one follows.",
    "occurrence_generated": "The next occurrence is due {due}.",
}


_MISSED = "The reminder for {} was already past when it was set, so it does not go out."


class _Words(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "(unknown)"


def sentence(kind: str, detail: Mapping[str, Any]) -> str:
    """Say what happened; a detail that brings its own `sentence` has the last word."""
    own = detail.get("sentence")
    if isinstance(own, str) and own:
        return own
    missed = detail.get("missed_at_creation")
    more = [_MISSED.format(_words(moment)) for moment in missed] if isinstance(missed, list) else []
    return " ".join([_happened(kind, detail), *more])


def _happened(kind: str, detail: Mapping[str, Any]) -> str:
    template = _SENTENCES.get(kind, kind.replace("_", " ").capitalize() + ".")
    words = _Words({name: _words(value) for name, value in detail.items() if value is not None})
    if "channel" in words and "destination" in words:
        words["channel"] = f"{words['channel']} ({words['destination']})"
    return template.format_map(words)


def spoken(moment: datetime) -> str:
    """Give an instant as people read it: `21 November 2026 at 06:45:18 UTC`."""
    at = moment.astimezone(UTC)
    return f"{at.day} {at:%B %Y} at {at:%H:%M:%S} UTC"


def lasting(span: timedelta) -> str:
    """Give a length of time as people read it, cut after its second unit: `2 h 5 min`, `1 day`, `less than 1 s`."""
    seconds = span // timedelta(seconds=1)
    days, hours, minutes = seconds // 86_400, seconds // 3_600 % 24, seconds // 60 % 60
    if days:
        return _two(f"{days} day{'' if days == 1 else 's'}", hours, "h")
    if hours:
        return _two(f"{hours} h", minutes, "min")
    if minutes:
        return _two(f"{minutes} min", seconds % 60, "s")
    return f"{seconds} s" if seconds else "less than 1 s"


def _two(first: str, number: int, unit: str) -> str:
    return f"{first} {number} {unit}" if number else first


def _words(value: Any) -> str:
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        return spoken(datetime.fromisoformat(value))
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
