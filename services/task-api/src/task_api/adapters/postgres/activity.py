"""The ledger's rows that siblings' reports cause, and the marks on reminders."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, Integer, Text, Uuid, bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from task_api.adapters.postgres.database import storage_errors
from task_api.adapters.postgres.tables import task_reminders
from task_api.application.record_activity import Entry, Mark, ReminderMark

_INSTANT = DateTime(timezone=True)

# Of this user's tasks alone; a task that was purged or erased takes no more lines.
_TELL = """
    INSERT INTO task_activity (id, task_id, user_id, at, kind, detail)
    SELECT :id, tasks.id, tasks.user_id, :at, :kind, :detail FROM tasks
    WHERE tasks.id = :task_id AND tasks.user_id = :user_id
    ON CONFLICT (id) DO NOTHING
    RETURNING task_id
"""
_ENTRY = (
    bindparam("id", type_=Uuid),
    bindparam("task_id", type_=Uuid),
    bindparam("user_id", type_=Uuid),
    bindparam("at", type_=_INSTANT),
    bindparam("kind", type_=Text),
    bindparam("detail", type_=JSONB),
)
_TOLD = text(_TELL).bindparams(*_ENTRY)

_MARKED = {
    mark: text(
        f"""
        WITH told AS ({_TELL}), marked AS (
            UPDATE task_reminders SET {mark.value} = :fire_at FROM told
            WHERE task_reminders.id = :reminder_id AND task_reminders.task_id = told.task_id
                AND NOT EXISTS (
                    SELECT FROM task_activity AS other
                    WHERE other.task_id = :task_id AND other.kind = :kind
                        AND other.detail ->> 'reminder_id' = :reminder_text
                        AND (coalesce((other.detail ->> 'version')::int, 0), other.at) > (:version, :at)
                )
        )
        SELECT task_id FROM told
        """  # noqa: S608 - a column's name out of two
    ).bindparams(
        *_ENTRY,
        bindparam("fire_at", type_=_INSTANT),
        bindparam("reminder_id", type_=Uuid),
        bindparam("reminder_text", type_=Text),
        bindparam("version", type_=Integer),
    )
    for mark in Mark
}

_READ = text(
    """
    INSERT INTO notification_reads (user_id, notification_id, read_at)
    SELECT users.id, said.notification_id, :read_at
    FROM users, (SELECT DISTINCT unnest(:notification_ids) AS notification_id) AS said
    WHERE users.id = :user_id
    ON CONFLICT (user_id, notification_id) DO NOTHING
    """
).bindparams(
    bindparam("user_id", type_=Uuid),
    bindparam("notification_ids", type_=ARRAY(Uuid)),
    bindparam("read_at", type_=_INSTANT),
)


async def tell(connection: AsyncConnection, entry: Entry) -> bool:
    """Write a line, in the transaction if one is open; False when it is there already, or the task is not."""
    return (await connection.execute(_TOLD, _entry_values(entry))).scalar_one_or_none() is not None


class PostgresLedger:
    """The port Ledger on one engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        # What is one statement commits by itself: one round trip instead of three.
        self._plain = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def record(self, entry: Entry, mark: ReminderMark | None = None) -> bool:
        """Write the line and the mark; False when the line is there already, or the task is not."""
        with storage_errors():
            if mark is None:
                async with self._plain.connect() as connection:
                    return await tell(connection, entry)
            async with self._engine.begin() as connection:
                return await _tell_and_mark(connection, entry, mark)

    async def mark_read(self, user_id: UUID, notification_ids: tuple[UUID, ...], at: datetime) -> None:
        """Note what the person read; what is noted already stays."""
        with storage_errors():
            async with self._plain.connect() as connection:
                await connection.execute(
                    _READ, {"user_id": user_id, "notification_ids": list(notification_ids), "read_at": at}
                )


async def _tell_and_mark(connection: AsyncConnection, entry: Entry, mark: ReminderMark) -> bool:
    # Locked by a statement of its own, before the lines are read: two reports of one reminder that are handled at
    # the same moment would not see each other's line, and the older could win.
    await connection.execute(
        select(task_reminders.c.id)
        .where(task_reminders.c.id == mark.reminder_id)
        .with_for_update(key_share=True)
    )
    values = _entry_values(entry) | {
        "fire_at": mark.fire_at,
        "reminder_id": mark.reminder_id,
        "reminder_text": str(mark.reminder_id),
        "version": int(entry.detail.get("version", 0)),
    }
    return (await connection.execute(_MARKED[mark.mark], values)).scalar_one_or_none() is not None


def _entry_values(entry: Entry) -> dict[str, object]:
    return {
        "id": entry.id,
        "task_id": entry.task_id,
        "user_id": entry.user_id,
        "at": entry.at,
        "kind": entry.kind,
        "detail": entry.detail,
    }
