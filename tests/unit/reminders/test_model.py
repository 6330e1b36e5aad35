"""What promise 5 says holds in every interleaving, and the model sees it when a clause of the protocol is left out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pytest
from tests.unit.reminders.model import violated

from reminders.application import fire_due
from reminders.application.apply_snapshot import SnapshotApplier
from reminders.application.fire_due import DueFirer
from reminders.domain.document import Document
from service_kit.due_index import Lease, to_score
from service_kit.state_store import StateWriteFailed
from service_kit.testing.fakes import InMemoryDueIndex, InMemoryStateStore

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
RUNS = 100_000 if NIGHTLY else 2_000
CHUNK = 5_000 if NIGHTLY else 250
ENOUGH = 300
"""Seeds within which each missing clause must have been seen."""


@pytest.mark.parametrize("begin", range(0, RUNS, CHUNK))
def test_the_invariants_hold_in_every_interleaving(begin: int) -> None:
    assert violated(range(begin, begin + CHUNK)) is None


Patch = Callable[[pytest.MonkeyPatch], None]


def _the_document_decides_after_the_claim(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fire_due, "fence", lambda *_: None)


def _a_claim_hides_for_a_lease(patch: pytest.MonkeyPatch) -> None:
    original = InMemoryDueIndex.__init__

    def without(index: InMemoryDueIndex, *args: Any, **kwargs: Any) -> None:
        original(index, *args, **kwargs)
        index._lease_ms = 0

    patch.setattr(InMemoryDueIndex, "__init__", without)


def _who_lost_its_lease_acknowledges_nothing(patch: pytest.MonkeyPatch) -> None:
    async def whoever_holds_it(index: InMemoryDueIndex, leases: Sequence[Lease]) -> list[bool]:
        return [index._shards[lease.shard].pop(lease.member, None) is not None for lease in leases]

    patch.setattr(InMemoryDueIndex, "ack_many", whoever_holds_it)


def _who_lost_its_lease_gives_nothing_back(patch: pytest.MonkeyPatch) -> None:
    async def whoever_holds_it(index: InMemoryDueIndex, lease: Lease, until: datetime) -> bool:
        if lease.member in index._shards[lease.shard]:
            index._shards[lease.shard][lease.member] = to_score(until)
        return True

    patch.setattr(InMemoryDueIndex, "release", whoever_holds_it)


def _what_fired_is_marked_before_it_is_acknowledged(patch: pytest.MonkeyPatch) -> None:
    async def blindly(_: DueFirer, __: str, published: Any, ___: Any) -> Any:
        return [lease for lease, _ in published]

    patch.setattr(DueFirer, "_mark", blindly)


def _a_mark_comes_after_the_publication(patch: pytest.MonkeyPatch) -> None:
    publish, mark = DueFirer._publish, DueFirer._mark

    async def mark_first(firer: DueFirer, claim: Any, work: Any) -> Any:
        due = [(lease, member) for lease, member, _ in work.fire]
        marker = await firer._markers.read()
        assert marker is not None
        known = await firer._documents.get_many(marker.generation, {member.task_id for _, member in due})
        if len(known) == len({member.task_id for _, member in due}):
            await mark(firer, marker.generation, due, known)
        return await publish(firer, claim, work)

    patch.setattr(DueFirer, "_publish", mark_first)


def _writes_name_the_etag_they_are_on_top_of(patch: pytest.MonkeyPatch) -> None:
    write = InMemoryStateStore._write

    def over_anything(store: InMemoryStateStore, key: str, value: Any, _: str, ttl: int) -> None:
        found = store._find(key)
        write(store, key, value, "0" if found is None else str(found.version), ttl)

    patch.setattr(InMemoryStateStore, "_write", over_anything)


def _an_older_version_changes_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Document, "order", property(lambda _: (0, 0)))


def _an_equal_version_runs_every_effect_again(patch: pytest.MonkeyPatch) -> None:
    apply = SnapshotApplier.apply

    async def known_is_done(applier: SnapshotApplier, task: Any, **given: Any) -> bool:
        marker = await applier._markers.read()
        assert marker is not None
        stored = await applier._documents.get(marker.generation, task.task_id)
        return (stored is not None and stored.document.order >= task.order) or await apply(
            applier, task, **given
        )

    patch.setattr(SnapshotApplier, "apply", known_is_done)


def _a_failed_write_is_not_taken_for_a_stale_one(patch: pytest.MonkeyPatch) -> None:
    apply = SnapshotApplier.apply

    async def believing(applier: SnapshotApplier, task: Any, **given: Any) -> bool:
        try:
            await apply(applier, task, **given)
        except StateWriteFailed:
            return True
        return True

    patch.setattr(SnapshotApplier, "apply", believing)


CLAUSES = (
    _the_document_decides_after_the_claim,
    _a_claim_hides_for_a_lease,
    _who_lost_its_lease_acknowledges_nothing,
    _who_lost_its_lease_gives_nothing_back,
    _what_fired_is_marked_before_it_is_acknowledged,
    _a_mark_comes_after_the_publication,
    _writes_name_the_etag_they_are_on_top_of,
    _an_older_version_changes_nothing,
    _an_equal_version_runs_every_effect_again,
    _a_failed_write_is_not_taken_for_a_stale_one,
)


@pytest.mark.parametrize("leave_out", CLAUSES, ids=lambda clause: clause.__name__.strip("_"))
def test_a_clause_that_is_left_out_is_missed(leave_out: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(monkeypatch)
    assert violated(range(ENOUGH)) is not None
