"""Each line of the ledger is a sentence, whatever its event left out."""

from __future__ import annotations

from task_api.application.ledger import sentence


def test_sentences() -> None:
    assert sentence("updated", {"changed": ["due_at", "title"]}) == "The task was changed: due_at, title."
    assert sentence("notification_cancelled", {"channel": "email"}) == "Not sent by email: (unknown)."
    assert sentence("moved_to_mars", {}) == "Moved to mars."


def test_an_event_may_bring_its_own_sentence() -> None:
    own = "30 April, since 31 April does not exist."
    assert sentence("occurrence_generated", {"sentence": own}) == own


def test_braces_in_details_are_just_text() -> None:
    assert (
        sentence("notification_failed", {"channel": "{email}", "reason": "{0}"})
        == "Could not be sent by {email}: {0}."
    )
