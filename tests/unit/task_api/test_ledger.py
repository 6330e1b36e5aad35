"""Each line of the ledger is a sentence, whatever its event left out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from task_api.application.ledger import lasting, sentence


def test_sentences() -> None:
    assert sentence("updated", {"changed": ["due_at", "title"]}) == "The task was changed: due_at, title."
    assert sentence("notification_cancelled", {"channel": "email"}) == "Not sent by email: (unknown)."
    failed = {"channel": "email", "attempt": 3, "reason": "no answer in time"}
    assert sentence("notification_to_be_repeated", failed) == (
        "Attempt 3 to send by email failed: no answer in time. Another one follows."
    )
    assert sentence("moved_to_mars", {}) == "Moved to mars."


def test_an_event_may_bring_its_own_sentence() -> None:
    own = "30 April, since 31 April does not exist."
    assert sentence("occurrence_generated", {"sentence": own}) == own


def test_braces_in_details_are_just_text() -> None:
    assert (
        sentence("notification_failed", {"channel": "{email}", "reason": "{0}"})
        == "Could not be sent by {email}: {0}."
    )


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(0), "less than 1 s"),
        (timedelta(milliseconds=999), "less than 1 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(minutes=1), "1 min"),
        (timedelta(minutes=4, seconds=7), "4 min 7 s"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=2, seconds=59), "2 h"),
        (timedelta(hours=23, minutes=59, seconds=59), "23 h 59 min"),
        (timedelta(days=1, minutes=59), "1 day"),
        (timedelta(days=3, hours=4, minutes=5), "3 days 4 h"),
    ],
)
def test_a_length_of_time_is_said_in_two_units_at_most(span: timedelta, said: str) -> None:
    assert lasting(span) == said
