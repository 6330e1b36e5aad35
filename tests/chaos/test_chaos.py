"""A short run of what `make chaos` plays for longer."""

from __future__ import annotations

import secrets

import pytest
from tests.chaos.__main__ import instance_name, play
from tests.chaos.report import table
from tests.chaos.run import Plan


@pytest.mark.nightly
def test_no_promise_breaks_under_faults() -> None:
    """Four minutes of faults and what is before and after them stay below six."""
    outcome = play(Plan(minutes=4, seed=secrets.randbelow(1_000_000)), instance_name())
    assert outcome.holds, table(outcome)
