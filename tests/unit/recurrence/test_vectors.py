"""The conformance files of tests/vectors: dates from RFC 5545 and from the calendar, never from this engine."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from event_contracts.series import RecurrencePolicies
from recurrence.domain.occurrences import OCCURRENCES_MAX, Occurrence, occurrences
from recurrence.domain.series import Series
from recurrence.domain.successor import next_slot

VECTORS = Path(__file__).parents[2] / "vectors"
OCCURRENCE_FILES = ("rfc5545", "calendar", "clock_changes")


def _cases(*files: str) -> list[Any]:
    return [
        pytest.param(case, id=f"{file}: {case['name']}")
        for file in files
        for case in json.loads((VECTORS / f"{file}.json").read_text("utf-8"))["cases"]
    ]


def _series(case: dict[str, Any]) -> Series:
    policies = RecurrencePolicies.model_validate(case.get("policies", {}))
    return Series.read(case["rrule"], case["start"], case["timezone"], policies, case.get("exdates", ()))


def _found(case: dict[str, Any], count: int) -> list[Occurrence]:
    """The first `count` occurrences, asked for page by page."""
    series = _series(case)
    found: list[Occurrence] = []
    while len(found) < count:
        after = found[-1].key if found else None
        page = occurrences(series, min(count - len(found), OCCURRENCES_MAX), after)
        if not page:
            break
        found += page
    return found


def _keys(case: dict[str, Any]) -> list[str]:
    return case.get("keys") or [one["key"] for one in case.get("occurrences", ())]


@pytest.mark.parametrize("case", _cases(*OCCURRENCE_FILES))
def test_the_dates_of_a_rule(case: dict[str, Any]) -> None:
    expected = _keys(case)
    found = _found(case, len(expected) + (1 if case["complete"] else 0))
    assert [one.key for one in found] == expected


@pytest.mark.parametrize("case", _cases(*OCCURRENCE_FILES))
def test_from_each_date_on_come_the_others(case: dict[str, Any]) -> None:
    expected = _keys(case)
    series = _series(case)
    for position, key in enumerate(expected[:-1]):
        (following,) = occurrences(series, 1, after=key)
        assert following.key == expected[position + 1]


@pytest.mark.parametrize("case", _cases("clock_changes"))
def test_what_the_clocks_make_of_a_date(case: dict[str, Any]) -> None:
    for one, expected in zip(_found(case, len(case["occurrences"])), case["occurrences"], strict=True):
        assert isinstance(one.local, datetime)
        assert one.local.isoformat() == expected["local"]
        assert one.utc == datetime.fromisoformat(expected["utc"])
        assert one.adjusted == expected.get("adjusted")


@pytest.mark.parametrize("case", _cases("successors"))
def test_what_follows_a_closed_instance(case: dict[str, Any]) -> None:
    series = _series(case)
    for step in case["steps"]:
        resumed = step.get("resumed_at")
        following = next_slot(
            series,
            step["closed"],
            datetime.fromisoformat(step["at"]),
            None if resumed is None else datetime.fromisoformat(resumed),
        )
        assert (None if following is None else following.occurrence_key) == step["next"]
        assert following is None or (following.due_at is None) == series.all_day


def test_no_example_of_the_rfc_is_missing() -> None:
    # Of 39 examples three give two rules, and one is here as erratum 3883 has it, too.
    rules = [(case.values[0]["rrule"], case.values[0]["start"]) for case in _cases("rfc5545")]
    assert len(set(rules)) == len(rules) == 39 + 3 + 1


def test_there_are_enough_of_them() -> None:
    assert len(_cases(*OCCURRENCE_FILES, "successors")) >= 150
