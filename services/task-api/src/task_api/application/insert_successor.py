"""One completion, one successor: recurrence computes the next slot, here it is decided what becomes of it.

The series' row is locked, so that status changes and offers of one series come one after the other. What the schedule
offers may be several slots, each the successor of the one before: all of them or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from prometheus_client import Counter

from event_contracts.envelope import derive_id
from event_contracts.moments import written
from event_contracts.recurrence import GenerationReason, ProposedOccurrence, RecurringTaskGenerated
from event_contracts.values import Actor, ActorKind
from service_kit.logs import get_logger
from task_api.application.announce import task_write
from task_api.application.judge_offer import Chain, Ruling, Verdict, judge
from task_api.application.ports import Now, Owner, Stamp, Transaction, Wake
from task_api.application.record_activity import Entry
from task_api.domain.errors import ConcurrentChange
from task_api.domain.series import Series
from task_api.domain.succession import Slot, revive, succeed
from task_api.domain.task import Task

OFFERS = Counter("successor_offers_total", "Offered occurrences, by what became of them.", ["verdict"])
KEY_CONFLICTS = Counter(
    "successor_key_conflicts_total", "Offers of a slot that is not free: a fault of ours, alert on any."
)

_RECURRENCE = Actor(kind=ActorKind.SERVICE, id="recurrence")

_log = get_logger(__name__)


class SuccessionWork(Transaction, Protocol):
    """A unit of work that decides on offers."""

    async def neighbours(self, series_id: UUID, predecessor_id: UUID, key: str) -> Sequence[Task]:
        """Read the predecessor, what followed it, withdrawn ones included, and whoever has the key but withdrawn
        ones, with their reminders. The series is locked before."""

    async def tell(self, entry: Entry) -> bool:
        """Write a line of a task's ledger; False when it is there."""


class Succession(Protocol):
    """Where such units of work come from. Raises StorageUnavailable."""

    def begin(self) -> AbstractAsyncContextManager[SuccessionWork]:
        """Open a unit of work: committed when the block ends, rolled back when it raises."""


async def insert_successor(
    succession: Succession, now: Now, wake: Wake, event_id: UUID, offer: RecurringTaskGenerated
) -> Verdict:
    """Decide on an offer and carry it out in one transaction. Again with the same offer: changes nothing.

    Raises ConcurrentChange and StorageUnavailable, after which nothing has happened and it may be offered again.
    """
    async with succession.begin() as work:
        ruling = await _decide(work, now, event_id, offer)
    if ruling.verdict in (Verdict.INSERTED, Verdict.REVIVED):
        wake()
    _report(ruling, event_id, offer)
    return ruling.verdict


async def _decide(work: SuccessionWork, now: Now, event_id: UUID, offer: RecurringTaskGenerated) -> Ruling:
    series = await work.lock_series(offer.series_id) if await work.lock_account(offer.user_id) else None
    at = await now()
    owner = await work.owner(offer.user_id)
    if owner is None or series is None or series.user_id != offer.user_id:
        return Ruling(Verdict.UNKNOWN)
    found = await work.neighbours(series.id, offer.predecessor_task_id, offer.occurrence_key)
    chain = Chain.of(found, offer)
    ruling = judge(offer, series, chain)
    predecessor = chain.predecessor
    if predecessor is None:
        return ruling
    if ruling.verdict in (Verdict.INSERTED, Verdict.REVIVED):
        if offer.why is GenerationReason.SCHEDULE and not await _is_newest(work, series, predecessor):
            return Ruling(Verdict.ALREADY_THERE)
        await _write_all(work, at, event_id, offer, series, owner, predecessor, chain.withdrawn)
    elif ruling.verdict in (Verdict.STALE, Verdict.KEY_CONFLICT):
        await work.tell(_not_generated(event_id, at, offer, predecessor, ruling))
    return ruling


async def _is_newest(work: SuccessionWork, series: Series, task: Task) -> bool:
    newest = await work.tip(series.id)
    return newest is not None and newest.id == task.id


async def _write_all(
    work: SuccessionWork,
    at: datetime,
    event_id: UUID,
    offer: RecurringTaskGenerated,
    series: Series,
    owner: Owner,
    predecessor: Task,
    withdrawn: Task | None,
) -> None:
    before, line_id = predecessor, event_id
    for one in (offer, *offer.further):
        if one is not offer:
            withdrawn, line_id = None, derive_id(event_id, one.occurrence_key)
        slot = Slot(one.occurrence_key, offer.timezone, one.due_at, one.due_date)
        task = await _write(work, at, slot, series, owner, before, withdrawn)
        await work.tell(_generated(line_id, at, one, offer.why, before, task))
        before = task


async def _write(
    work: SuccessionWork,
    at: datetime,
    slot: Slot,
    series: Series,
    owner: Owner,
    predecessor: Task,
    withdrawn: Task | None,
) -> Task:
    task = succeed(predecessor, slot, at) if withdrawn is None else revive(withdrawn, predecessor, slot, at)
    write = task_write(
        withdrawn,
        task,
        owner=owner,
        series_version=series.version,
        stamp=Stamp(_RECURRENCE, at),
        detail={
            "series_id": str(series.id),
            "predecessor_task_id": str(predecessor.id),
            "occurrence_key": slot.key,
            "sentence": "Created from its series" + (", again." if withdrawn is not None else "."),
        },
    )
    stored = await work.write(write, owner)
    if stored is None:
        raise ConcurrentChange("the epoch was raised at the same moment")
    return stored


def _generated(
    line_id: UUID, at: datetime, one: ProposedOccurrence, why: GenerationReason, predecessor: Task, task: Task
) -> Entry:
    said = f"The next occurrence is on {one.occurrence_key.replace('T', ' at ')}."
    detail = _offered(one, why) | {
        "task_id": str(task.id),
        "number": task.number,
        "sentence": f"Next occurrence: {one.sentence}" if one.sentence else said,
    }
    return Entry(line_id, predecessor.id, predecessor.user_id, at, "occurrence_generated", detail)


def _not_generated(
    event_id: UUID, at: datetime, offer: RecurringTaskGenerated, predecessor: Task, ruling: Ruling
) -> Entry:
    detail = _offered(offer, offer.why) | {
        "verdict": ruling.verdict.value,
        "sentence": f"No next occurrence: {ruling.why}",
    }
    return Entry(event_id, predecessor.id, predecessor.user_id, at, "occurrence_not_generated", detail)


def _offered(one: ProposedOccurrence, why: GenerationReason) -> dict[str, Any]:
    due = written(one.due_at) if one.due_at is not None else str(one.due_date)
    return {"occurrence_key": one.occurrence_key, "due": due, "why": why.value}


def _report(ruling: Ruling, event_id: UUID, offer: RecurringTaskGenerated) -> None:
    OFFERS.labels(ruling.verdict.value).inc()
    details = {
        "event_id": str(event_id),
        "series_id": str(offer.series_id),
        "predecessor_task_id": str(offer.predecessor_task_id),
        "occurrence_key": offer.occurrence_key,
        "why": ruling.why,
    }
    if ruling.verdict is Verdict.KEY_CONFLICT:
        KEY_CONFLICTS.inc()
        _log.error("successor_key_conflict", **details)
    elif ruling.verdict in (Verdict.STALE, Verdict.AHEAD, Verdict.UNKNOWN):
        _log.warning("successor_not_inserted", verdict=ruling.verdict.value, **details)
    else:
        _log.info("successor_decided", verdict=ruling.verdict.value, **details)
