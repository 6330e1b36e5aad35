"""What the audit of dependencies says, and that no lock is left out of it."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.security import audit_locks

GOOD = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
UNASKED = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "status", "words"),
    [
        ([GOOD], 0, "No advisory is known"),
        ([GOOD, BAD], 1, "b 2: PYSEC-1, mended in 3"),
        ([BAD, UNASKED], 1, "PYSEC-1"),
        ([GOOD, UNASKED], 3, "1 of 2 packages"),
        ([UNASKED, UNASKED], 2, "no advisory database"),
        ([], 2, "no advisory database"),
    ],
)
def test_what_was_not_asked_is_not_passed(packages: list[Any], status: int, words: str) -> None:
    found, lines = audit_locks.verdict({"dependencies": packages})
    assert found == status
    assert words in " ".join(lines)


def _answering(directory: Path, words: str, status: int) -> str:
    program = directory / "pip-audit"
    program.write_text(f"#!/bin/sh\n{words}\nexit {status}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def test_a_database_that_does_not_answer_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = _answering(tmp_path, "echo 'no connection' >&2", 1)
    assert audit_locks.main([program]) == 2
    assert "does not answer" in capsys.readouterr().err
    assert audit_locks.main(["--if-reachable", program]) == 0


@pytest.mark.parametrize(("packages", "status"), [([GOOD, UNASKED], 3), ([GOOD, BAD], 1)])
def test_what_it_does_answer_is_never_passed_over(tmp_path: Path, packages: list[Any], status: int) -> None:
    program = _answering(tmp_path, f"echo '{json.dumps({'dependencies': packages})}'", 0)
    for options in ([], ["--if-reachable"]):
        assert audit_locks.main([*options, program]) == status


def test_every_lock_is_asked_about() -> None:
    assert {str(path) for path in audit_locks.locks()} >= {
        "requirements-dev.lock",
        "requirements-audit.lock",
        "cli/requirements.lock",
        *(
            f"services/{name}/requirements.lock"
            for name in ("task-api", "reminders", "recurrence", "notifier")
        ),
    }
