"""Where a series stands: what must be known of one of its instances, and of the series itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from event_contracts.series import RecurrencePolicies
from event_contracts.values import ClosedBy
from recurrence.domain.schedule import makes_by_schedule
from recurrence.domain.series import Series


@dataclass(frozen=True, slots=True)
class Position:
    """One instance of a series as of its `version`; `series_version` is the series' version at that moment.

    `ahead` is how long before its own time an instance like it has to be there for its reminders; None where that is
    not known.
    """

    task_id: UUID
    series_id: UUID
    user_id: UUID
    epoch: int
    version: int
    series_version: int
    occurrence_key: str
    is_open: bool
    closed_by: ClosedBy | None = None
    closed_version: int | None = None
    closed_at: datetime | None = None
    ahead: timedelta | None = None

    @property
    def order(self) -> tuple[int, int]:
        """The place among everything said of this task."""
        return (self.epoch, self.version)

    @property
    def series_order(self) -> tuple[int, int]:
        """The place of its series, at that moment, among everything said of that."""
        return (self.epoch, self.series_version)

    @property
    def is_erased(self) -> bool:
        return self.closed_by is ClosedBy.ERASED

    @property
    def is_new(self) -> bool:
        """Whether nothing happened to it since it was made."""
        return self.version == 1

    @property
    def closing(self) -> Closing | None:
        """How it was closed, when that calls for a successor: completed or skipped, never withdrawn or erased."""
        if self.closed_by not in (ClosedBy.COMPLETED, ClosedBy.SKIPPED):
            return None
        if self.closed_version is None or self.closed_at is None:
            return None
        return Closing(self.closed_by, self.closed_version, self.closed_at)


@dataclass(frozen=True, slots=True)
class Closing:
    """A close that has a successor: by whom, with which version of the task, when."""

    closed_by: ClosedBy
    version: int
    at: datetime


@dataclass(frozen=True, slots=True)
class KnownSeries:
    """A series as of its `version`. What is erased keeps no rule; only a later version, of an undo, brings it back."""

    series_id: UUID
    user_id: UUID
    epoch: int
    version: int
    rrule: str
    start: str
    timezone: str
    policies: RecurrencePolicies
    exdates: tuple[str, ...] = ()
    paused: bool = False
    ended: bool = False
    resumed_at: datetime | None = None
    is_erased: bool = False
    tip: Position | None = None

    @property
    def order(self) -> tuple[int, int]:
        """The place among everything said of this series."""
        return (self.epoch, self.version)

    @property
    def generates(self) -> bool:
        """Whether a closed tip has a successor, if the rule has a slot left."""
        return not (self.paused or self.ended or self.is_erased)

    @property
    def makes_by_schedule(self) -> bool:
        """Whether an open tip has a successor once the date of that comes."""
        return self.generates and makes_by_schedule(self.policies)

    def grid(self) -> Series:
        """The series for the rule engine. Raises RuleError and ValueError for what it cannot read."""
        return Series.read(self.rrule, self.start, self.timezone, self.policies, self.exdates)

    def outlives(self, other: KnownSeries) -> bool:
        """Whether this is what an erasure left, and `other` says nothing newer."""
        return self.is_erased and self.order >= other.order


def erased_with(position: Position) -> KnownSeries:
    """What is kept of the series of an erased instance so that late events do not bring it back: ids and versions."""
    return KnownSeries(
        series_id=position.series_id,
        user_id=position.user_id,
        epoch=position.epoch,
        version=position.series_version,
        rrule="",
        start="",
        timezone="",
        policies=RecurrencePolicies(),
        is_erased=True,
    )
