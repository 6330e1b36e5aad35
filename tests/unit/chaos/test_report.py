"""The table: what harm counts against which fault, and when a run passes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from tests.chaos.check import Finding, Harm
from tests.chaos.facts import Facts
from tests.chaos.faults import KINDS, Fault
from tests.chaos.model import Model
from tests.chaos.report import Injected, Outcome, as_json, lines, table

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def _injected(number: int, recovery: float | None) -> Injected:
    began = NOW + timedelta(minutes=number)
    return Injected(Fault(number, KINDS[number % 2], "x", 1.0, 1.0), began, began, recovery)


def _outcome(*injected: Injected, findings: tuple[Finding, ...] = (), late: float = 1.0) -> Outcome:
    return Outcome(1, 6.0, 6.0, Model(), Facts(NOW), injected, findings, 61.5, late, {}, 0)


def test_harm_counts_against_the_fault_before_it() -> None:
    at = NOW + timedelta(minutes=2, seconds=30)
    findings = (
        Finding(Harm.LOST, "a reminder", "a", at),
        Finding(Harm.DOUBLED, "a reminder", "b", at),
        Finding(Harm.LOST, "a task", "c"),
    )
    found = lines([_injected(0, 2.0), _injected(1, 4.0), _injected(2, 8.0)], findings)
    assert [(one.kind, one.injected, one.median, one.longest, one.lost, one.doubled) for one in found] == [
        (str(KINDS[0]), 2, 5.0, 8.0, 1, 1),
        (str(KINDS[1]), 1, 4.0, 4.0, 0, 0),
        ("(no one fault)", 0, None, None, 1, 0),
    ]


def test_a_run_passes_when_nothing_broke_and_each_recovery_was_soon_enough() -> None:
    assert _outcome(_injected(0, 2.0), _injected(1, 15.0)).holds
    assert not _outcome(_injected(0, 15.1)).holds
    assert not _outcome(_injected(0, 2.0), _injected(1, None)).holds
    assert not _outcome(_injected(0, 2.0), late=30.1).holds
    assert not _outcome().holds, "a run without a fault shows nothing"
    assert not _outcome(_injected(0, 2.0), findings=(Finding(Harm.STUCK, "1 outbox", "outbox"),)).holds


def test_table_and_json_name_seed_and_findings() -> None:
    outcome = _outcome(_injected(0, 2.0), findings=(Finding(Harm.LOST, "the reminder", "task 7", NOW),))
    assert "seed 1" in table(outcome)
    assert "lost: the reminder (task 7) at 12:00:00" in table(outcome)
    said = json.loads(as_json(outcome))
    assert (said["seed"], said["holds"], len(said["faults"]), len(said["findings"])) == (1, False, 1, 1)
