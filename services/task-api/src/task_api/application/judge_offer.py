"""Whether an offered occurrence still holds, and what becomes of it.

It holds while the predecessor is closed with the version it names and the series is at the version it was computed
from. Everything here is pure: the same offer on the same rows has the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from event_contracts.recurrence import GenerationReason, RecurringTaskGenerated
from event_contracts.series import PileUp
from event_contracts.values import ClosedBy
from task_api.domain.series import Series
from task_api.domain.task import Task

_FOLLOWED = frozenset({ClosedBy.COMPLETED, ClosedBy.SKIPPED})


class Verdict(StrEnum):
    """What becomes of an offer."""

    INSERTED = "inserted"
    REVIVED = "revived"
    ALREADY_THERE = "already_there"
    STALE = "stale"
    RESTING = "resting"  # the series is paused or has ended
    UNKNOWN = "unknown"  # series or predecessor are gone, or were never this user's
    KEY_CONFLICT = "key_conflict"
    AHEAD = "ahead"  # computed from a series that is not written yet: to be offered again


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict and, where it is not as offered, why in a sentence."""

    verdict: Verdict
    why: str = ""


@dataclass(frozen=True, slots=True)
class Chain:
    """The instances around an offer: `follower` is the live one after the predecessor, `withdrawn` the newest that
    was taken away again, `holder` another live one with the offered key."""

    predecessor: Task | None
    follower: Task | None
    withdrawn: Task | None
    holder: Task | None

    @classmethod
    def of(cls, tasks: Sequence[Task], offer: RecurringTaskGenerated) -> Chain:
        """Tell the instances of `SuccessionWork.neighbours` apart."""
        after = [task for task in tasks if task.predecessor_task_id == offer.predecessor_task_id]
        live = [task for task in after if task.closed_by is not ClosedBy.WITHDRAWN]
        taken_away = sorted(
            (task for task in after if task.closed_by is ClosedBy.WITHDRAWN), key=lambda task: task.updated_at
        )
        holders = [
            task
            for task in tasks
            if task.occurrence_key == offer.occurrence_key
            and task.closed_by is not ClosedBy.WITHDRAWN
            and task not in live
            and task.id != offer.predecessor_task_id
        ]
        return cls(
            predecessor=next((task for task in tasks if task.id == offer.predecessor_task_id), None),
            follower=live[0] if live else None,
            withdrawn=taken_away[-1] if taken_away else None,
            holder=holders[0] if holders else None,
        )


def judge(offer: RecurringTaskGenerated, series: Series, chain: Chain) -> Ruling:
    """Decide on an offer."""
    if chain.predecessor is None:
        return Ruling(Verdict.UNKNOWN)
    if chain.follower is not None and _needs_nothing(offer, series, chain.follower):
        return Ruling(Verdict.ALREADY_THERE)
    if offer.series_version > series.version:
        return Ruling(
            Verdict.AHEAD, f"computed from version {offer.series_version} of version {series.version}"
        )
    if offer.series_version < series.version:
        return Ruling(Verdict.STALE, "The series was changed after this date was computed.")
    if series.paused_at is not None or series.has_ended:
        return Ruling(Verdict.RESTING)
    reason = _why_not_after(offer, series, chain.predecessor)
    if reason is not None:
        return Ruling(Verdict.STALE, reason)
    keys = [chain.predecessor.occurrence_key or "", *(one.occurrence_key for one in (offer, *offer.further))]
    for before, key in pairwise(keys):
        if key <= before:
            return Ruling(Verdict.KEY_CONFLICT, f"The slot {key} is not after this occurrence.")
    if chain.follower is not None:
        return Ruling(Verdict.STALE, f"It was followed by {chain.follower.occurrence_key} already.")
    if chain.holder is not None:
        return Ruling(Verdict.KEY_CONFLICT, f"The slot {offer.occurrence_key} belongs to another occurrence.")
    return Ruling(Verdict.INSERTED if chain.withdrawn is None else Verdict.REVIVED)


def _needs_nothing(offer: RecurringTaskGenerated, series: Series, follower: Task) -> bool:
    """Whether the follower answers the offer. Where instances pile up, the schedule and the person who closes the
    predecessor may ask for its follower at the same moment, with two dates: the first of them has it."""
    piles_up = series.recurrence.policies.pile_up is PileUp.ALLOW
    return follower.occurrence_key == offer.occurrence_key or piles_up


def _why_not_after(offer: RecurringTaskGenerated, series: Series, predecessor: Task) -> str | None:
    """Say why the predecessor has no such successor; None when it may."""
    if predecessor.closed_by is None:
        scheduled = offer.why is GenerationReason.SCHEDULE and offer.predecessor_closed_version is None
        if scheduled and series.recurrence.policies.pile_up is PileUp.ALLOW:
            return None
        return "It was opened again after this date was computed."
    if predecessor.closed_by not in _FOLLOWED:
        return "It was taken away, and nothing follows it."
    if offer.predecessor_closed_version is None and offer.why is GenerationReason.SCHEDULE:
        return None
    if offer.predecessor_closed_version != predecessor.closed_version:
        return "It was closed anew after this date was computed."
    return None
