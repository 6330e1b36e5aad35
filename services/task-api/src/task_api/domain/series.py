"""A series: the rule and the policies that its instances follow."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from event_contracts.series import RecurrencePolicies
from task_api.domain.task import Change, as_json


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

    @property
    def goes_on(self) -> Recurrence | None:
        """What its instances say of it: nothing once it has ended."""
        return None if self.has_ended else self.recurrence

    def left_out_after(self, key: str) -> list[str]:
        """Give the slots left out after that of `key`; one of another form than `key` is no slot of the series."""
        return [slot for slot in self.exdates if slot > key and len(slot) == len(key)]

    def edited(
        self, recurrence: Recurrence, zone: str, at: datetime, exdates: tuple[str, ...] | None = None
    ) -> Series:
        """Give the series with another rule, policies, zone or left out slots; itself when they are what they were."""
        exdates = self.exdates if exdates is None else exdates
        if (recurrence, zone, exdates) == (self.recurrence, self.timezone, self.exdates):
            return self
        return replace(
            self,
            version=self.version + 1,
            recurrence=recurrence,
            timezone=zone,
            exdates=exdates,
            updated_at=at,
        )

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

    def begun_again(self, recurrence: Recurrence, zone: str, at: datetime) -> Series:
        """Give the series that had ended as it is with a recurrence again: what fell in between is not made up for."""
        return replace(
            self,
            version=self.version + 1,
            recurrence=recurrence,
            timezone=zone,
            ended_at=None,
            resumed_at=at,
            updated_at=at,
        )

    def in_zone(self, zone: str, at: datetime) -> Series:
        """Give the series with its wall clock in another zone."""
        return replace(self, version=self.version + 1, timezone=zone, updated_at=at)


POLICIES = tuple(RecurrencePolicies.model_fields)
_WATCHED = (
    "rrule",
    *POLICIES,
    "timezone",
    "start",
    "exdates",
    "paused_at",
    "resumed_at",
    "ended_at",
)


def told(series: Series, field_name: str) -> Any:
    """Give a field's value as history tells it, JSON; rule and policies are fields like the others."""
    if field_name == "rrule":
        return series.recurrence.rrule
    holder = series.recurrence.policies if field_name in POLICIES else series
    return as_json(getattr(holder, field_name))


def differences(before: Series, after: Series) -> dict[str, Change]:
    """Name the fields that differ, with both values as JSON."""
    values = ((name, told(before, name), told(after, name)) for name in _WATCHED)
    return {name: Change(old, new) for name, old, new in values if old != new}
