"""docs/security.md names tests that exist, and every test of tests/security has its place there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)


def test_every_test_that_the_page_names_exists() -> None:
    assert len(NAMED) > 30
    missing = [
        f"{file}::{test}"
        for file, test in NAMED
        if not (TESTS / file).exists()
        or not re.search(rf"def {test}\(", (TESTS / file).read_text(encoding="utf-8"))
    ]
    assert not missing


def test_every_row_has_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    told = [line for line in rows if not line.startswith(("| threat", "| ---"))]
    assert not [line for line in told if "::" not in line]


def test_every_file_of_security_tests_is_on_the_page() -> None:
    files = {path.name for path in (TESTS / "security").glob("test_*.py")} - {"test_audit.py"}
    assert files == {Path(file).name for file, _ in NAMED if file.startswith("security/")}
