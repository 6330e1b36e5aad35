"""A token takes back one change of one person, for a day, and has one written form."""

from __future__ import annotations

import time
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.service_kit.spellings import other_spellings

from service_kit.problems import Problem
from task_api.domain.errors import InvalidUndoToken
from task_api.entrypoints.http.problems import to_problem
from task_api.entrypoints.http.undo_tokens import LIFETIME, UndoTokens

TOKENS = UndoTokens([b"one", b"two"])
ADA = uuid4()


def change(rest: int, age: timedelta = timedelta()) -> UUID:
    """A UUIDv7 of so long ago."""
    made = int((time.time() - age.total_seconds()) * 1000)
    return UUID(int=made << 80 | 0x7 << 76 | 0b10 << 62 | rest)


CHANGE = change(7)


def refused(token: str, user_id: UUID = ADA) -> tuple[int, str, str]:
    """What is told of a token that is not taken."""
    with pytest.raises(InvalidUndoToken) as caught:
        TOKENS.read(token, user_id)
    problem: Problem = to_problem(caught.value)
    return problem.status, problem.error_code, problem.detail


def test_read_gives_what_was_written() -> None:
    assert TOKENS.read(TOKENS.write(ADA, CHANGE), ADA) == CHANGE
    assert UndoTokens([b"new", b"one"]).read(TOKENS.write(ADA, CHANGE), ADA) == CHANGE


def forged(token: str) -> str:
    return ("B" if token[0] == "A" else "A") + token[1:]


def test_another_persons_token_is_as_good_as_a_forged_one() -> None:
    token = TOKENS.write(ADA, CHANGE)
    assert refused(token, uuid4()) == refused(forged(token))


def test_a_token_is_good_for_a_day() -> None:
    late = TOKENS.write(ADA, change(7, LIFETIME + timedelta(minutes=1)))
    assert refused(late)[2] == "It was good for 24 hours."


@given(st.integers(0, 2**62 - 1))
def test_another_spelling_of_a_token_is_as_good_as_a_forged_one(rest: int) -> None:
    token = TOKENS.write(ADA, change(rest))
    others = other_spellings(token)
    assert len(others) >= 3 + 4, "three with other last bits, four with padding"
    assert {refused(other) for other in others} == {refused(forged(token))}
