"""What has had its time: deleted tasks, kept answers, old audit lines, dead sessions; a batch at a time.

Several replicas may do it at once: what one holds the others pass over.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import DateTime, TextClause, bindparam, text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.logs import get_logger
from task_api.adapters.postgres.database import storage_errors
from task_api.application.ports import Now
from task_api.application.relay_metrics import SWEPT

ANSWERS_KEPT = timedelta(hours=24)
_BATCH = 200
_log = get_logger(__name__)


def _statement(sql: str) -> TextClause:
    return text(sql).bindparams(bindparam("before", type_=DateTime(timezone=True)))


# An instance of a series leaves its emptied row behind: its slot stays used, and its neighbours stay neighbours.
# The last one of a series that rests, or rested until lately, stays whole: what comes next copies its fields from it.
_TASKS = _statement(
    f"""
    WITH doomed AS (
        SELECT id, series_id FROM tasks WHERE deleted_at < :before AND purged_at IS NULL AND NOT EXISTS (
            SELECT FROM series WHERE series.id = tasks.series_id AND series.ended_at IS NULL
                AND (series.paused_at IS NOT NULL OR series.resumed_at >= :before)
                AND tasks.closed_by IN ('completed', 'skipped')
                AND NOT EXISTS (
                    SELECT FROM tasks AS later WHERE later.predecessor_task_id = tasks.id
                        AND later.closed_by IS DISTINCT FROM 'withdrawn'
                )
        )
        ORDER BY deleted_at LIMIT {_BATCH} FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM tasks WHERE id IN (SELECT id FROM doomed WHERE series_id IS NULL)
    ), emptied AS (
        UPDATE tasks SET title = '(purged)', description = NULL, tags = '{{}}', metadata = '{{}}', purged_at = now()
        WHERE id IN (SELECT id FROM doomed WHERE series_id IS NOT NULL)
    ), reminders AS (
        DELETE FROM task_reminders WHERE task_id IN (SELECT id FROM doomed WHERE series_id IS NOT NULL)
    ), history AS (
        DELETE FROM task_history WHERE task_id IN (SELECT id FROM doomed WHERE series_id IS NOT NULL)
    ), activity AS (
        DELETE FROM task_activity WHERE task_id IN (SELECT id FROM doomed WHERE series_id IS NOT NULL)
    )
    SELECT count(*) FROM doomed
    """  # noqa: S608 - a number of our own
)


def _delete(table: str, column: str, key: str) -> TextClause:
    return _statement(
        f"""
        WITH gone AS (
            DELETE FROM {table} WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM {table} WHERE {column} < :before ORDER BY {key} LIMIT {_BATCH} FOR UPDATE SKIP LOCKED
            )) RETURNING 1
        ) SELECT count(*) FROM gone
        """  # noqa: S608 - names of our own
    )


_ANSWERS = _delete("idempotency_keys", "created_at", "created_at")
_AUDIT = _delete("audit_log", "at", "at")
_SESSIONS = _delete("session_families", "expires_at", "id")


class Housekeeping:
    """Sweeps out what is older than it is kept."""

    def __init__(
        self, engine: AsyncEngine, now: Now, *, deleted_tasks: timedelta, audit_lines: timedelta
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._now = now
        self._kept = (
            ("tasks", _TASKS, deleted_tasks),
            ("answers", _ANSWERS, ANSWERS_KEPT),
            ("audit_lines", _AUDIT, audit_lines),
            ("sessions", _SESSIONS, timedelta(days=1)),
        )

    async def sweep(self) -> None:
        """Sweep until nothing is left that has had its time. Raises StorageUnavailable."""
        now = await self._now()
        for name, statement, kept in self._kept:
            swept = await self._all(statement, now - kept)
            if swept:
                SWEPT.labels(name).inc(swept)
                _log.info("swept", what=name, count=swept)

    async def _all(self, statement: TextClause, before: datetime) -> int:
        total = 0
        while True:
            with storage_errors():
                async with self._engine.connect() as connection:
                    count = int((await connection.execute(statement, {"before": before})).scalar_one())
            total += count
            if count < _BATCH:
                return total
