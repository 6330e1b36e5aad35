"""The order of faults: the same for the same seed, and all kinds in it."""

from __future__ import annotations

from itertools import islice

import pytest
from tests.chaos.faults import KINDS, PAUSE_SECONDS, SERVICES, Act, kinds_with, schedule


def test_a_seed_is_a_schedule() -> None:
    assert list(islice(schedule(7), 60)) == list(islice(schedule(7), 60))
    assert list(islice(schedule(7), 60)) != list(islice(schedule(8), 60))


def test_each_round_has_every_kind_once() -> None:
    faults = list(islice(schedule(7), 2 * len(KINDS)))
    for part in (faults[: len(KINDS)], faults[len(KINDS) :]):
        assert {fault.kind for fault in part} == set(KINDS)
    assert [fault.number for fault in faults] == list(range(1, len(faults) + 1))


def test_some_kinds_alone() -> None:
    kinds = kinds_with("kafka")
    assert sorted(map(str, kinds)) == ["kill kafka", "pause kafka"]
    assert {fault.kind for fault in islice(schedule(7, kinds), 4)} == set(kinds)
    assert [str(kind) for kind in kinds_with("stop")] == ["stop everything"]
    with pytest.raises(ValueError, match="no fault has 'kafak' in its name"):
        kinds_with("kafak")


def test_every_process_is_killed_and_paused() -> None:
    processes = {*SERVICES, *(f"{one}.dapr" for one in SERVICES), "kafka", "redis", "postgres"}
    for act in (Act.KILL, Act.PAUSE):
        assert {kind.target for kind in KINDS if kind.act is act} == processes
    assert {kind.act for kind in KINDS} == set(Act)


def test_both_replicas_have_their_turn() -> None:
    faults = list(islice(schedule(7), 10 * len(KINDS)))
    hit = {fault.process for fault in faults}
    for service in SERVICES:
        assert {service, f"{service}-2", f"{service}.dapr", f"{service}-2.dapr"} <= hit
    assert {fault.down for fault in faults if fault.kind.act is Act.PAUSE} == {PAUSE_SECONDS}
