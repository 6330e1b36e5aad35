"""What task-api says of a series: its rule, its policies and its tip, the open or last closed instance."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from pydantic import Field

from event_contracts.rrule import TaskRRuleText
from event_contracts.values import Actor, ClosedBy, LocalMoment, OccurrenceKey, Payload, UtcInstant, Zone

EXDATES_MAX = 500
"""So many slots can be left out of a series: a day off each week for nine years."""


class Anchor(StrEnum):
    """What the next date is counted from: the rule's own grid, or the moment of completion."""

    SCHEDULE = "schedule"
    COMPLETION = "completion"


class MonthEnd(StrEnum):
    """What becomes of a day that the month does not have: skipped (RFC 5545) or moved to the month's last day."""

    SKIP = "skip"
    CLAMP = "clamp"


class Overdue(StrEnum):
    """Which slot follows a late completion: the next one still to come, or every missed one in turn."""

    NEXT_FUTURE = "next_future"
    CATCH_UP = "catch_up"


class DstGap(StrEnum):
    """What becomes of a wall-clock time that a clock change leaves out."""

    FORWARD = "forward"
    SKIP = "skip"


class PileUp(StrEnum):
    """Whether the next instance waits until the open one is closed."""

    WAIT = "wait"
    ALLOW = "allow"


class RecurrencePolicies(Payload):
    """Where RFC 5545 leaves the choice to people, their choice."""

    anchor: Anchor = Anchor.SCHEDULE
    month_end: MonthEnd = MonthEnd.CLAMP
    overdue: Overdue = Overdue.NEXT_FUTURE
    dst_gap: DstGap = DstGap.FORWARD
    pile_up: PileUp = PileUp.WAIT


class SeriesTip(Payload):
    """The newest instance of a series. `version` is the task's own."""

    task_id: UUID
    version: int = Field(ge=1)
    occurrence_key: OccurrenceKey
    is_open: bool
    closed_by: ClosedBy | None = None
    closed_at: UtcInstant | None = None
    closed_version: int | None = Field(default=None, ge=1)


class SeriesSnapshot(Payload):
    """A whole series. `start` is the first slot in local time; its form says whether instances are all-day or timed.

    `version` rises with each edit of the series, not with its instances; `exdates` are slots never generated.
    """

    series_id: UUID
    user_id: UUID
    version: int = Field(ge=1)
    epoch: int = Field(ge=1)
    rrule: TaskRRuleText
    policies: RecurrencePolicies = RecurrencePolicies()
    timezone: Zone
    start: LocalMoment
    exdates: tuple[OccurrenceKey, ...] = ()
    paused: bool = False
    resumed_at: UtcInstant | None = None
    ended: bool = False
    tip: SeriesTip | None = None
    updated_at: UtcInstant
    actor: Actor

    @property
    def order(self) -> tuple[int, int]:
        """The position among all snapshots of this series: (epoch, version)."""
        return (self.epoch, self.version)
