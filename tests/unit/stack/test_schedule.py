"""Steps run in the order of their needs; the first failure stops the rest and is what is told."""

from __future__ import annotations

import threading
import time

import pytest

from stack.errors import CancelledError, NotReadyError
from stack.schedule import Step, run_steps


def test_needs_come_first_and_the_rest_runs_side_by_side() -> None:
    order: list[str] = []
    meeting = threading.Barrier(2, timeout=5)

    def note(name: str, meet: bool = False) -> Step:
        def action(cancelled: threading.Event) -> None:
            if meet:
                meeting.wait()
            order.append(name)

        needs = {"c": frozenset({"a", "b"}), "d": frozenset({"c", "not part of this run"})}
        return Step(name, needs.get(name, frozenset()), action)

    run_steps([note("d"), note("c"), note("a", meet=True), note("b", meet=True)])
    assert set(order[:2]) == {"a", "b"}
    assert order[2:] == ["c", "d"]


def test_a_failure_stops_what_is_under_way_and_what_waits() -> None:
    begun: list[str] = []

    def fail(cancelled: threading.Event) -> None:
        raise NotReadyError("kafka stopped")

    def patient(cancelled: threading.Event) -> None:
        begun.append("patient")
        assert cancelled.wait(5)
        raise CancelledError("patient: given up")

    def never(cancelled: threading.Event) -> None:
        begun.append("never")

    with pytest.raises(NotReadyError, match="kafka stopped"):
        run_steps(
            [
                Step("patient", frozenset(), patient),
                Step("never", frozenset({"patient"}), never),
                Step("kafka", frozenset(), fail),
            ]
        )
    assert begun == ["patient"]


def test_nothing_to_do_takes_no_time() -> None:
    begun = time.monotonic()
    run_steps([])
    assert time.monotonic() - begun < 1
