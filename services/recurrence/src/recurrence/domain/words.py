"""English names and the way lists and numbers are put."""

from __future__ import annotations

from collections.abc import Sequence

MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_LISTED_MAX = 7


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th …; from the end: last, 2nd last."""
    if number < 0:
        return "last" if number == -1 else f"{ordinal(-number)} last"
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def listed(words: Sequence[str]) -> str:
    """`a, b and c`; a long list is cut: `a, b, … and 12 more`."""
    if len(words) > _LISTED_MAX:
        return f"{', '.join(words[:_LISTED_MAX])} and {len(words) - _LISTED_MAX} more"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def shortened(text: str, limit: int) -> str:
    """The text, cut with an ellipsis when it is longer than `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
