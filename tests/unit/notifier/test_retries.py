"""Waits grow, have a ceiling and an end; a round without a try has no end."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.notifier.samples import START

from notifier.domain.notifications import Progress
from notifier.domain.retries import RetryPolicy

POLICY = RetryPolicy()


def test_the_waits_of_a_channel_that_stays_away() -> None:
    waits, progress, now = [], Progress(), START
    for _ in range(10):
        progress = progress.after_attempt(now)
        until = POLICY.after_attempt(progress, now, chance=0.0)
        assert until is not None
        waits.append((until - now).total_seconds())
        now = until
    assert waits == [1, 4, 16, 64, 256, 1024, 1800, 1800, 1800, 1800]


def test_the_last_try_is_at_the_end_of_the_horizon_and_none_comes_after() -> None:
    progress, now, tries = Progress(), START, 0
    while True:
        tries += 1
        progress = progress.after_attempt(now)
        until = POLICY.after_attempt(progress, now, chance=0.0)
        if until is None:
            break
        now = until
    assert now == START + POLICY.horizon
    assert progress.first_tried_at == START
    assert 48 <= tries <= 60


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_waits_have_a_floor_a_ceiling_and_some_chance(rounds: int, chance: float) -> None:
    asked = POLICY.after_attempt(Progress(attempts=rounds, first_tried_at=START), START, chance)
    assert asked is not None
    assert timedelta(seconds=0.75) <= asked - START <= POLICY.longest
    postponed = POLICY.after_postponement(Progress(postponements=rounds), START, chance) - START
    assert timedelta(seconds=0.75) <= postponed <= POLICY.longest_postponement


def test_chance_only_shortens() -> None:
    progress = Progress(attempts=4, first_tried_at=START)
    waits = [POLICY.after_attempt(progress, START, chance) for chance in (0.0, 0.5, 0.999)]
    assert waits == sorted(waits, reverse=True, key=lambda until: until or START)
    assert waits[0] == START + timedelta(seconds=64)


def test_an_attempt_ends_the_count_of_rounds_without_one() -> None:
    progress = Progress().after_postponement().after_postponement()
    assert progress.postponements == 2
    assert progress.first_tried_at is None
    assert progress.after_attempt(START) == Progress(1, 0, START)
