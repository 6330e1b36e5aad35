"""What notifier remembers of a task: just enough to tell new news from old."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from event_contracts.tasks import TaskSnapshot

Order = tuple[int, int]
"""A version of a task, as (epoch, version): the greater one is the newer."""


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """The newest state of a task that was heard of. Ordered by (epoch, version), never by arrival."""

    task_id: UUID
    user_id: UUID
    epoch: int
    version: int
    is_open: bool
    is_deleted: bool

    @property
    def order(self) -> Order:
        return (self.epoch, self.version)


def record_of(task: TaskSnapshot) -> TaskRecord:
    return TaskRecord(
        task_id=task.task_id,
        user_id=task.user_id,
        epoch=task.epoch,
        version=task.version,
        is_open=task.is_open,
        is_deleted=task.deleted_at is not None,
    )
