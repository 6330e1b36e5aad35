"""The port UnlockedTasks: a read and a write, each in one round trip and a transaction of its own."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Uuid, bindparam
from sqlalchemy.ext.asyncio import AsyncEngine

from task_api.adapters.postgres.database import storage_errors
from task_api.adapters.postgres.direct import Direct
from task_api.adapters.postgres.rows import EPOCH, joined_recurrence, owner_of, reminders_of, task_of
from task_api.adapters.postgres.tables import series, tasks, users
from task_api.adapters.postgres.task_pages import VIEW
from task_api.adapters.postgres.write_statements import UPDATE_FREE, update_values
from task_api.application.ports import ReadTask, TaskWrite
from task_api.application.usage_metrics import count_writes

_OWNER = tuple(
    users.c[name].label(f"owner_{name}") for name in ("id", "timezone", "day_start", "default_reminder")
)
_READ = Direct(
    VIEW.add_columns(series.c.version.label("series_version"), *_OWNER, EPOCH)
    .join(users, users.c.id == tasks.c.user_id)
    .where(
        tasks.c.id == bindparam("task_id", type_=Uuid),
        tasks.c.user_id == bindparam("user_id", type_=Uuid),
        tasks.c.purged_at.is_(None),
    )
)


class PostgresUnlockedTasks:
    """On an engine whose connections others use too."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._plain = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def read(self, user_id: UUID, task_id: UUID) -> ReadTask | None:
        """Read a task and what belongs to it."""
        with storage_errors():
            async with self._plain.connect() as connection:
                row = await _READ.row(connection, {"task_id": task_id, "user_id": user_id})
        if row is None:
            return None
        task = task_of(row, reminders_of(row))
        return ReadTask(task, joined_recurrence(row), row["series_version"], owner_of(row, "owner_"))

    async def write(self, change: TaskWrite) -> bool:
        """Write the next version; False when the stored one is not `change.before`'s, or somebody has it locked."""
        assert change.before is not None  # noqa: S101 - it was read
        values = update_values(change, change.before)
        with storage_errors():
            async with self._plain.connect() as connection:
                row = await UPDATE_FREE.row(connection, values)
        if row is not None:
            count_writes([change])
        return row is not None
