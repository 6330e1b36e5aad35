"""task-api's own tables as ORM classes, so that both services write the same rows under the same indexes."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Mapped, registry, relationship

from task_api.adapters.postgres import tables

_mappings = registry(metadata=tables.metadata)


class _Row:
    def __init__(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self, name, value)


class UserRow(_Row):
    """A row of `users`."""

    id: Mapped[Any]
    timezone: Mapped[Any]
    day_start: Mapped[Any]
    default_reminder: Mapped[Any]
    last_task_number: Mapped[Any]


class ReminderRow(_Row):
    """A row of `task_reminders`."""


class TaskRow(_Row):
    """A row of `tasks` with its reminders; what PostgreSQL computes is left out."""

    id: Mapped[Any]
    user_id: Mapped[Any]
    created_at: Mapped[Any]
    deleted_at: Mapped[Any]
    reminders: Mapped[list[ReminderRow]]


class RevisionRow(_Row):
    """A row of `task_history`."""


class ActivityRow(_Row):
    """A row of `task_activity`."""


_mappings.map_imperatively(UserRow, tables.users)
_mappings.map_imperatively(ReminderRow, tables.task_reminders)
_mappings.map_imperatively(
    TaskRow,
    tables.tasks,
    exclude_properties=["search", "title_key", "priority_rank", "purged_at"],
    properties={
        # `metadata` is SQLAlchemy's own word on a mapped class.
        "details": tables.tasks.c.metadata,
        "reminders": relationship(ReminderRow, order_by=tables.task_reminders.c.position),
    },
)
_mappings.map_imperatively(RevisionRow, tables.task_history, properties={"task": relationship(TaskRow)})
_mappings.map_imperatively(ActivityRow, tables.task_activity, properties={"task": relationship(TaskRow)})
