"""The audit log on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Insert, bindparam, insert, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from task_api.adapters.postgres.database import storage_errors
from task_api.adapters.postgres.tables import audit_log
from task_api.application.audit import AuditFilter, AuditLine, Origin
from task_api.application.ports import Position


def append_line(line: AuditLine) -> Insert:
    """Give the statement that writes one line."""
    return insert(audit_log).values(
        id=line.id,
        at=line.at,
        action=line.action,
        succeeded=line.succeeded,
        user_id=line.user_id,
        address=line.origin.address,
        request_id=line.origin.request_id,
        detail=dict(line.detail),
    )


def line_of(changed: str, user_id: str, detail: str = "'{}'") -> str:
    """Give the part of a statement that writes the line of what its part `changed` did; none if that did nothing.

    It saves logins the way there and back of a transaction. `user_id` and `detail` are expressions over that part; the
    rest of the line is given by LINE_PARAMETERS.
    """
    return f"""
        INSERT INTO audit_log (id, at, action, succeeded, user_id, address, request_id, detail)
        SELECT :line_id, :at, :action, :succeeded, {user_id}, :address, :request_id, {detail}
        FROM {changed}"""  # noqa: S608 - names of our own columns


LINE_PARAMETERS = (
    bindparam("line_id", type_=audit_log.c.id.type),
    *(
        bindparam(name, type_=audit_log.c[name].type)
        for name in ("at", "action", "succeeded", "address", "request_id")
    ),
)


def line_values(line: AuditLine) -> dict[str, Any]:
    """Give what LINE_PARAMETERS stand for."""
    return {
        "line_id": line.id,
        "at": line.at,
        "action": line.action,
        "succeeded": line.succeeded,
        "address": line.origin.address,
        "request_id": line.origin.request_id,
    }


class PostgresAudit:
    """The port AuditStore; each call is a statement that commits by itself."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def append(self, line: AuditLine) -> None:
        """Write one line."""
        with storage_errors():
            async with self._engine.connect() as connection:
                await connection.execute(append_line(line))

    async def page(self, wanted: AuditFilter, after: Position | None, limit: int) -> Sequence[AuditLine]:
        """Read lines, the newest first."""
        line = audit_log.c
        query = select(audit_log).order_by(line["at"].desc(), line.id.desc()).limit(limit)
        for column in ("user_id", "action", "succeeded"):
            value = getattr(wanted, column)
            if value is not None:
                query = query.where(line[column] == value)
        if wanted.since is not None:
            query = query.where(line["at"] >= wanted.since)
        if wanted.until is not None:
            query = query.where(line["at"] < wanted.until)
        if after is not None:
            query = query.where(tuple_(line["at"], line.id) < tuple_(literal(after.key), literal(after.id)))
        with storage_errors():
            async with self._engine.connect() as connection:
                rows = (await connection.execute(query)).mappings().all()
        return [
            AuditLine(
                row["id"],
                row["at"],
                row["action"],
                row["succeeded"],
                row["user_id"],
                Origin(row["address"], row["request_id"]),
                row["detail"],
            )
            for row in rows
        ]
