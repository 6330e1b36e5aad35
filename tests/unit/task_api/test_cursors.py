"""Cursors lead on in the list they came from, and nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.service_kit.spellings import other_spellings

from task_api.application.ports import Position
from task_api.domain.errors import InvalidCursor
from task_api.entrypoints.http.cursors import Cursors
from task_api.entrypoints.http.problems import to_problem

MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=UTC)
)
HERE = Position(datetime(2026, 1, 5, 9, 0, 0, 123_457, tzinfo=UTC), uuid4())
CURSORS = Cursors([b"one", b"two"])


@given(MOMENTS, st.uuids())
def test_read_gives_what_was_written(moment: datetime, id_: object) -> None:
    position = Position(moment, id_)  # type: ignore[arg-type]
    assert CURSORS.read(CURSORS.write(position, "tasks"), "tasks") == position


def test_a_cursor_of_another_list_is_refused() -> None:
    cursor = CURSORS.write(HERE, "tasks:ada")
    with pytest.raises(InvalidCursor):
        CURSORS.read(cursor, "tasks:bob")


def test_a_cursor_outlives_a_change_of_keys() -> None:
    assert Cursors([b"new", b"one"]).read(CURSORS.write(HERE, "tasks"), "tasks") == HERE
    with pytest.raises(InvalidCursor):
        Cursors([b"new"]).read(CURSORS.write(HERE, "tasks"), "tasks")


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "not base64!", "ä", "A" * 54, "A" * 199])
def test_made_up_cursors_are_refused(cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        CURSORS.read(cursor, "tasks")


def test_no_bit_of_a_cursor_can_be_changed() -> None:
    cursor = CURSORS.write(HERE, "tasks")
    for place, letter in enumerate(cursor[:-1]):
        other = "A" if letter != "A" else "B"
        with pytest.raises(InvalidCursor):
            CURSORS.read(cursor[:place] + other + cursor[place + 1 :], "tasks")


@given(MOMENTS, st.uuids())
def test_another_spelling_of_a_cursor_is_as_good_as_a_forged_one(moment: datetime, id_: UUID) -> None:
    def refused(text: str) -> tuple[int, str, str]:
        with pytest.raises(InvalidCursor) as caught:
            CURSORS.read(text, "tasks")
        problem = to_problem(caught.value)
        return problem.status, problem.error_code, problem.detail

    cursor = CURSORS.write(Position(moment, id_), "tasks")
    forged = refused(("B" if cursor[0] == "A" else "A") + cursor[1:])
    assert {refused(other) for other in other_spellings(cursor)} == {forged}
