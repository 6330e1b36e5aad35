"""docs/recurrence.md says what is so: its words, rules, dates and answer."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from pathlib import Path

import pytest

from event_contracts.recurrence import AT_ONCE_MAX
from event_contracts.series import RecurrencePolicies
from recurrence.domain.checks import CHECK_AGAIN_AFTER
from recurrence.domain.occurrences import occurrences
from recurrence.domain.phrases import read_phrase
from recurrence.domain.schedule import AHEAD_OF_A_REMINDER
from recurrence.domain.series import Series
from recurrence.domain.wording import why_by_schedule
from recurrence.entrypoints.rules import PreviewBody, answer_to
from recurrence.settings import RecurrenceSettings

PAGE = (Path(__file__).parents[3] / "docs" / "recurrence.md").read_text("utf-8")
ROWS = re.findall(r"^\| (.+?) \| `(FREQ=.+?)` \| (\S+) \| (.+?) \|$", PAGE, re.MULTILINE)
POLICIES = re.findall(r"^\| `(\w+)` \| `(\w+)`, `(\w+)` \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("words", "rule", "start", "dates"), ROWS)
def test_the_table_of_rules(words: str, rule: str, start: str, dates: str) -> None:
    expected = dates.split()
    assert str(read_phrase(words).rule) == rule
    found = occurrences(Series.read(rule, start, "Europe/Berlin"), len(expected))
    assert [one.key for one in found] == expected


def test_the_preview() -> None:
    asked, answered = re.findall(r"```json\n(.+?)```", PAGE, re.DOTALL)
    answer = answer_to(PreviewBody.model_validate_json(asked))
    assert answer.model_dump(mode="json") == json.loads(answered)


def test_every_policy_with_its_default() -> None:
    assert {name: first for name, first, _ in POLICIES} == RecurrencePolicies().model_dump(mode="json")
    assert len(ROWS) == 7


def test_what_is_promised_of_instances_that_pile_up() -> None:
    assert timedelta(hours=2) == AHEAD_OF_A_REMINDER
    assert AT_ONCE_MAX == 50
    assert timedelta(minutes=45) == CHECK_AGAIN_AFTER
    series = Series.read("FREQ=DAILY", "2026-03-01", "Europe/Berlin")
    assert "It comes by its date and waits for no other." in why_by_schedule(
        series, "2026-03-01", date(2026, 3, 2), None, 0
    )


def test_the_limit_of_requests() -> None:
    assert RecurrenceSettings.model_fields["rate_limit_rules"].default == 100
