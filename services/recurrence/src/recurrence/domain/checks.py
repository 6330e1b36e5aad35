"""What the sweeps look after."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

CHECK_AFTER = timedelta(minutes=2)
"""A successor is there within a second; what is not there after this is looked at by the next sweep."""
CHECK_AGAIN_AFTER = timedelta(minutes=45)
"""Less than the hour between two sweeps, so that each of them asks again."""
GIVEN_UP_AGAIN_AFTER = timedelta(days=1)
"""A search that was given up costs much and has the same end, until the rule or the engine is another one."""


@dataclass(frozen=True, slots=True)
class Check:
    """The instance `predecessor_task_id`, closed with its version `closed_version`, is to have a successor."""

    series_id: UUID
    predecessor_task_id: UUID
    closed_version: int


@dataclass(frozen=True, slots=True)
class Awaited:
    """The open instance `task_id` is to have a successor once the date of that comes.

    It names the versions that the date was computed from: with whatever changes of task or series comes another one,
    so that this one may go when it no longer fits.
    """

    series_id: UUID
    series_version: int
    task_id: UUID
    task_version: int
