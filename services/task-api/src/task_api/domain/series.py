"""A series: the rule and the policies that its instances follow."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from event_contracts.series import RecurrencePolicies


@dataclass(frozen=True, slots=True)
class Recurrence:
    """What a person says of a recurrence: a canonical RRULE text and the policies."""

    rrule: str
    policies: RecurrencePolicies = field(default_factory=RecurrencePolicies)


@dataclass(frozen=True, slots=True)
class Series:
    """`start` is the first slot in local time, `exdates` are slots never generated. `version` counts its edits."""

    id: UUID
    user_id: UUID
    version: int
    recurrence: Recurrence
    timezone: str
    start: str
    created_at: datetime
    updated_at: datetime
    exdates: tuple[str, ...] = ()
    paused_at: datetime | None = None
    resumed_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def is_all_day(self) -> bool:
        """Whether its slots are dates without a time of day."""
        return len(self.start) == len("YYYY-MM-DD")

    @property
    def has_ended(self) -> bool:
        return self.ended_at is not None

    def edited(self, recurrence: Recurrence, zone: str, at: datetime) -> Series:
        """Give the series with another rule, policies or zone; itself when they are what they were."""
        if (recurrence, zone) == (self.recurrence, self.timezone):
            return self
        return replace(self, version=self.version + 1, recurrence=recurrence, timezone=zone, updated_at=at)

    def paused(self, at: datetime) -> Series:
        """Give the series as it is while nothing comes of it."""
        if self.paused_at is not None or self.ended_at is not None:
            return self
        return replace(self, version=self.version + 1, paused_at=at, updated_at=at)

    def resumed(self, at: datetime) -> Series:
        """Give the series as it is once it goes on: counted from `at`, if from nothing later."""
        if self.paused_at is None:
            return self
        return replace(self, version=self.version + 1, paused_at=None, resumed_at=at, updated_at=at)

    def ended(self, at: datetime) -> Series:
        """Give the series as it is once it makes no more instances."""
        if self.ended_at is not None:
            return self
        return replace(self, version=self.version + 1, ended_at=at, updated_at=at)

    def going_on(self, at: datetime) -> Series:
        """Give the series as it is when its end is taken back."""
        if self.ended_at is None:
            return self
        return replace(self, version=self.version + 1, ended_at=None, updated_at=at)

    def in_zone(self, zone: str, at: datetime) -> Series:
        """Give the series with its wall clock in another zone."""
        return replace(self, version=self.version + 1, timezone=zone, updated_at=at)
