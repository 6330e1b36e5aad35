"""The gates on coverage: a part below its bound, or one that was not measured, does not pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.coverage_gates import PARTS, Part, table

ROOT = Path(__file__).parents[2]
CORE, WHOLE = PARTS[0], PARTS[-1]


def file(lines: int, of_lines: int, branches: int = 0, of_branches: int = 0) -> dict[str, Any]:
    counts = {"covered_lines": lines, "num_statements": of_lines}
    return {"summary": counts | {"covered_branches": branches, "num_branches": of_branches}}


MEASURED = {
    "services/recurrence/src/recurrence/domain/grid.py": file(80, 80, 14, 20),
    "services/recurrence/src/recurrence/adapters/dapr.py": file(0, 900),
}


def test_a_branch_that_is_not_taken_counts_and_other_layers_do_not() -> None:
    text, is_well = table(MEASURED, (CORE,))
    assert not is_well
    assert text.splitlines()[1].split() == ["recurrence-core", "94", "100", "94.0%", "95%", "too", "little"]
    assert table({**MEASURED, "services/recurrence/src/recurrence/application/a.py": file(20, 20)}, (CORE,))[
        1
    ]


def test_one_part_below_fails_the_table() -> None:
    text, is_well = table(MEASURED, (Part("domain", 50, CORE.paths), WHOLE))
    assert not is_well
    assert [line.endswith("too little") for line in text.splitlines()] == [False, False, True]


def test_what_was_not_measured_is_not_reached() -> None:
    with pytest.raises(KeyError, match="whole"):
        table({}, (WHOLE,))


def test_every_file_of_a_core_belongs_to_its_part() -> None:
    """A layer that moves must not fall out of its gate."""
    for part in PARTS:
        for path in part.paths:
            assert list((ROOT / path).rglob("*.py")), path
