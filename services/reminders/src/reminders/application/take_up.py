"""Take up many tasks at once as task-api has just given them, through the same guarded door as the events."""

from __future__ import annotations

from collections.abc import Sequence

from event_contracts.tasks import TaskSnapshot
from reminders.application.apply_snapshot import SnapshotApplier

_AT_ONCE = 100
"""More is not faster, and a request should take a fraction of the time that the store is given."""
_TRIES = 3


async def take_up(applier: SnapshotApplier, tasks: Sequence[TaskSnapshot]) -> bool:
    """Apply them all; False when one was refused each time, which a marker that is gone does to every one.

    An event of the same task may be written at the same moment and win, and what is written together with it is not
    known to have been; then each of them is applied once more by itself. Raises what `apply` raises.
    """
    for start in range(0, len(tasks), _AT_ONCE):
        for task in await applier.apply_many(tasks[start : start + _AT_ONCE], just_asked=True):
            if not await _take_up_one(applier, task):
                return False
    return True


async def _take_up_one(applier: SnapshotApplier, task: TaskSnapshot) -> bool:
    for _ in range(_TRIES):
        if await applier.apply(task, just_asked=True):
            return True
    return False
